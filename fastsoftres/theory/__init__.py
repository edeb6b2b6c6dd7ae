"""What can be proven of a problem: Lipschitz constants, convexity from the penalties, certificates of a fit.

Derivations stand in ``docs/theory.md``.
"""
