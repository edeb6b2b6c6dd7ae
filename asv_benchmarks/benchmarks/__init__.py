"""The asv suite: one file an operation, problems and the shared base apart."""
