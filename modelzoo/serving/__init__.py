"""SavedModels that TensorFlow Serving serves."""
