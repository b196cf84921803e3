"""Training on from weights that are there: what is taken over, and what of it is kept."""
