"""FLOPs of models, confidence intervals and line charts."""
