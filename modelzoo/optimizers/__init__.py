"""Optimizers as configs, and their update rules as pure functions."""
