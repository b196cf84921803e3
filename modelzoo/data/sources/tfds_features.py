"""Features of TFDS data sets as columns: their form, and how their stored values become cells."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Form, Wanted
from modelzoo.fields.errors import UserError

_TEXTS, _IMAGES = (".txt",), (".png", ".jpg", ".jpeg")

Parsed = Mapping[str, Any]
"""Stored values of n examples, as `tf.io.parse_example` returns them."""


class Feature(NamedTuple):
    """A feature as a column.

    key: its path, such as "objects/label". form: that of its cells. names: of classes or numbers.
    shape: of images; None for what differs. stored: stored values, as `tf.io.parse_example` takes
    them. cells: stored values to cells. suffixes: of files that contain what a cell contains.
    """

    key: str
    form: Form
    stored: dict[str, Any]
    cells: Callable[[Parsed], Any]
    names: tuple[str, ...] | None = None
    shape: tuple[int | None, ...] | None = None
    suffixes: tuple[str, ...] = ()

    def fits(self, wanted: Wanted) -> bool:
        """Whether an input or target can read it; one that names no suffixes reads texts."""
        unnamed = wanted.is_target and self.form == "array" and self.names is None
        if self.form not in wanted.forms or unnamed:
            return False
        return not self.suffixes or bool({*self.suffixes} & {*(wanted.suffixes or _TEXTS)})


def default_feature(info: Any, wanted: Wanted, where: str) -> str:
    """Key of the supervised feature, or of the only feature, that the input or target can read.

    Features of its kind of content come before others, such as images before arrays, and single
    ones before sequences. `info` is a `tfds.core.DatasetInfo`, `where` the data set in messages.
    """
    fitting: list[Feature] = []
    for key in info.features:
        try:
            feature = describe(key, *_find(info.features, key))
        except ValueError:
            continue
        if feature.fits(wanted):
            fitting.append(feature)
    keys = info.supervised_keys or ()
    if len(keys) == 2 and keys[wanted.is_target] in [one.key for one in fitting]:
        return keys[wanted.is_target]
    content = [one for one in fitting if one.suffixes]
    fitting = content or fitting
    fitting = [one for one in fitting if one.form != "list"] or fitting
    if len(fitting) != 1:
        raise UserError(
            f"{where} has {len(fitting) or 'no'} features that can be its {wanted.noun}; its "
            f"features are {', '.join(info.features)}: name them in {wanted.field}"
        )
    return fitting[0].key


def find_feature(info: Any, key: str, wanted: Wanted, where: str) -> Feature:
    """The feature at a path such as `objects/label`; UserError if it cannot be read as wanted."""
    try:
        found, many = _find(info.features, key)
    except KeyError:
        raise UserError(
            f"{where} has no feature {key!r} for {wanted.field}; its features are "
            f"{', '.join(info.features)}"
        ) from None
    try:
        feature = describe(key, found, many)
        if feature.fits(wanted):
            return feature
    except ValueError:
        pass
    raise UserError(
        f"{wanted.field}: {key!r} of {where} is {'a sequence of ' * many}"
        f"{' '.join(repr(found).split())}, which cannot be read as {wanted.noun} "
        f"({' or '.join(wanted.forms)})"
    )


def _find(feature: Any, key: str) -> tuple[Any, bool]:
    """A feature within another, and whether it is in a sequence; KeyError if it does not exist."""
    import tensorflow_datasets as tfds

    many = False
    for name in [*key.split("/"), None]:
        if isinstance(feature, tfds.features.Sequence):
            feature, many = feature.feature, True
        if name is None:
            break
        if not isinstance(feature, tfds.features.FeaturesDict) or name not in feature:
            raise KeyError(key)
        feature = feature[name]
    return feature, many


def describe(key: str, feature: Any, many: bool) -> Feature:
    """A feature of TFDS as a column; ValueError if it cannot be one."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel) and feature.num_classes:
        names = tuple(feature.names)
        return _plain(key, tf.int64, many, "class", names=names)
    if isinstance(feature, tfds.features.Text):
        return _plain(key, tf.string, many, "bytes", suffixes=_TEXTS)
    if isinstance(feature, tfds.features.Image) and not many and feature.np_dtype == np.uint8:
        shape = tuple(feature.shape)
        return _plain(key, tf.string, many, "bytes", shape=shape, suffixes=_IMAGES)
    if isinstance(feature, tfds.features.FeaturesDict) and not many and len(feature):
        # Sorted, for TFDS restores a dict in another order in each process.
        names = tuple(sorted(feature))
        return _numbers(key, {f"{key}/{name}": feature[name] for name in names}, names)
    if isinstance(feature, tfds.features.ClassLabel) or many:
        raise ValueError(key)
    return _numbers(key, {key: feature}, None)


def _plain(key: str, dtype: tf.DType, many: bool, form: Form, **fields: Any) -> Feature:
    """A feature with one stored value per example, or a list of them."""
    if many:
        stored, form = tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64), "list"
    else:
        stored = tf.io.FixedLenFeature([], dtype)
    return Feature(key, form, {key: stored}, lambda parsed: parsed[key], **fields)


def _numbers(key: str, inner: dict[str, Any], names: tuple[str, ...] | None) -> Feature:
    """A number, an array, or several numbers of a dict, which all are booleans or none is."""
    import tensorflow_datasets as tfds

    features = list(inner.values())
    if not all(isinstance(one, tfds.features.Tensor) and None not in one.shape for one in features):
        raise ValueError(key)
    kinds = {np.dtype(one.np_dtype).kind for one in features}
    if not kinds <= set("biuf") or ("b" in kinds and len(kinds) > 1):
        raise ValueError(key)
    stored = {
        name: tf.io.FixedLenFeature(
            one.shape, tf.float32 if np.issubdtype(one.np_dtype, np.floating) else tf.int64
        )
        for name, one in inner.items()
    }
    if names is None:
        (shape,) = (one.shape for one in features)
        if len(shape) == 1:
            names = (key,) if shape[0] == 1 else tuple(f"{key}/{k}" for k in range(shape[0]))
        form: Form = "array" if shape else "number"
        return Feature(key, form, stored, lambda parsed: parsed[key], names)
    if any(one.shape != () for one in features):
        raise ValueError(key)

    def cells(parsed: Parsed) -> tf.Tensor:
        return tf.stack([tf.cast(parsed[name], tf.float32) for name in stored], axis=-1)

    return Feature(key, "array", stored, cells, names)
