"""Solvers: starts, steps, a line search in row space, and when to stop."""

from .solve import solve, solve_path

__all__ = ["solve", "solve_path"]
