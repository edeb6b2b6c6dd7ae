"""Solvers: starts, steps, a line search in row space, and when to stop."""

from .solve import solve

__all__ = ["solve"]
