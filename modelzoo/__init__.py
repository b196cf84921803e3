"""modelzoo: Keras 3 models trained under tf.distribute with one device's results."""
