"""Transfer learning: initial weights from another training, word vectors and frozen weights."""
