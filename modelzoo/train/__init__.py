"""Trainer, train step, optimizers, schedules, checkpoints and progress."""
