"""Predictors over checkpoints and exported models, and the files that runs and exports hold."""
