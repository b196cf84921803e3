"""Training, evaluating and cross-validating an experiment."""
