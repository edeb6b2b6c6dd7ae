"""Solvers: starts, steps, a line search in row space, and when to stop."""

from .many import solve_many
from .solve import solve, solve_path

__all__ = ["solve", "solve_many", "solve_path"]
