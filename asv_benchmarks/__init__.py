"""Benchmarks: the asv suite in ``benchmarks/``, and ``python -m asv_benchmarks.peers``."""
