"""The problem suite: whole fits beside other solvers, ``python -m asv_benchmarks.suite``."""
