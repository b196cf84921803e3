"""Folds against scikit-learn, and what is learned of a fold's training part alone."""

import numpy as np
import pytest
import runs
from sklearn import model_selection
from texts import Sentences

from modelzoo.data import folds
from modelzoo.data.npz import NpzImages
from modelzoo.fields.errors import UserError

K, SEED = 4, 7
RNG = np.random.default_rng(0)
CLASSES = RNG.choice(3, 60, p=[0.6, 0.3, 0.1])
GROUPS = [f"person {k}" for k in RNG.integers(0, 11, 60)]
SHUFFLED = {"shuffle": True, "random_state": SEED}
CASES = {
    "classes": ("class", None, model_selection.StratifiedKFold(K, **SHUFFLED)),
    "groups": ("class", GROUPS, model_selection.StratifiedGroupKFold(K, **SHUFFLED)),
    "values": ("values", None, model_selection.KFold(K, **SHUFFLED)),
    "tags": ("tags", None, model_selection.KFold(K, **SHUFFLED)),
    "values of groups": ("values", GROUPS, model_selection.GroupKFold(K)),
}


@pytest.mark.parametrize("targets, groups, splitter", CASES.values(), ids=CASES)
def test_folds_are_those_of_scikit_learn(targets, groups, splitter):
    expected = list(splitter.split(np.zeros(60), CLASSES, groups))
    held_out = []
    for k in range(K):
        train, test = folds.parts((k + 1, K, SEED), targets, CLASSES, "abc", groups)
        np.testing.assert_array_equal(train, expected[k][0])
        np.testing.assert_array_equal(test, expected[k][1])
        held_out += test.tolist()
        if groups is not None:
            assert not {groups[row] for row in train} & {groups[row] for row in test}
        elif targets == "class":
            shares = np.bincount(CLASSES[test], minlength=3) - np.bincount(CLASSES) / K
            assert abs(shares).max() < 1
    assert sorted(held_out) == list(range(60))


def test_too_few_for_so_many_folds():
    labels, groups = np.array([0, 2] * 9 + [2] * 9), ["x", "y", "z"] * 9
    for targets, of, message in [
        ("class", None, "10 folds need 10 examples of each class, 'a' has 9: lower --folds"),
        ("class", groups, "10 folds need 10 groups, there are 3: lower --folds"),
        ("values", groups, "10 folds need 10 groups, there are 3: lower --folds"),
    ]:
        with pytest.raises(UserError, match=message):
            folds.parts((1, 10, 0), targets, labels, "abc", of)
    with pytest.raises(UserError, match="28 folds need 28 examples, there are 27"):
        folds.parts((1, 28, 0), "values", labels, "abc")
    # One group of both classes and one of a class alone are two folds, whatever the classes' sizes.
    folds.parts((1, 2, 0), "class", np.array([0, 1, 1]), "abc", ["x", "x", "y"])


@pytest.mark.field("Data.fold")
def test_the_roles_of_a_fold_are_its_parts(tmp_path):
    path = runs.stripes(tmp_path / "data.npz", {"train": 30, "validation": 5, "test": 6})
    parts = []
    for k in (1, 2, 3):
        data = NpzImages(
            str(path),
            train_split="train[:24]",
            validation_split="validation",
            test_split="train[:24]",
            fold=(k, 3, SEED),
        )
        train, test, whole = (data.open(split) for split in ("train", "test", "train[:24]"))
        labels = whole.gather(np.arange(24))["label"].numpy()
        rows = list(model_selection.StratifiedKFold(3, **SHUFFLED).split(labels, labels))[k - 1]
        for source, expected in zip((train, test), rows, strict=True):
            assert source.ids == [f"train/{row}" for row in expected]
            images = [of.gather(np.arange(of.num_examples))["image"] for of in (source, whole)]
            np.testing.assert_array_equal(images[0], images[1].numpy()[expected])
        parts += test.ids
        assert data.open("validation").num_examples == 5
        assert data.open("test[:]").num_examples == 6
    assert sorted(parts) == sorted(f"train/{row}" for row in range(24))


@pytest.mark.parametrize("fold", [(0, 3, 0), (4, 3, 0), (1, 1, 0), (1, 3, -1)])
def test_a_fold_that_is_none(fold):
    with pytest.raises(ValueError, match="fold must be"):
        Sentences(test_split="train", fold=fold)


def test_a_fold_is_of_the_training_split():
    with pytest.raises(ValueError, match="test_split must be train_split, 'train', where fold"):
        Sentences(fold=(1, 3, 0))


@pytest.mark.parametrize("targets", ["class", "labels"])
def test_a_vocabulary_is_of_the_rows_that_are_trained_on(targets):
    whole = Sentences(targets=targets, number=12)
    texts = whole.open("train").gather(np.arange(12))["text"].numpy()
    vocabularies = set()
    for k in (1, 2, 3):
        data = Sentences(targets=targets, number=12, test_split="train", fold=(k, 3, SEED))
        train, test = data.open("train"), data.open("test")
        rows = [int(name.rpartition("/")[2]) for name in train.ids]
        expected = data.tokenizer.train(texts[rows])
        assert train.spec.tokenizer == test.spec.tokenizer == expected
        assert data.open("validation[:]").spec.tokenizer == expected
        vocabularies.add(expected.vocabulary)
    # Words stand there by how often the texts have them.
    assert len(vocabularies | {whole.open("train").spec.tokenizer.vocabulary}) > 1
