"""Export of models as SavedModels for TensorFlow Serving."""
