"""Texts as a target: tokens, what a decoder reads, references, and vocabularies of both sides."""

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.text import Text
from modelzoo.data.targets.text_target import TextTarget
from modelzoo.data.tokenizers import Characters, Subwords, Words, load
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import MaskSpec, TokenSpec

LENGTHS, TARGET_LENGTHS = (3, 6, 9), (2, 4, 8)
SOURCES = ["a b", "c", "a b c d e f g h i j k", "d e"]
TARGETS = ["p", "q r s t", "s", "t t t t t t t t t"]
BERT_WORDS = Words(pad="[PAD]", unknown="[UNK]", start="[CLS]", end="[SEP]")


def source_of(sources=SOURCES, targets=TARGETS, form="text", **others):
    """A source with "train" and, if given, other splits of sources and targets."""
    return Memory(
        splits={
            name: {
                "source": Column("source", "text", left),
                "target": Column("target", form, right),
            }
            for name, (left, right) in {"train": (sources, targets), **others}.items()
        }
    )


def dataset(source, text=None, target=None, **fields):
    inputs = Text(**{"columns": ("source",), "lengths": LENGTHS, **(text or {})})
    return Dataset(source=source, inputs=inputs, target=TextTarget(**(target or {})), **fields)


@pytest.fixture
def sides(tmp_path):
    """Fields of the input and of the target, with vocabularies that know all words."""
    left, right = tmp_path / "left", tmp_path / "right"
    Words().train(["a b c d e f g h i j k"]).save(left)
    Words().train(["p q r s t"]).save(right)
    return {"vocabulary": str(left)}, {"vocabulary": str(right), "lengths": TARGET_LENGTHS}


def ids_of(bound, text):
    return [bound.tokenizer.vocabulary.index(word) for word in text.split()]


def padded(row, length, pad=0):
    return [*row, *[pad] * (length - len(row))]


@pytest.mark.field("TextTarget.lengths")
@pytest.mark.parametrize("bucket", [None, 0, 1, 2])
def test_both_sides_end_and_are_padded_to_the_widths_of_a_bucket(sides, bucket):
    data = dataset(source_of(), *sides).open()
    split, left, right = data.split("train"), data.bound.inputs[""], data.bound.target
    # The end token is the id after the vocabulary, which a decoder also starts from.
    assert left.ids.end == left.tokenizer.vocab_size
    assert right.ids.start == right.ids.end == right.tokenizer.vocab_size
    assert (right.ids.pad, right.forbidden_ids) == (0, (0,))
    raw = split.gather([0, -1], bucket)
    at = 2 if bucket is None else bucket
    tokens = padded([*ids_of(left, "a b"), left.ids.end], LENGTHS[at])
    target = padded([*ids_of(right, "p"), right.ids.end], TARGET_LENGTHS[at])
    assert raw["tokens"].numpy().tolist() == [tokens] * 2
    assert raw["target/tokens"].numpy().tolist() == [target] * 2
    assert raw["target/tokens"].dtype == tf.int32
    assert raw["target/padding_mask"].numpy().tolist() == [[k > 0 for k in target]] * 2
    assert raw["weight"].numpy().tolist() == [1, 0] and raw["index"].numpy().tolist() == [0, -1]
    assert raw["text"].numpy().tolist() == [b"a b"] * 2
    if bucket is not None:
        read = tf.function(split.gather)
        again = read(tf.constant([0, -1], tf.int64), tf.constant(bucket))
        for name, value in raw.items():
            np.testing.assert_array_equal(again[name], value)


def test_a_decoder_reads_the_start_and_then_all_tokens_but_the_last(sides):
    data = dataset(source_of(), *sides).open()
    batch = data.bound.features(data.split("train").gather([0, 1], 2), training=True)
    end = data.bound.target.ids.end
    p, q, r, s, t = range(2, 7)
    assert batch["label"].numpy().tolist() == [padded([p, end], 8), padded([q, r, s, t, end], 8)]
    assert batch["decoder/tokens"].numpy().tolist() == [
        padded([end, p], 8),
        padded([end, q, r, s, t], 8),
    ]
    mask = [padded([True] * n, 8, False) for n in (2, 5)]
    assert batch["label_mask"].numpy().tolist() == mask
    assert batch["decoder/padding_mask"].numpy().tolist() == mask
    assert set(batch) == {
        *("tokens", "padding_mask", "decoder/tokens", "decoder/padding_mask"),
        *("label", "label_mask", "weight", "index", "number"),
    }
    # Without a target, as in serving.
    served = data.bound.features({"text": tf.constant(["a b"])}, training=False)
    assert set(served) == {"tokens", "padding_mask"}
    np.testing.assert_array_equal(served["tokens"], batch["tokens"][:1, :3])


def test_padding_may_have_any_id(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[UNK]", "b", "[SEP]", "a", "[PAD]", "p", "[CLS]", "q"]))
    unknown, b, end, a, pad, p, start, q = range(8)
    text = {"vocabulary": str(path), "tokenizer": BERT_WORDS, "lengths": (3, 5)}
    data = dataset(source_of(["a b", "zebra"], ["p q", "q p q p q"]), text).open()
    target, split = data.bound.target, data.split("train")
    assert target.shared
    assert (target.ids.pad, target.ids.start, target.ids.end) == (pad, start, end)
    assert target.forbidden_ids == (pad, start)
    batch = data.bound.features(split.gather([0, 1], 1), training=True)
    assert batch["tokens"].numpy().tolist() == [
        [a, b, end, pad, pad],
        [unknown, end, pad, pad, pad],
    ]
    assert batch["label"].numpy().tolist() == [[p, q, end, pad, pad], [q, p, q, p, end]]
    assert batch["decoder/tokens"].numpy().tolist() == [
        [start, p, q, pad, pad],
        [start, q, p, q, p],
    ]
    assert batch["label_mask"].numpy().tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    specs = data.bound.model_specs()
    assert specs["tokens"].vocab_size == specs["decoder/tokens"].vocab_size == 8
    assert specs["tokens"].vocabulary == specs["decoder/tokens"].vocabulary
    found = target.join(tf.constant([[start, p, q, end, pad], [q, unknown, end, pad, pad]]))
    assert [text.decode() for text in found.numpy()] == ["p q", "q \u2047"]
    data.bound.save(tmp_path / "run")
    path.unlink()
    assert BoundData.load(data.data, tmp_path / "run") == data.bound


def test_long_texts_are_truncated_before_their_end(sides):
    references = [["p"], ["q"], ["s", "other"], [TARGETS[3]]]
    data = dataset(source_of(targets=references, form="list"), *sides).open()
    split = data.split("train")
    raw = split.gather([2, 3])
    left, right = data.bound.inputs[""], data.bound.target
    assert raw["tokens"][0].numpy().tolist() == [*ids_of(left, "a b c d e f g h"), left.ids.end]
    long = [*ids_of(right, "t t t t t t t"), right.ids.end]
    assert raw["target/tokens"][1].numpy().tolist() == long
    # Whole texts stay.
    assert raw["text"][0].numpy().decode() == SOURCES[2]
    assert split.references == [("p",), ("q",), ("s", "other"), (TARGETS[3],)]
    assert split.remarks == ("2 of 4 examples are truncated to 9+8 tokens",)


def test_an_example_is_in_the_least_bucket_that_holds_both_sides(sides):
    split = dataset(source_of(), *sides).open().split("train")
    # By its source, target, source and target.
    assert split.buckets.tolist() == [0, 2, 2, 2] and split.tokens.tolist() == [2, 5, 2, 8]
    assert split.references == [(text,) for text in TARGETS]


@pytest.mark.field("Dataset.on_long")
def test_long_examples_may_be_skipped_in_training_alone(sides):
    source = source_of(test=(SOURCES, TARGETS))
    data = dataset(source, *sides, on_long="skip").open()
    train, test = data.split("train"), data.split("test")
    assert train.ids == ["train/0", "train/1"] and train.tokens.tolist() == [2, 5]
    assert train.references == [("p",), ("q r s t",)] and train.remarks == ()
    assert [bad.reason for bad in train.skipped] == ["has more than 9+8 tokens"] * 2
    assert train.gather([1])["text"].numpy().tolist() == [b"c"]
    assert test.num_examples == 4 and test.skipped == ()
    assert (test.gather([3])["target/tokens"] == data.bound.target.ids.end)[0, 7]


@pytest.mark.field("TextTarget.lengths")
def test_lengths_are_those_of_the_input_unless_given():
    for lengths, widths in [(None, LENGTHS), ((5,), (5, 5, 5)), ((2, 2, 4), (2, 2, 4))]:
        data = dataset(source_of(), target={"lengths": lengths}).open()
        assert data.bound.buckets.widths == {"inputs": LENGTHS, "target": widths}
    with pytest.raises(UserError, match="config.data: each field needs one width per bucket"):
        dataset(source_of(), target={"lengths": (4, 8)}).open().split("train")


@pytest.mark.field("VocabularyField.tokenizer")
def test_a_vocabulary_is_shared_unless_the_target_has_its_own():
    source = source_of(["a b", "a c"], [["b x", "no"], ["y"]], form="list")
    tokenizer = {"tokenizer": Words()}
    shared = dataset(source, tokenizer).open().bound
    # "b" occurs on both sides, and the second reference is not trained on.
    assert shared.inputs[""].words == ("<pad>", "<unk>", "a", "b", "c", "x", "y")
    assert shared.target.tokenizer is shared.inputs[""].tokenizer
    own = dataset(source, tokenizer, {"tokenizer": Characters()}).open().bound
    assert own.inputs[""].words == ("<pad>", "<unk>", "a", "b", "c")
    assert own.target.tokenizer.vocabulary == ("<pad>", "<unk>", " ", "b", "x", "y")
    specs = own.model_specs()
    assert specs["decoder/tokens"] == TokenSpec(
        vocab_size=7,
        mask="decoder/padding_mask",
        length=9,
        vocabulary=specs["decoder/tokens"].vocabulary,
        decoder=True,
    )
    assert specs["decoder/padding_mask"] == MaskSpec()
    assert specs["decoder/tokens"].vocabulary != specs["tokens"].vocabulary
    specs = shared.model_specs()
    assert specs["decoder/tokens"].vocabulary == specs["tokens"].vocabulary
    assert specs["decoder/tokens"].vocab_size == specs["tokens"].vocab_size == 8
    # Without the end token the input has one id less.
    specs = dataset(source, tokenizer | {"end": False}).open().bound.model_specs()
    assert specs["decoder/tokens"].vocabulary != specs["tokens"].vocabulary
    assert (specs["tokens"].vocab_size, specs["decoder/tokens"].vocab_size) == (7, 8)


def test_a_shared_vocabulary_is_trained_example_by_example():
    class Recorded(Words):
        def train(self, texts):
            seen.extend(texts)
            return Words().train(seen)

    seen = []
    dataset(source_of(["1", "2"], ["3", "4"]), {"tokenizer": Recorded()}).open().split("train")
    assert seen == ["1", "3", "2", "4"]


@pytest.mark.field("VocabularyField.vocabulary")
def test_vocabularies_are_read_from_folders(sides, tmp_path):
    (left, right), source = sides, source_of(["a new"], ["p new"])
    bound = dataset(source, left).open().bound
    assert bound.target.shared and bound.target.tokenizer == load(left["vocabulary"])
    bound = dataset(source, {"tokenizer": Words()}, right).open().bound
    assert bound.target.tokenizer == load(right["vocabulary"])
    assert set(bound.inputs[""].words[2:]) == {"a", "new"}
    file = tmp_path / "vocab.txt"
    file.write_text("<pad>\n<unk>\np")
    given = {"vocabulary": str(file), "tokenizer": Words()}
    assert dataset(source, left, given).open().bound.target.tokenizer.vocab_size == 3
    with pytest.raises(
        UserError, match=r"target.tokenizer must be the tokenizer for the vocabular"
    ):
        dataset(source, left, {"vocabulary": str(file)}).open().split("train")


def test_unknown_tokens_are_reported_by_side(sides):
    left, right = sides
    split = dataset(source_of(["a a x"], ["x"]), left, right).open().split("train")
    left, right = split.remarks
    assert left == "the vocabulary of config.data.inputs lacks 33% of the tokens"
    assert right.startswith(
        "the vocabulary of config.data.target lacks 100% of the tokens: set its"
    )


def test_an_example_without_tokens_has_its_ends(sides):
    data = dataset(source_of(["\u200b"], ["\u200b"]), *sides).open()
    raw = data.split("train").gather([0], 0)
    left, right = data.bound.inputs[""], data.bound.target
    assert raw["tokens"].numpy().tolist() == [[left.ids.end, 0, 0]]
    assert raw["target/tokens"].numpy().tolist() == [[right.ids.end, 0]]


BAD = [
    ("list", [], "has no text in the column target"),
    ("list", ["a", " "], "has no text in the column target"),
    ("list", [None], "has no text in the column target"),
    ("list", [b"\xff"], "is not UTF-8"),
    ("text", "", "has no text in the column target"),
    ("text", None, "has no text in the column target"),
    ("bytes", b" ", "is empty"),
    ("bytes", b"\xff", "is not UTF-8"),
]


@pytest.mark.parametrize("form, cell, reason", BAD)
def test_a_bad_target_is_reported_or_skipped(form, cell, reason):
    good = {"list": [" fine ", 1999], "text": "fine", "bytes": b"\xef\xbb\xbffine\n"}[form]
    source = source_of(["a", "b"], [good, cell], form)
    with pytest.raises(UserError, match=f"memory, train/1: {reason}; .*config.data.on_bad=skip"):
        dataset(source).open().split("train")
    split = dataset(source, on_bad="skip").open().split("train")
    assert split.references == [("fine", "1999") if form == "list" else ("fine",)]
    assert [bad.reason for bad in split.skipped] == [reason]


def test_bound_targets_can_be_loaded(sides, tmp_path):
    for k, target in enumerate(({}, sides[1], {"tokenizer": Characters(), "lengths": (4,)})):
        data = dataset(source_of(), target=target).open()
        data.bound.save(tmp_path / str(k))
        loaded = BoundData.load(data.data, tmp_path / str(k))
        assert loaded == data.bound and loaded.fingerprint() == data.bound.fingerprint()
        assert loaded.target.shared == (k == 0)
        assert (tmp_path / str(k) / "target").exists() == (k > 0)


def test_labels_are_texts_for_people(sides):
    data = dataset(source_of(), *sides).open()
    bound = data.bound.target
    batch = data.bound.features(data.split("train").gather([1]), training=False)
    assert bound.label_to_json(batch["label"][0].numpy()) == "q r s t"
    assert bound.describe() == "target texts of up to 8 tokens, 7 words"
    assert dataset(source_of()).open().bound.describe() == (
        "target texts of up to 9 tokens, the vocabulary of the input, "
        "texts of up to 9 tokens, 18 words"
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TextTarget(lengths=()), r"lengths must be none or numbers of at least 2 .*\(\)"),
        (lambda: TextTarget(lengths=(8, 4)), "lengths must be none or numbers .* do not fall"),
        (lambda: TextTarget(lengths=(1,)), "lengths must be none or numbers of at least 2"),
        (
            lambda: dataset(source_of(), {"lengths": (1, 4)}),
            "inputs.lengths must be numbers of at least 2, a token and the end token",
        ),
        (
            lambda: Dataset(
                source=source_of(), inputs={"a": Text(), "b": Text()}, target=TextTarget()
            ),
            "target.tokenizer must not be none with 2 inputs of texts",
        ),
        (
            lambda: Dataset(
                source=source_of(),
                inputs={"a": Text(), "b": Text()},
                target=TextTarget(tokenizer=Words()),
            ),
            "target.lengths must not be none with 2 inputs of texts",
        ),
    ],
)
def test_fields_that_do_not_fit_are_errors(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def many(sides, count=150):
    rng = np.random.default_rng(0)
    left = rng.integers(1, 9, count)
    # In one of ten examples the target decides the bucket.
    right = np.where(rng.random(count) < 0.1, 7, np.maximum(left // 2, 1))
    texts = [[" ".join(["a"] * n) for n in side] for side in (left, right)]
    return dataset(source_of(*texts), *sides).open().split("train")


def test_a_token_budget_counts_the_longer_of_both_lengths(sides):
    assert batch_sizes(many(sides), tokens_per_batch=100) == {0: 32, 1: 16, 2: 8}
    wide = dataset(source_of(), {"lengths": (3, 6)}, {"lengths": (12, 12)}).open().split("train")
    assert batch_sizes(wide, tokens_per_batch=200, parts=2) == {0: 16, 1: 16}


def test_each_example_comes_whole_and_once_per_epoch(sides):
    split = many(sides)
    left, right = split.bound.inputs[""], split.bound.target
    sizes = batch_sizes(split, tokens_per_batch=80)
    taken, position = TrainingBatches(split, 1, sizes).take(0, 60)
    seen = collections.Counter()
    for rows, epochs, k in taken:
        raw = split.gather(rows, k)
        assert raw["tokens"].shape == (sizes[k], LENGTHS[k])
        assert raw["target/tokens"].shape == (sizes[k], TARGET_LENGTHS[k])
        for side, end in (("tokens", left.ids.end), ("target/tokens", right.ids.end)):
            # None is truncated: each has its end.
            assert ((raw[side] == end).numpy().sum(1) == 1).all()
        assert split.buckets[rows].max() <= k
        seen.update(zip(rows.tolist(), epochs.tolist(), strict=True))
    assert set(seen.values()) == {1} and position > 3 * 150
    assert {(row, epoch) for row in range(150) for epoch in range(2)} <= seen.keys()
    # Another process continues at any batch.
    for done in (1, 17, 42):
        _, position = TrainingBatches(many(sides), 1, sizes).take(0, done)
        rest, _ = TrainingBatches(many(sides), 1, sizes).take(position, 60 - done)
        for ours, theirs in zip(rest, taken[done:], strict=True):
            np.testing.assert_array_equal(ours.rows, theirs.rows)
            assert ours.bucket == theirs.bucket
    rows = np.concatenate([batch.rows for batch in evaluation_batches(split, sizes)])
    assert sorted(rows[rows >= 0]) == list(range(150))


def test_folds_have_vocabularies_of_their_own():
    sources, targets = ([f"{side}{k}" for k in range(4)] for side in "ab")
    parts = []
    for number in (1, 2):
        source = source_of(sources, targets)
        data = dataset(source, fold=(number, 2, 0), train_split="train", test_split="train").open()
        train, test = data.split("train"), data.split("test")
        assert sorted([*train.ids, *test.ids]) == [f"train/{k}" for k in range(4)]
        words = {f"{side}{name[-1]}" for name in train.ids for side in "ab"}
        assert set(data.bound.words[2:]) == words
        assert test.references == [(f"b{name[-1]}",) for name in test.ids]
        parts.append(test.ids)
    assert not set(parts[0]) & set(parts[1])


WRITTEN = [
    "\u201cIsn\u2019t it?\u201d It's \ufb01ne: x\u00b2, 1\u20442, A\u030a, \u00c5 \u2014 \u017fo!",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01\uff21\uff11\uff1f",
    "\u3053\u3093\u306b\u3061\u306f\u3001\uff76\uff9e \u30ac\u3002",
    "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645\u060c \u0644\u0627 \ufefb",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u200f",
    "\u0939\u093f\u0928\u094d\u200d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "İstanbul'da ışık, ΣΟΦΟΣ, Привет ßẞ",  # noqa: RUF001
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \u2764\ufe0f co\u00adop",
]
"""Texts of several scripts that lowercasing or a Unicode normalization would change."""


@pytest.mark.field("Words.lower", "Words.normalize", "Subwords.normalize")
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    "tokenizer",
    [
        Characters(),
        Words(),
        Words(split="whitespace"),
        *(Subwords(kind=kind, size=500) for kind in ("bpe", "unigram", "wordpiece")),
        Subwords(size=900, byte_fallback=True),
    ],
)
def test_generated_texts_are_as_they_were_written(tokenizer, shared, tmp_path):
    target = {} if shared else {"tokenizer": tokenizer}
    opened = dataset(
        source_of(WRITTEN, WRITTEN),
        {"tokenizer": tokenizer, "lengths": (200,)},
        {**target, "lengths": (200,)},
    ).open()
    opened.bound.save(tmp_path)
    bound = BoundData.load(opened.data, tmp_path).target
    split = opened.split("train")
    raw = split.gather(np.arange(len(WRITTEN)))
    texts = [text.decode() for text in bound.join(raw["target/tokens"]).numpy()]
    written = [texts[0] for texts in split.references]
    if isinstance(tokenizer, Words) or tokenizer == Subwords(kind="wordpiece", size=500):
        # Words forget which of them spaces separate.
        texts, written = (["".join(text.split()) for text in side] for side in (texts, written))
    assert texts == written
    # The input keeps its default unless it shares the vocabulary.
    one = opened.bound.inputs[""].tokenizer.config
    assert one == (tokenizer.as_written() if shared else tokenizer)
    # What a config says, holds.
    if isinstance(tokenizer, Words):
        low = dataclasses.replace(tokenizer, lower=True, normalize="nfkc")
        assert low.as_written() == low
