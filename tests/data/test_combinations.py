"""Inputs and targets over sources: what each combination gives, and what is refused."""

import dataclasses
import json
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image as Pillow

from modelzoo.data.augment import Augment
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.series import Series
from modelzoo.data.inputs.text import Text
from modelzoo.data.sources.class_folders import ClassFolders
from modelzoo.data.sources.digits import Digits
from modelzoo.data.sources.npz import Npz
from modelzoo.data.sources.parallel_text import ParallelText
from modelzoo.data.sources.table import Table
from modelzoo.data.sources.tfds import Tfds
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.targets.tags import Tags
from modelzoo.data.targets.text_target import TextTarget
from modelzoo.data.targets.token_labels import TokenLabels
from modelzoo.data.targets.values import Values
from modelzoo.data.tokenizers import Words
from modelzoo.fields.errors import UserError

COUNT = 6
SPACED = Words(split="whitespace")
WORDS = [[f"w{k}", "é"] for k in range(COUNT)]


class TinyMany(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["x", "y"])
        features = {
            "image": tfds.features.Image(shape=(4, 5, 1)),
            "text": tfds.features.Text(),
            "words": tfds.features.Sequence(tfds.features.Text()),
            "ner": tfds.features.Sequence(label),
            "label": label,
            "stars": np.float32,
            "flags": {"wet": np.bool_, "cold": np.bool_},
            "steps": tfds.features.Tensor(shape=(3, 2), dtype=np.float32),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k in range(COUNT):
            yield (
                k,
                {
                    "image": np.full((4, 5, 1), k, np.uint8),
                    "text": f"text {k}",
                    "words": WORDS[k],
                    "ner": [k % 2, 1],
                    "label": k % 2,
                    "stars": k / 2,
                    "flags": {"wet": k > 2, "cold": k > 3},
                    "steps": np.full((3, 2), k, np.float32),
                },
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One example for each k, in every source."""
    root = tmp_path_factory.mktemp("data")
    lines = []
    for k in range(COUNT):
        Pillow.fromarray(np.full((4, 5), k, np.uint8)).save(root / f"{k}.png")
        row = {
            "path": f"{k}.png",
            "text": f"text {k}",
            "words": WORDS[k],
            "ner": ["xy"[k % 2], "y"],
        }
        row |= {
            "label": "xy"[k % 2],
            "stars": k / 2,
            "tags": ["cold"] * (k > 3) + ["wet"] * (k > 2),
        }
        lines.append(json.dumps(row | {"a": k, "b": k}))
    (root / "rows.jsonl").write_text("\n".join(lines))
    for name, texts in (("en", "text"), ("de", "Text")):
        (root / f"train.{name}").write_text("".join(f"{texts} {k}\n" for k in range(COUNT)))
    each = np.arange(COUNT)
    np.savez(
        root / "data.npz",
        x_train=np.repeat(each.astype(np.uint8), 20).reshape(-1, 4, 5),
        steps_train=np.repeat(each / 1, 6).reshape(-1, 3, 2),
        text_train=np.array([f"text {k}" for k in each]),
        y_train=each % 2,
        stars_train=each / 2,
        flags_train=np.stack([each > 3, each > 2], 1),
    )
    for k in range(COUNT):
        for kind in ("photos", "texts"):
            (root / kind / "xy"[k % 2]).mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.full((4, 5), k, np.uint8)).save(root / f"photos/{'xy'[k % 2]}/{k}.png")
        (root / f"texts/{'xy'[k % 2]}/{k}.txt").write_text(f"text {k}")
    TinyMany(data_dir=str(root / "tfds")).download_and_prepare()
    return root


SOURCES = {
    "table": lambda root: Table(str(root / "rows.jsonl")),
    "npz": lambda root: Npz(str(root / "data.npz")),
    "tfds": lambda root: Tfds("tiny_many", data_dir=str(root / "tfds")),
    "parallel": lambda root: ParallelText(str(root / "train.en"), str(root / "train.de")),
    "photos": lambda root: ClassFolders(str(root / "photos")),
    "texts": lambda root: ClassFolders(str(root / "texts")),
}

IMAGES = {"table": "path", "npz": "x", "tfds": "image", "photos": "file"}
TEXTS = {"table": "text", "npz": "text", "tfds": "text", "parallel": "source", "texts": "file"}
SERIES = {"npz": ("steps",), "tfds": ("steps",), "table": ("a", "b")}
CLASSES = {"table": "label", "npz": "y", "tfds": "label", "photos": "class", "texts": "class"}
VALUES = {"table": "stars", "npz": "stars", "tfds": "stars"}
TAGS = {"table": "tags", "npz": "flags", "tfds": "flags"}


def inputs_of(source):
    if source in IMAGES:
        yield Image(columns=(IMAGES[source],))
    if source in TEXTS:
        yield Text(columns=(TEXTS[source],))
    if source in SERIES:
        yield Series(columns=SERIES[source], layout="rows_are_examples")


def targets_of(source):
    for kind, columns in ((ClassLabel, CLASSES), (Values, VALUES), (Tags, TAGS)):
        if source in columns:
            yield kind(columns=(columns[source],))
    if source == "parallel":
        yield TextTarget()


def numbers_of(raw):
    """The k of each example, by what an input reads."""
    if "encoded" in raw or "image" in raw:
        return raw["image"].numpy()[:, 0, 0, 0].tolist()
    if "series" in raw:
        return raw["series"].numpy()[:, 0, 0].astype(int).tolist()
    return [int(text.split()[-1]) for text in raw["text"].numpy()]


COMBINATIONS = [
    (source, one, target)
    for source in SOURCES
    for one in inputs_of(source)
    for target in targets_of(source)
]


@pytest.mark.field("Dataset.inputs", "Dataset.target")
@pytest.mark.parametrize(
    "source, one, target",
    COMBINATIONS,
    ids=[f"{s}-{type(i).__name__}-{type(t).__name__}" for s, i, t in COMBINATIONS],
)
def test_every_input_and_target_over_every_source_that_has_them(folder, source, one, target):
    data = Dataset(source=SOURCES[source](folder), inputs=one, target=target)
    split = data.open().split("train")
    raw = split.gather(np.arange(COUNT))
    ks = numbers_of(raw)
    assert sorted(ks) == list(range(COUNT))
    if isinstance(target, TextTarget):
        assert split.references == [(f"Text {k}",) for k in ks]
        return
    label = raw["target/label"].numpy()
    if isinstance(target, ClassLabel):
        assert label.tolist() == [k % 2 for k in ks]
    elif isinstance(target, Values):
        assert label.tolist() == [[k / 2] for k in ks]
    else:
        assert label.tolist() == [[k > 3, k > 2] for k in ks]


@pytest.mark.parametrize("source", ["table", "tfds"])
def test_labels_of_the_words_of_a_list(folder, source):
    data = Dataset(
        source=SOURCES[source](folder),
        inputs=Text(columns=("words",), tokenizer=SPACED, lengths=(2,)),
        target=TokenLabels(columns=("ner",)),
    )
    split = data.open().split("train")
    assert split.bound.target.names == ("x", "y")
    raw = split.gather(np.arange(COUNT))
    texts = [text.decode() for text in raw["text"].numpy()]
    assert sorted(texts) == [" ".join(words) for words in WORDS]
    labels = raw["target/label"].numpy().tolist()
    assert labels == [[int(text[1]) % 2, 1] for text in texts]


@pytest.mark.parametrize("source", ["table", "tfds", "npz"])
def test_an_image_and_a_text_together(folder, source):
    data = Dataset(
        source=SOURCES[source](folder),
        inputs={
            "photo": Image(columns=(IMAGES[source],)),
            "caption": Text(columns=(TEXTS[source],)),
        },
        target=ClassLabel(columns=(CLASSES[source],)),
    )
    raw = data.open().split("train").gather(np.arange(COUNT))
    ks = raw["photo/image"].numpy()[:, 0, 0, 0].tolist()
    assert raw["caption/text"].numpy().tolist() == [f"text {k}".encode() for k in ks]
    assert raw["target/label"].numpy().tolist() == [k % 2 for k in ks]


def test_sums_of_slices_of_embedded_data_and_arrays(folder):
    opened = Dataset(source=Digits(), inputs=Image(), target=ClassLabel()).open()
    parts = ["test[:3]", "train[:2]", "test[-1:]"]
    split, each = opened.split("+".join(parts)), [opened.split(part) for part in parts]
    assert split.ids == [name for one in each for name in one.ids]
    raw = split.gather(np.arange(6))
    for name in ("image", "target/label", "weight"):
        found = [one.gather(np.arange(one.num_examples))[name] for one in each]
        np.testing.assert_array_equal(raw[name], np.concatenate(found))
    npz = Dataset(source=SOURCES["npz"](folder), inputs=Image(), target=Values(columns=("stars",)))
    labels = npz.open().split("train[3:]+train[:1]").gather(np.arange(4))["target/label"]
    assert labels.numpy().tolist() == [[1.5], [2], [2.5], [0]]


def test_sums_of_slices_by_hash(tmp_path):
    """Each part is what it is alone, and names the lines of its file."""
    for name in ("train", "dev"):
        rows = "".join(f"{name} {k},{'xy'[k % 2]}\n" for k in range(20))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}" + "x" * (name == "dev"))
    source = Table(str(tmp_path / "{split}.csv"))
    opened = Dataset(source=source, inputs=Text(), target=ClassLabel(), on_bad="skip").open()
    parts = [opened.split(part) for part in ("dev[:30%]", "train[50%:]")]
    split = opened.split("dev[:30%]+train[50%:]")
    assert split.ids == parts[0].ids + parts[1].ids
    assert [bad.place for bad in split.skipped] == [f"{tmp_path}/dev.csv, line 22"]
    assert opened.view("dev+train").rows.place(20) == f"{tmp_path}/train.csv, line 2"


def test_a_sum_of_splits_with_other_classes_is_refused(tmp_path):
    for path in ("train/a", "train/b", "more/a", "more/c"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "1.txt").write_text("a")
    opened = Dataset(source=ClassFolders(str(tmp_path)), inputs=Text(), target=ClassLabel()).open()
    opened.split("train")
    with pytest.raises(UserError, match=r"train\+more: the column class has other classes"):
        opened.split("train+more")


MIX = Image(columns=("path",), augment=Augment(mixup=0.2))


@pytest.mark.parametrize(
    "inputs, target, message",
    [
        (
            {"a": MIX, "b": MIX},
            ClassLabel(),
            r"^inputs may .* got inputs\.a and inputs\.b: set aug",
        ),
        ({"a": MIX, "b": Text()}, TextTarget(), r"^inputs\.a\.augment\.mixup .* target TextTarget"),
        (
            {"a": MIX, "b": Text(tokenizer=SPACED)},
            TokenLabels(),
            r"^inputs\.a\.augment\.mixup .* target TokenLabels",
        ),
    ],
)
def test_mixing_that_a_target_cannot_follow_is_refused(inputs, target, message):
    with pytest.raises(ValueError, match=message) as error:
        Dataset(source=Table("x.csv"), inputs=inputs, target=target)
    assert "\n" not in str(error.value)
    Dataset(source=Table("x.csv"), inputs={"a": MIX, "b": Text()}, target=Values())


def test_tags_of_json_lines_are_lists_or_separated_texts(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "a", "label": tags} for tags in (["x;z", "y"], "x;y", [])]
    path.write_text("\n".join(map(json.dumps, rows)))

    def opened(separator):
        target = Tags(separator=separator)
        return Dataset(source=Table(str(path)), inputs=Text(), target=target, on_bad="skip").open()

    split = opened(None).split("train")
    assert split.bound.target.names == ("x;z", "y")
    assert [bad.reason for bad in split.skipped] == [
        "has 'x;y' in the column label, not a list of tags"
    ]
    assert opened(";").split("train").bound.target.names == ("x", "x;z", "y")


@pytest.mark.parametrize(
    "source, one, target, message",
    [
        ("photos", Text(), None, r"missing or has no texts \(.txt\)"),
        ("photos", Series(), None, "column 'class' of folder .* holds class, not number or array"),
        (
            "photos",
            Image(),
            Values(),
            "column 'class' of folder .* holds class, not array or number",
        ),
        ("parallel", Image(), None, "column 'source' of parallel text .* holds text, not array"),
        ("npz", Image(), Tags(columns=("text",)), "0 or 1"),
        ("tfds", Text(columns=("image",)), None, "'image' of data set tiny_many is Image"),
        ("tfds", Text(), Values(columns=("label",)), "'label' of data set tiny_many is ClassLabel"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(folder, source, one, target, message):
    with pytest.raises(UserError, match=message) as error:
        Dataset(source=SOURCES[source](folder), inputs=one, target=target).open().split("train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["npz", "table"])
def test_a_split_without_a_positive_weight_is_refused(kind, tmp_path):
    weights = {"train": [0, 0, 0, 2, 0, 0], "test": [0, 0]}
    if kind == "npz":
        path, arrays = tmp_path / "data.npz", {}
        for split, own in weights.items():
            arrays[f"x_{split}"] = np.zeros((len(own), 2, 2, 1), np.uint8)
            arrays |= {f"y_{split}": np.arange(len(own)) % 2, f"w_{split}": np.array(own)}
        np.savez(path, **arrays)
        data = Dataset(source=Npz(str(path)), inputs=Image(), target=ClassLabel())
    else:
        for split, own in weights.items():
            rows = [f"text {k},{k % 2},{weight}\n" for k, weight in enumerate(own)]
            (tmp_path / f"{split}.csv").write_text("".join(["text,label,w\n", *rows]))
        source = Table(str(tmp_path / "{split}.csv"), weight="w")
        data = Dataset(source=source, inputs=Text(tokenizer=Words()), target=ClassLabel())
    opened = data.open()
    assert opened.split("train").num_examples == 6
    message = "no example of the {} split has a positive weight: correct the weights"
    for split in ("test", "test[:1]"):
        with pytest.raises(UserError, match=re.escape(message.format(split))):
            opened.split(split)
    none = dataclasses.replace(data, train_split="test")
    with pytest.raises(UserError, match=message.format("training")):
        none.open().split("train")
    validation = dataclasses.replace(data, validation_split="test").open()
    with pytest.raises(UserError, match=message.format("validation")):
        validation.split("validation")


BAD = {
    "number": (Series(columns=("x",), layout="rows_are_examples"), Values(columns=("x",))),
    "window": (Series(columns=("x",)), Values(columns=("x",))),
    "class": (Series(columns=("x",), layout="rows_are_examples"), ClassLabel(columns=("y",))),
    "tags": (Text(columns=("y",), tokenizer=Words()), Tags(columns=("x", "z"))),
    "text": (Text(columns=("y",), tokenizer=Words()), TextTarget(columns=("x",))),
}


@pytest.mark.parametrize("rows", ["", "1,5\n2,5\n", "\xff;a;b\n" * 3])
@pytest.mark.parametrize("one, target", BAD.values(), ids=BAD)
def test_data_without_a_good_row_are_one_line(tmp_path, rows, one, target):
    path = tmp_path / "rows.csv"
    path.write_bytes(f"x;y;z\n{rows}".encode("latin-1"))
    for on_bad in ("error", "skip"):
        data = Dataset(source=Table(str(path)), inputs=one, target=target, on_bad=on_bad)
        with pytest.raises(UserError) as error:
            data.open().split("train")
        assert "rows.csv" in str(error.value) and (not rows or "line 2" in str(error.value))
