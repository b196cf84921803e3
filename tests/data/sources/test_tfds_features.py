"""Features of TFDS data sets as columns of each form, and which one is the default."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from plain_fields import cells, read, wants

from modelzoo.data.sources.tfds import Tfds
from modelzoo.fields.errors import UserError

KINDS = ("x", "y", "z")
TAGS = [[0, 2], [], [1, 1]]
WORDS = [["a", "b c"], [], ["é"]]

IMAGE = {"suffixes": (".png", ".gif"), "noun": "images"}
TEXT = {"suffixes": (".txt",), "noun": "texts"}


class ManyTargets(tfds.core.GeneratorBasedBuilder):
    """One image and features of many kinds."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("plain", "supervised")]

    def _info(self):
        label = tfds.features.ClassLabel(names=KINDS)
        features = {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "deep": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16),
            "coarse": label,
            "fine": label,
            "tags": tfds.features.Sequence(label),
            "words": tfds.features.Sequence(tfds.features.Text()),
            "objects": tfds.features.Sequence({"label": label, "size": np.float32}),
            "flags": {"wet": np.bool_, "cold": np.bool_},
            "place": {"row": np.int64, "column": np.int64},
            "mixed": {"row": np.int64, "wet": np.bool_},
            "mass": np.float64,
            "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "text": tfds.features.Text(),
            "grid": tfds.features.Tensor(shape=(2, 3), dtype=np.float32),
        }
        keys = ("image", "fine") if self.builder_config.name == "supervised" else None
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=keys
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k in range(3):
            yield (
                k,
                {
                    "image": np.full((4, 4, 1), k, np.uint8),
                    "deep": np.full((4, 4, 1), k, np.uint16),
                    "coarse": k,
                    "fine": 2 - k,
                    "tags": TAGS[k],
                    "words": WORDS[k],
                    "objects": [{"label": tag, "size": 1.0} for tag in TAGS[k]],
                    "flags": {"wet": k > 0, "cold": k > 1},
                    "place": {"row": k, "column": -k},
                    "mixed": {"row": k, "wet": True},
                    "mass": k / 4,
                    "box": np.arange(4, dtype=np.float32) + k,
                    "text": f"words {k}",
                    "grid": np.full((2, 3), k, np.float32),
                },
            )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    for config in ("plain", "supervised"):
        ManyTargets(data_dir=path, config=config).download_and_prepare()
    return Tfds("many_targets/plain", data_dir=path)


COLUMNS = {
    "coarse": ("class", KINDS, [0, 1, 2]),
    "fine": ("class", KINDS, [2, 1, 0]),
    "tags": ("list", KINDS, TAGS),
    "words": ("list", None, WORDS),
    "objects/label": ("list", KINDS, TAGS),
    "flags": ("array", ("cold", "wet"), [[0, 0], [0, 1], [1, 1]]),
    "place": ("array", ("column", "row"), [[0, 0], [-1, 1], [-2, 2]]),
    "mass": ("number", None, [0, 0.25, 0.5]),
    "place/row": ("number", None, [0, 1, 2]),
    "box": (
        "array",
        tuple(f"box/{k}" for k in range(4)),
        [[k, k + 1, k + 2, k + 3] for k in (0, 1, 2)],
    ),
    "text": ("bytes", None, [b"words 0", b"words 1", b"words 2"]),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["in memory", "with images"])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_feature_is_a_column(source, name, lazy):
    form, names, expected = COLUMNS[name]
    wanted = [wants("target", name, form)]
    if lazy:
        wanted.append(wants("inputs", "image", "bytes", **IMAGE))
    rows = read(source, "train", *wanted)
    # TFDS shuffles.
    order = np.argsort(
        cells(read(source, "train", wants("inputs", "coarse", "class")), "inputs")[0]
    )
    (column,) = rows.columns["target"]
    assert (column.name, column.form, column.values is None) == (name, form, lazy)
    assert column.names == names
    found = [cells(rows, "target")[0][k] for k in order]
    if lazy and name == "words":
        found = [[word.decode() for word in words] for words in found]
    assert found == expected
    if lazy:
        tensors = tf.function(rows.read)(tf.constant([2, 0], tf.int64))
        assert set(tensors) == {name, "image"}
        assert tf.io.decode_png(tensors["image"][0]).shape == (4, 4, 1)
        assert rows.columns["inputs"][0].shape == (4, 4, 1)
    else:
        assert rows.read is None


def test_an_array_of_several_dimensions_is_a_series_but_no_target(source):
    (column,) = read(source, "train", wants("inputs", "grid", "number", "array")).columns["inputs"]
    assert column.values.shape == (3, 2, 3) and column.values.dtype == np.float32
    with pytest.raises(UserError, match="'grid' of data set many_targets/plain is Tensor"):
        read(source, "train", wants("target", "grid", "array", "number"))


@pytest.mark.parametrize(
    "name, forms, fields, message",
    [
        ("label", ("class",), {}, "no feature 'label' for config.data.target.columns; its .*flags"),
        ("objects/colour", ("list",), {}, "has no feature 'objects/colour'"),
        ("text/length", ("list",), {}, "has no feature 'text/length'"),
        ("text", ("class",), {"noun": "classes"}, r"'text' of .* read as classes \(class\)"),
        ("image", ("class", "bytes"), {}, "'image' of data set many_targets/plain is Image"),
        ("image", ("bytes",), TEXT, "'image' of data set many_targets/plain is Image"),
        ("text", ("bytes",), IMAGE, "'text' of data set many_targets/plain is Text"),
        ("deep", ("bytes",), IMAGE, "'deep' of data set many_targets/plain is Image.*uint16"),
        ("objects/size", ("array", "number", "list"), {}, "is a sequence of .*float32"),
        ("mixed", ("array",), {}, "'mixed' of .* is FeaturesDict"),
        ("coarse", ("number",), {}, "'coarse' of .* is ClassLabel"),
    ],
)
def test_features_that_cannot_be_read_are_refused(source, name, forms, fields, message):
    with pytest.raises(UserError, match=message) as error:
        read(source, "train", wants("target", name, *forms, **fields))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wanted, expected",
    [
        (wants("inputs", (), "array", "bytes", **IMAGE), "image"),
        (wants("inputs", (), "text", "list", "bytes", **TEXT), "text"),
        (wants("inputs", (), "list", **TEXT), "words"),
        (wants("target", (), "text", "bytes"), "text"),
        (wants("target", (), "number"), "mass"),
    ],
)
def test_the_default_is_the_only_feature_of_the_kind(source, wanted, expected):
    assert source.open().default_columns(wanted) == (expected,)


def test_several_features_of_the_kind_are_to_be_named(source):
    message = r"has 2 features that can be its classes; its features are .*flags.*: name them in c"
    with pytest.raises(UserError, match=message):
        source.open().default_columns(wants("target", (), "class", noun="classes"))
    with pytest.raises(UserError, match="has no features that can be its sounds"):
        source.open().default_columns(wants("inputs", (), "file", noun="sounds"))


def test_supervised_features_are_the_default(source):
    opened = Tfds("many_targets/supervised", data_dir=source.data_dir).open()
    assert opened.default_columns(wants("target", (), "class")) == ("fine",)
    assert opened.default_columns(wants("inputs", (), "bytes", **IMAGE)) == ("image",)
    # Only for those that can read them.
    assert opened.default_columns(wants("inputs", (), "bytes", **TEXT)) == ("text",)
    assert opened.default_columns(wants("target", (), "number")) == ("mass",)
