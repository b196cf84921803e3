"""Names of labels, and the opened labels of a split: in memory or read with the inputs."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Rows, Tensors, View, in_pieces
from modelzoo.data.inputs.input import Store
from modelzoo.fields.errors import UserError

_SHOWN = 10


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
    pieces = in_pieces(lambda rows: read(read_rows(rows)), view.target)
    return np.concatenate([piece.numpy() for piece in pieces])


def found_names(used: Sequence[Rows], key: str) -> tuple[str, ...]:
    """The different names in parsed cells, each a name or several with None for none, sorted."""
    cells = [
        rows.parsed_by(key)[row] for rows in used for row in np.flatnonzero(rows.usable).tolist()
    ]
    return tuple(sorted({n for c in cells for n in ((c,) if isinstance(c, str) else c)} - {None}))


def count_numbers(labels: np.ndarray, names: int) -> tuple[np.ndarray, int]:
    """How often each of `names` numbers occurs, int64 `[names]`, and how many labels there are."""
    return np.bincount(labels, minlength=names), len(labels)


def places(given: Sequence[str], known: Sequence[str], noun: str) -> np.ndarray:
    """The place of each given name among the known ones, int64; UserError if one is not known."""
    numbers = {name: number for number, name in enumerate(known)}
    unknown = [name for name in given if name not in numbers]
    if unknown:
        more = ", ..." if len(known) > _SHOWN else ""
        raise UserError(
            f"the data has {len(unknown)} of its {noun} that the model does not know, the first "
            f"{unknown[0]!r}; it knows {', '.join(known[:_SHOWN])}{more}"
        )
    return np.array([numbers[name] for name in given], np.int64)
