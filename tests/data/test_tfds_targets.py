"""Features of TFDS data sets as classes, tags and values."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from modelzoo.data import source as source_module
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.fields.errors import UserError

KINDS = ["x", "y", "z"]
TAGS = [[0, 2], [], [1, 1]]


class ManyTargets(tfds.core.GeneratorBasedBuilder):
    """One image and features of many kinds."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=KINDS)
        features = {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "coarse": label,
            "fine": label,
            "tags": tfds.features.Sequence(label),
            "objects": tfds.features.Sequence({"label": label, "size": np.float32}),
            "flags": {"wet": np.bool_, "cold": np.bool_},
            "place": {"row": np.int64, "column": np.int64},
            "mass": np.float64,
            "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "text": tfds.features.Text(),
            "grid": tfds.features.Tensor(shape=(2, 2), dtype=np.float32),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k in range(3):
            yield (
                k,
                {
                    "image": np.full((4, 4, 1), k, np.uint8),
                    "coarse": k,
                    "fine": 2 - k,
                    "tags": TAGS[k],
                    "objects": [{"label": tag, "size": 1.0} for tag in TAGS[k]],
                    "flags": {"wet": k > 0, "cold": k > 1},
                    "place": {"row": k, "column": -k},
                    "mass": k / 4,
                    "box": np.arange(4, dtype=np.float32) + k,
                    "text": "words",
                    "grid": np.zeros((2, 2), np.float32),
                },
            )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    ManyTargets(data_dir=path).download_and_prepare()
    return path


PRESENT = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


@pytest.mark.field("Tfds.target")
@pytest.mark.parametrize("memory_limit", [2**30, 0], ids=["in memory", "from files"])
@pytest.mark.parametrize(
    "target, targets, names, labels",
    [
        ("coarse", "class", KINDS, [0, 1, 2]),
        ("fine", "class", KINDS, [2, 1, 0]),
        ("tags", "tags", KINDS, PRESENT),
        ("objects/label", "tags", KINDS, PRESENT),
        ("flags", "tags", ["cold", "wet"], [[0, 0], [0, 1], [1, 1]]),
        ("place", "values", ["column", "row"], [[0, 0], [-1, 1], [-2, 2]]),
        ("mass", "values", ["mass"], [[0], [0.25], [0.5]]),
        (
            "box",
            "values",
            [f"box/{k}" for k in range(4)],
            [[k, k + 1, k + 2, k + 3] for k in range(3)],
        ),
        ("place/row", "values", ["place/row"], [[0], [1], [2]]),
    ],
)
def test_labels_of_a_feature(data_dir, memory_limit, monkeypatch, target, targets, names, labels):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", memory_limit)
    source = TfdsImages("many_targets", data_dir=data_dir, target=target).open("train")
    assert source.spec.targets == targets
    order = [source.spec.class_names.index(name) for name in names]
    assert sorted(order) == list(range(len(source.spec.class_names)))
    label = source.gather(np.arange(3))["label"].numpy()
    if targets == "class":
        assert label.dtype == np.int64 and label.tolist() == labels
    else:
        assert label.dtype == np.float32 and label[:, order].tolist() == labels


@pytest.mark.parametrize(
    "target, message",
    [
        (None, "has not one class label in each.*config.data.target"),
        ("label", "has no feature 'label' for config.data.target; .*flags"),
        ("objects/colour", "has no feature 'objects/colour'"),
        ("text", "target=text .*is no class label"),
        ("grid", "target=grid .*is no class label"),
        ("image", "target=image .*is no class label"),
        ("objects/size", "target=objects/size .*is no class label"),
    ],
)
def test_features_that_cannot_be_learned_are_refused(data_dir, target, message):
    with pytest.raises(UserError, match=message) as error:
        TfdsImages("many_targets", data_dir=data_dir, target=target).open("train")
    assert "\n" not in str(error.value)
