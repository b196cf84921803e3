"""Opened labels: in memory, or from the records that are read for the inputs."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Tensors, View
from modelzoo.data.inputs.input import Store

_PIECE = 1024


class LabelStore(Store):
    """The raw tensor `label`.

    Args:
        labels: label of each example, `[n, ...]`.
        read: instead of `labels`, makes labels of the lazy columns of rows.
    """

    def __init__(
        self,
        labels: np.ndarray | None = None,
        read: Callable[[Tensors], tf.Tensor] | None = None,
    ):
        self.lazy = read is not None
        self._read = read
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            self._labels = None if labels is None else tf.constant(labels)

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        if self._read is not None:
            return {"label": self._read(raw)}
        return {"label": tf.gather(self._labels, examples)}


def read_all(view: View, read: Callable[[Tensors], tf.Tensor]) -> np.ndarray:
    """Labels of all examples of a view, made of lazy columns."""
    read_rows = view.rows.read
    assert read_rows is not None  # The columns are lazy.
    dataset = tf.data.Dataset.from_tensor_slices(view.target).batch(_PIECE)
    # In a graph, where columns that are not needed are not parsed.
    dataset = dataset.map(lambda rows: read(read_rows(rows)))
    return np.concatenate(list(dataset.as_numpy_iterator()))
