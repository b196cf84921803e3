"""What is learned from a TFDS data set: which feature, and how its stored form becomes labels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.spec import Targets
from modelzoo.fields.errors import UserError


class Target(NamedTuple):
    """A feature as `ImageSpec.targets`.

    names: of the classes, tags or values. columns: stored columns, as `tf.io.parse_example` takes
    them. label: parsed columns of n examples to labels.
    """

    targets: Targets
    names: tuple[str, ...]
    columns: dict[str, Any]
    label: Callable[[dict[str, Any]], tf.Tensor]


def find_target(builder: Any, key: str | None) -> Target:
    """The feature of that name; None is the only class label, or the supervised one."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if key is None:
        labels = [k for k, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
        supervised = builder.info.supervised_keys or ()
        if len(supervised) == 2 and supervised[1] in labels:
            labels = [supervised[1]]
        if len(labels) != 1 or not features[labels[0]].num_classes:
            raise UserError(
                f"the data set {builder.name} has not one class label in each example; its "
                f"features are {', '.join(features)}: name what is learned in config.data.target"
            )
        key = labels[0]
    feature, many = find_feature(builder, key, "target")
    target = _target(key, feature, many)
    if target is None:
        raise UserError(
            f"config.data.target={key} of the data set {builder.name} is no class label, sequence "
            f"of these, or numbers, it is {' '.join(repr(feature).split())}"
        )
    return target


def find_feature(builder: Any, key: str, field: str) -> tuple[Any, bool]:
    """The feature at a path such as `objects/label`, and whether it stands in a sequence.

    field: of the config, for the message of the UserError where there is none.
    """
    import tensorflow_datasets as tfds

    feature, many = builder.info.features, False
    for name in [*key.split("/"), None]:
        if isinstance(feature, tfds.features.Sequence):
            feature, many = feature.feature, True
        if name is None:
            break
        inner = feature if isinstance(feature, tfds.features.FeaturesDict) else {}
        if name not in inner:
            raise UserError(
                f"the data set {builder.name} has no feature {key!r} for config.data.{field}; its "
                f"features are {', '.join(builder.info.features)}"
            )
        feature = inner[name]
    return feature, many


def _target(key: str, feature: Any, many: bool) -> Target | None:
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel):
        if not feature.num_classes:
            return None
        names = tuple(feature.names)
        if not many:
            columns = {key: tf.io.FixedLenFeature([], tf.int64)}
            return Target("class", names, columns, lambda parsed: parsed[key])
        columns = {key: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)}
        return Target("tags", names, columns, lambda parsed: _present(parsed[key], len(names)))
    if many:
        return None
    if isinstance(feature, tfds.features.FeaturesDict):
        inner = {f"{key}/{name}": feature[name] for name in feature}
        names = tuple(feature)
    else:
        inner = {key: feature}
        size = int(np.prod(feature.shape)) if feature.shape and None not in feature.shape else 1
        names = (key,) if size == 1 else tuple(f"{key}/{k}" for k in range(size))
    tensors = all(isinstance(one, tfds.features.Tensor) for one in inner.values())
    if not inner or not tensors:
        return None
    kinds = {np.dtype(one.np_dtype).kind for one in inner.values()}
    shapes = {one.shape for one in inner.values()}
    flat = shapes == {()} or (len(inner) == 1 and shapes == {(len(names),)})
    if not flat or not kinds <= set("biuf") or ("b" in kinds and len(kinds) > 1):
        return None
    columns = {
        name: tf.io.FixedLenFeature(
            one.shape, tf.float32 if np.issubdtype(one.np_dtype, np.floating) else tf.int64
        )
        for name, one in inner.items()
    }

    def label(parsed: dict[str, tf.Tensor]) -> tf.Tensor:
        parts = [tf.cast(parsed[name], tf.float32) for name in columns]
        return tf.reshape(tf.stack(parts, axis=-1), [-1, len(names)])

    return Target("tags" if "b" in kinds else "values", names, columns, label)


def _present(numbers: tf.RaggedTensor, count: int) -> tf.Tensor:
    """1 for each number below `count` that a row has, else 0: float32 `[n, count]`."""
    places = tf.stack([numbers.value_rowids(), numbers.flat_values], axis=-1)
    room = tf.zeros([numbers.nrows(), count], tf.float32)
    return tf.tensor_scatter_nd_max(room, places, tf.ones_like(places[:, 0], tf.float32))
