"""Bound data of chosen sizes, as if learned from a training split."""

from modelzoo.data import ClassLabel, Image, Tags, Values
from modelzoo.data.bound import BoundData
from modelzoo.data.inputs.image import BoundImage
from modelzoo.data.targets.class_label import BoundClassLabel
from modelzoo.data.targets.tags import BoundTags
from modelzoo.data.targets.values import BoundValues

_TARGETS = {
    "class": (ClassLabel, BoundClassLabel),
    "tags": (Tags, BoundTags),
    "values": (Values, BoundValues),
}


def target_of(names, kind="class"):
    config, bound = _TARGETS[kind]
    return bound(config(), tuple(names))


def image_data(shape, names, kind="class", **fields):
    """Images `[height, width, channels]` with a target of these names; `fields` of `Image`."""
    return BoundData({"": BoundImage(Image(**fields), tuple(shape))}, target_of(names, kind))
