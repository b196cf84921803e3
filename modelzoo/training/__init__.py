"""Trainer, train step, checkpoints, records and progress."""
