"""Parallel files: which lines are pairs, in which split, and every bad one by its place."""

import numpy as np
import pytest

from modelzoo.data.pair_files import PairFiles
from modelzoo.data.tokenizers import Characters, Subwords, Words, load
from modelzoo.fields.errors import UserError

EN = ["a house", "the tree", "a house by the tree", "two trees"]
DE = ["ein Haus", "der Baum", "ein Haus am Baum", "zwei Bäume"]


def write(folder, **files):
    for name, lines in files.items():
        data = lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n").encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, train_en=EN, train_de=DE, test_en=["a tree"], test_de=["ein Baum"])


def config(folder, **fields):
    fields = {"tokenizer": Words(lower=False), "lengths": (8, 16)} | fields
    return PairFiles(f"{folder}/{{split}}.en", f"{folder}/{{split}}.de", **fields)


def pairs_of(source):
    """Id to the texts of both sides, by their tokens."""
    raw = source.gather(np.arange(source.num_examples))
    spec, found = source.spec, {}
    for k, name in enumerate(source.ids):
        found[name] = tuple(
            tokenizer.texts([[i for i in raw[side][k].numpy() if i != end]])[0]
            for side, tokenizer, end in (
                ("source", spec.tokenizer, spec.source_end),
                ("target", spec.target_tokenizer, spec.target_end),
            )
        )
    return found


@pytest.mark.field("PairFiles.source_path", "PairFiles.target_path")
def test_the_lines_of_one_number_are_a_pair(folder):
    source = config(folder).open("train")
    wanted = {f"train.en:{k + 1}": pair for k, pair in enumerate(zip(EN, DE, strict=True))}
    assert pairs_of(source) == wanted and list(source.ids) == list(wanted)
    assert source.references == [(text,) for text in DE]
    assert config(folder).open("test").references == [("ein Baum",)]
    turned = PairFiles(f"{folder}/{{split}}.de", f"{folder}/{{split}}.en", tokenizer=Words())
    assert turned.open("test").gather([0])["text"].numpy() == b"ein Baum"
    with pytest.raises(
        UserError, match=r"no file .*/dev\.en of the split 'dev'; .* has test, train"
    ):
        config(folder, validation_split="dev").open("validation")


def test_a_file_for_all_is_sliced_at_random_without_parting_a_source(tmp_path):
    lines = [f"text {k // 3}" for k in range(90)]
    write(tmp_path, all_en=lines, all_de=[f"Text {k}" for k in range(90)])
    whole = PairFiles(f"{tmp_path}/all.en", f"{tmp_path}/all.de", tokenizer=Words())
    train, rest = (whole.open(f"train[{part}]") for part in (":70%", "70%:"))
    numbers = [[int(name.split(":")[1]) for name in part.ids] for part in (train, rest)]
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 91)) and all(numbers)
    assert all(part == sorted(part) for part in numbers)
    of = [{(number - 1) // 3 for number in part} for part in numbers]
    assert not of[0] & of[1] and max(of[1]) > min(of[0])
    with pytest.raises(UserError, match=r"all\.en has no split 'test'; it has train, and slices"):
        whole.open("test")


BAD = [
    ({"train_de": ["ein Haus", "", *DE[2:]]}, r"train\.de, line 2", "is empty"),
    ({"train_en": b"a house\n \nc\nd"}, r"train\.en, line 2", "is empty"),
    ({"train_en": b"a house\ncaf\xe9\nc\nd\n"}, r"train\.en, line 2", "is not UTF-8"),
]


@pytest.mark.field("EncodedPairData.on_bad_pair")
@pytest.mark.parametrize("files, place, reason", BAD, ids=range(len(BAD)))
def test_a_bad_pair_is_named_or_skipped(folder, files, place, reason):
    write(folder, **files)
    with pytest.raises(UserError, match=rf"{place} {reason}; .*data.on_bad_pair='skip'"):
        config(folder).open("train")
    source = config(folder, on_bad_pair="skip").open("train")
    assert len(source.ids) == 3 and [why for _, why in source.skipped] == [reason]
    number = int(place[-1])
    assert source.skipped[0][0].endswith(place.replace("\\", ""))
    assert f"train.en:{number}" not in source.ids
    assert len(config(folder, on_bad_pair="skip").open("test").ids) == 1


@pytest.mark.parametrize("on_bad_pair", ["error", "skip"])
@pytest.mark.parametrize("name, numbers", [("train_de", (4, 3)), ("train_en", (3, 4))])
def test_files_of_other_numbers_of_lines_are_no_pairs(folder, on_bad_pair, name, numbers):
    write(folder, **{name: {"train_en": EN, "train_de": DE}[name][:3]})
    told = r"train\.en has {} lines, .*train\.de has {}: as many are needed".format(*numbers)
    with pytest.raises(UserError, match=told):
        config(folder, on_bad_pair=on_bad_pair).open("train")


def test_only_a_line_feed_ends_a_line(folder):
    write(folder, test_en="\ufeffone\u2028two\r\nthree\x0cfour".encode(), test_de=["1", "2"])
    source = config(folder).open("test")
    texts = [text.decode() for text in source.gather([0, 1])["text"].numpy()]
    assert texts == ["one\u2028two", "three\x0cfour"]


def test_a_file_that_cannot_be_read_and_a_split_without_pairs_are_told(folder):
    with pytest.raises(UserError, match="cannot read .*none.en: No such file"):
        PairFiles(f"{folder}/none.en", f"{folder}/train.de").open("train")
    write(folder, test_en=b"", test_de=b"")
    with pytest.raises(UserError, match="the split 'test' takes no rows .* test has 0 examples"):
        config(folder).open("test")
    with pytest.raises(ValueError, match="^target_path must have {split} in it where source_path"):
        PairFiles("{split}.en", "train.de")


@pytest.mark.field("PairData.tokenizer", "PairData.target_tokenizer")
def test_a_vocabulary_is_shared_unless_the_target_has_its_own(folder):
    for split in ("train", "test"):
        spec = config(folder).open(split).spec
        assert spec.shared and spec.target_tokenizer is spec.tokenizer
        assert {"house", "Haus", "tree", "Bäume"} <= set(spec.tokenizer.vocabulary)
        spec = config(folder, target_tokenizer=Characters()).open(split).spec
        assert not spec.shared and "Haus" not in spec.tokenizer.vocabulary
        assert set(spec.target_tokenizer.vocabulary[2:]) == set("".join(DE))
    # The training split's is handed on.
    train = config(folder).open("train").spec
    assert config(folder, tokenizer=Characters()).open("test", spec=train).spec.tokenizer is (
        train.tokenizer
    )
    assert isinstance(PairFiles("a", "b").tokenizer, Subwords)


@pytest.mark.field("PairData.vocabulary", "PairData.target_vocabulary")
def test_vocabularies_are_read_from_folders(folder):
    left, right = folder / "left", folder / "right"
    Words(lower=False).train(EN[:1]).save(left)
    Characters().train(["xyz"]).save(right)
    spec = config(folder, vocabulary=str(left)).open("train").spec
    assert spec.shared and spec.tokenizer == load(left)
    spec = config(folder, vocabulary=str(left), target_vocabulary=str(right)).open("test").spec
    assert (spec.tokenizer, spec.target_tokenizer) == (load(left), load(right))
    spec = config(folder, target_vocabulary=str(right)).open("test").spec
    assert spec.target_tokenizer == load(right)
    assert set(spec.tokenizer.vocabulary[2:]) == set(" ".join(EN).split())
    with pytest.raises(UserError, match="no tokenizer in none: tokenizer.json"):
        config(folder, vocabulary="none").open("train")


@pytest.mark.field("PairData.lengths", "PairData.target_lengths", "PairData.tokens_per_batch")
def test_lengths_of_both_sides_and_the_budget_are_checked():
    data = PairFiles("a", "b", lengths=(4, 8), target_lengths=(6, 6), tokens_per_batch=8)
    assert data.tokens_per_batch == 8
    for fields, message in [
        ({"lengths": ()}, "lengths must be numbers from 2 that rise, got ()"),
        ({"lengths": (1, 8)}, "lengths must be numbers from 2"),
        ({"lengths": (8, 8)}, "lengths must be numbers from 2"),
        ({"lengths": (4, 8), "target_lengths": (8,)}, "target_lengths must be None or .* the 2 of"),
        ({"lengths": (4, 8), "target_lengths": (8, 4)}, "target_lengths must be None or .*fall"),
        (
            {"lengths": (4,), "target_lengths": (9,), "tokens_per_batch": 8},
            "tokens_per_batch must be at least the longest of the lengths, 9, got 8",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{message}".replace("()", r"\(\)")):
            PairFiles("a", "b", **fields)


@pytest.mark.field("PairData.lengths", "PairData.target_lengths")
def test_the_spec_has_the_lengths_of_the_config(folder):
    spec = config(folder).open("train").spec
    assert spec.lengths == spec.target_lengths == (8, 16)
    source = config(folder, lengths=(4, 6), target_lengths=(5, 9)).open("train")
    assert (source.spec.lengths, source.spec.target_lengths) == ((4, 6), (5, 9))
    assert source.lengths.tolist() == [4, 4, 6, 4] and source.tokens.tolist() == [3, 3, 5, 3]


@pytest.mark.field("PairData.on_long_pair")
def test_long_pairs_are_cut_or_left_out_of_the_training_split_alone(folder):
    write(folder, test_en=EN, test_de=DE)
    short = {"lengths": (3, 4)}
    assert len(config(folder, **short).open("train").ids) == 4
    skipping = config(folder, **short, on_long_pair="skip")
    train = skipping.open("train")
    assert [name for name, _ in train.skipped] == ["train.en:3"] and len(train.ids) == 3
    test = skipping.open("test")
    assert len(test.ids) == 4 and test.references[2] == (DE[2],) and not test.skipped
    assert (test.gather([2])["target"] == test.spec.target_end).numpy().tolist() == [
        [False, False, False, True]
    ]
    with pytest.raises(UserError, match="all pairs of 'train' are longer than config.data.lengths"):
        config(folder, lengths=(2,), on_long_pair="skip").open("train")
    with pytest.raises(ValueError, match="^on_long_pair must be 'cut' where fold holds out"):
        config(folder, on_long_pair="skip", fold=(1, 2, 0), test_split="train")


def test_folds_are_random_parts_with_vocabularies_of_their_own(folder):
    parts = []
    for number in (1, 2):
        data = config(folder, fold=(number, 2, 0), test_split="train")
        train, test = data.open("train"), data.open("test")
        assert sorted([*train.ids, *test.ids]) == [f"train.en:{k}" for k in range(1, 5)]
        assert [DE[int(name[-1]) - 1] for name in test.ids] == [ref for (ref,) in test.references]
        words = " ".join(EN[int(name[-1]) - 1] + " " + DE[int(name[-1]) - 1] for name in train.ids)
        assert set(train.spec.tokenizer.vocabulary[2:]) == set(words.split())
        parts.append(test.ids)
    assert not set(parts[0]) & set(parts[1])
