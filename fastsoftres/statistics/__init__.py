"""What a fit says of the world: standard errors and intervals, elasticities and diversion."""
