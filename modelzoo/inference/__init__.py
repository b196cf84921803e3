"""Predictors over checkpoints and exported models, and the files of runs and exports."""
