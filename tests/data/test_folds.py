"""Folds against scikit-learn, and inputs that learn from a fold's training part only."""

import dataclasses

import numpy as np
import pytest
from memory_source import Memory
from sklearn import model_selection

from modelzoo.data import folds
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import BoundImage, Image
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.targets.tags import Tags
from modelzoo.data.targets.values import Values
from modelzoo.fields.errors import UserError

K, SEED = 4, 7
RNG = np.random.default_rng(0)
CLASSES = RNG.choice(3, 60, p=[0.6, 0.3, 0.1])
GROUPS = [f"person {k}" for k in RNG.integers(0, 11, 60)]
SHUFFLED = {"shuffle": True, "random_state": SEED}
CASES = {
    "classes": (CLASSES, None, model_selection.StratifiedKFold(K, **SHUFFLED)),
    "classes of groups": (CLASSES, GROUPS, model_selection.StratifiedGroupKFold(K, **SHUFFLED)),
    "no classes": (None, None, model_selection.KFold(K, **SHUFFLED)),
    "groups": (None, GROUPS, model_selection.GroupKFold(K)),
}


@pytest.mark.parametrize("classes, groups, splitter", CASES.values(), ids=CASES)
def test_folds_are_those_of_scikit_learn(classes, groups, splitter):
    expected = list(splitter.split(np.zeros(60), CLASSES, groups))
    held_out = []
    for k in range(K):
        train, test = folds.parts((k + 1, K, SEED), 60, classes, "abc", groups)
        np.testing.assert_array_equal(train, expected[k][0])
        np.testing.assert_array_equal(test, expected[k][1])
        held_out += test.tolist()
        if groups is not None:
            assert not {groups[row] for row in train} & {groups[row] for row in test}
        elif classes is not None:
            shares = np.bincount(CLASSES[test], minlength=3) - np.bincount(CLASSES) / K
            assert abs(shares).max() < 1
    assert sorted(held_out) == list(range(60))


def test_too_few_for_so_many_folds():
    labels, groups = np.array([0, 2] * 9 + [2] * 9), ["x", "y", "z"] * 9
    for classes, of, message in [
        (labels, None, "10 folds need 10 examples of each class, 'a' has 9: lower --folds"),
        (labels, groups, "10 folds need 10 groups, there are 3: lower --folds"),
        (None, groups, "10 folds need 10 groups, there are 3: lower --folds"),
    ]:
        with pytest.raises(UserError, match=message):
            folds.parts((1, 10, 0), 27, classes, "abc", of)
    with pytest.raises(UserError, match="28 folds need 28 examples, there are 27"):
        folds.parts((1, 28, 0), 27, None, ())
    # One group of both classes and one of a single class are two folds, whatever the sizes.
    folds.parts((1, 2, 0), 3, np.array([0, 1, 1]), "abc", ["x", "x", "y"])


def columns_of(count):
    rng = np.random.default_rng(count)
    return {
        "x": Column("x", "array", rng.integers(0, 256, (count, 3, 3), np.uint8)),
        "class": Column("class", "class", rng.integers(0, 2, count), names=("a", "b")),
        "tags": Column("tags", "array", rng.integers(0, 2, (count, 3))),
        "values": Column("values", "number", rng.normal(size=count)),
        "who": Column("who", "text", [f"person {k}" for k in rng.integers(0, 9, count)]),
    }


SPLITS = {"train": columns_of(30), "validation": columns_of(5), "test": columns_of(6)}
TARGETS = {"class": ClassLabel, "tags": Tags, "values": Values}


def dataset(target="class", group=None, inputs=None, **fields):
    return Dataset(
        source=Memory(splits=SPLITS, group=group),
        inputs=inputs or Image(columns=("x",)),
        target=TARGETS[target](columns=(target,)),
        **{"train_split": "train[:24]", "test_split": "train[:24]", **fields},
    )


@pytest.mark.field("Dataset.fold")
@pytest.mark.parametrize(
    "target, group, splitter",
    [
        ("class", None, model_selection.StratifiedKFold(3, **SHUFFLED)),
        ("class", "who", model_selection.StratifiedGroupKFold(3, **SHUFFLED)),
        ("tags", None, model_selection.KFold(3, **SHUFFLED)),
        ("values", None, model_selection.KFold(3, **SHUFFLED)),
        ("values", "who", model_selection.GroupKFold(3)),
    ],
)
def test_the_roles_of_a_fold_are_its_parts(target, group, splitter):
    parts = []
    classes, groups = SPLITS["train"]["class"].values[:24], SPLITS["train"]["who"].values[:24]
    expected = list(splitter.split(classes, classes, groups if group else None))
    for k in (1, 2, 3):
        data = dataset(target, group, fold=(k, 3, SEED)).open()
        train, test, whole = (data.split(split) for split in ("train", "test", "train[:24]"))
        for split, rows in zip((train, test), expected[k - 1], strict=True):
            assert split.ids == [f"train/{row}" for row in rows]
            images = [of.gather(np.arange(of.num_examples))["image"] for of in (split, whole)]
            np.testing.assert_array_equal(images[0], images[1].numpy()[rows])
        assert not group or not set(train.groups) & set(test.groups)
        parts += test.ids
        assert data.split("validation").num_examples == 5
        assert data.split("test[:]").num_examples == 6
    assert sorted(parts) == sorted(f"train/{row}" for row in range(24))


@pytest.mark.parametrize("fold", [(0, 3, 0), (4, 3, 0), (1, 1, 0), (1, 3, -1)])
def test_a_fold_that_cannot_be_is_refused(fold):
    with pytest.raises(ValueError, match="fold must be"):
        dataset(fold=fold)


def test_a_fold_is_of_the_training_split():
    with pytest.raises(ValueError, match="test_split must be train_split, 'train', with a fold"):
        dataset(train_split="train", test_split="test", fold=(1, 3, 0))


def test_nothing_is_skipped_for_its_length_in_a_fold():
    with pytest.raises(ValueError, match="on_long must be 'cut' with a fold, got 'skip'"):
        dataset(fold=(1, 3, 0), on_long="skip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanImage(Image):
    """Images that are normalised by the mean of the training images."""

    def fit(self, train, key, target):
        pixels = train.rows.values(train.column(key), train.last)
        config = dataclasses.replace(self, mean=(float(pixels.mean()) / 255,))
        return BoundImage(config, (3, 3, 1))


def test_inputs_learn_from_the_examples_that_are_trained_on():
    means = set()
    pixels = SPLITS["train"]["x"].values
    for k in (1, 2, 3):
        data = dataset(inputs=MeanImage(columns=("x",)), fold=(k, 3, SEED)).open()
        train, test = data.split("train"), data.split("test")
        rows = [int(name.rpartition("/")[2]) for name in train.ids]
        (mean,) = data.bound.inputs[""].config.mean
        assert mean == pixels[rows].mean() / 255
        assert train.bound is test.bound is data.split("validation").bound
        means.add(mean)
    assert len(means) == 3
