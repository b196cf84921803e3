"""Sources, planned order, decoding, augmentation and `tf.data` pipelines."""
