"""Training, evaluation and cross-validation of an experiment."""
