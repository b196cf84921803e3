"""Trainer, train step, evaluation, checkpoints and records."""
