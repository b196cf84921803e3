"""Text-to-text: its loss and metrics, what it decodes, serves and refuses."""

import dataclasses

import keras
import numpy as np
import pairs
import pytest
import tensorflow as tf
import torch
from memory_source import Memory

from modelzoo.data import Dataset, Text, TextTarget
from modelzoo.data.columns import Column
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.errors import UserError
from modelzoo.tasks import TextToText

DATA = pairs.pair_data(shared=False)
SOURCES, TARGETS = ["ant bee", "gnu", "hen fox dog"], ["bb aa", "gg", "dd ff hh"]
PAIR = ("tokens", "padding_mask", "decoder/tokens", "decoder/padding_mask")


def bound(data=DATA, **fields):
    return TextToText(**fields).bind(data)


def model_of(task, model=pairs.TINY):
    keras.utils.set_random_seed(3)
    shared = "all" if task.data.target.shared else "none"
    return task.build_model(dataclasses.replace(model, share_embeddings=shared))


def batch_of(task, weight=(1.0, 1.0, 1.0), training=True):
    """A batch of the pairs by their weights; a fourth is padding."""
    columns = {
        "source": Column("source", "text", SOURCES),
        "target": Column("target", "text", TARGETS),
    }
    source = Memory(splits={"train": columns}, weights=np.array(weight[:3], np.float32))
    data = Dataset(source=source, inputs=Text(columns=("source",)), target=TextTarget())
    raw = data.open(task.data).split("train").gather(np.array([0, 1, 2, -1])[: len(weight)])
    return task.data.features(raw, training=training)


@pytest.mark.field("TextToText.label_smoothing")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_of_tokens_with_the_weights_of_their_examples(smoothing):
    task = bound(label_smoothing=smoothing)
    model = model_of(task)
    weight = [2.0, 0.5, 1.0]
    batch = batch_of(task, weight)
    logits = model({name: batch[name] for name in PAIR}).numpy().astype(np.float64)
    label = batch["label"].numpy()
    # Two words, one and three, each text with its end.
    mask = np.arange(8) < np.array([[3], [2], [4]])

    def expected(smoothing):
        losses = torch.nn.functional.cross_entropy(
            torch.tensor(logits.reshape(-1, logits.shape[-1])),
            torch.tensor(label.ravel(), dtype=torch.int64),
            label_smoothing=smoothing,
            reduction="none",
        ).numpy()
        return (losses.reshape(label.shape) * mask * np.array(weight)[:, None]).sum()

    tokens = 2 * 3 + 0.5 * 2 + 1 * 4
    objective = task.objective
    trained = objective.outputs(model, batch, training=True)
    loss, weights = objective.loss(trained, batch)
    assert float(loss) == pytest.approx(expected(smoothing), rel=1e-5)
    assert float(weights) == tokens
    sums = objective.metric_sums(trained, batch, training=True)
    hits = (logits.argmax(-1) == label) * mask * np.array(weight)[:, None]
    assert {name: float(v) for name, v in sums.items()} == {
        "weight": tokens,
        "correct": pytest.approx(hits.sum()),
    }
    # Evaluated without smoothing, so that runs that differ in it can be compared.
    evaluated = objective.metric_sums(objective.outputs(model, batch), batch)
    found = objective.metrics({name: np.float64(v) for name, v in evaluated.items()})
    assert found["loss"] == pytest.approx(expected(0.0) / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    assert found["token_accuracy"] == pytest.approx(hits.sum() / tokens)


def test_padding_rows_count_nowhere():
    task = bound()
    model = model_of(task)
    for training in (True, False):
        with_padding = batch_of(task, (1.0, 1.0, 1.0, 1.0))
        assert with_padding["weight"].numpy().tolist() == [1, 1, 1, 0]
        plain = batch_of(task)
        found, expected = (
            task.objective.metric_sums(task.objective.outputs(model, b, training), b, training)
            for b in (with_padding, plain)
        )
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


def test_decoded_texts_are_those_of_the_search():
    decoding = Decoding(beams=3, n_best=2, length_penalty=1.0, coverage_penalty=0.1, min_length=1)
    task = bound(decoding=decoding)
    model = model_of(task)
    batch = batch_of(task)
    outputs = task.objective.outputs(model, batch)
    source = {name: batch[name] for name in PAIR[:2]}
    state = model.start(source, beams=3, capacity=8, coverage=True)
    # Padding and unknown have the first ids of ten, the end the one after them.
    end = 10
    found = search(
        model,
        state,
        decoding,
        start=end,
        end=end,
        pad=0,
        forbidden=(0,),
        capacity=8,
        memory_mask=np.arange(8) < np.array([[3], [2], [4]]),
    )
    assert outputs["tokens"].shape[1] == 2
    per_example = task.objective.per_example(outputs, batch)["tokens"].numpy()
    width = found.tokens.shape[2]
    np.testing.assert_array_equal(per_example[:, :width], found.tokens[:, 0])
    assert per_example.shape == (3, 8) and not per_example[:, width:].any()
    served = task.serving.to_serving(outputs)
    np.testing.assert_allclose(served["scores"], found.scores, rtol=1e-5)
    words = DATA.target.tokenizer.vocabulary
    rows, joined = found.tokens.numpy().reshape(6, width), served["texts"].numpy().ravel()
    for row, given in zip(rows, joined, strict=True):
        assert given.decode() == " ".join(words[k] for k in row if 1 < k < end)
    assert task.serving.texts({"tokens": per_example}) == [
        text.decode() for text in served["texts"][:, 0].numpy()
    ]


@pytest.mark.field("TextToText.metrics", "TextToText.bleu_tokenizer")
def test_metrics_are_of_the_texts_and_without_any_nothing_is_decoded():
    task = bound(metrics=("exact_match", "bleu"))
    assert task.objective.headline == ("loss", "token_accuracy", "exact_match", "bleu")
    words = DATA.target.tokenizer.vocabulary
    right = [[words.index(w) for w in text.split()] + [10] for text in TARGETS]
    tokens = np.zeros([3, 8], np.int32)
    for row, ids in zip(tokens, right, strict=True):
        row[: len(ids)] = ids
    tokens[1, 0] = words.index("aa")
    references = [(text, "another") for text in TARGETS]
    found = task.objective.metrics({}, {"tokens": tokens, "reference": references})
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert set(found) == {"exact_match", "bleu", "signatures"}
    assert list(found["signatures"]) == ["bleu"]
    # By the script of the references, unless the config says otherwise.
    texts = {"texts": ["你好，世界！"] * 3, "reference": [("你好，世界！",)] * 3}  # noqa: RUF001
    for tokenizer, score in ((None, 100), ("zh", 100), ("13a", 0)):
        task = bound(metrics=("bleu",), bleu_tokenizer=tokenizer)
        found = task.objective.metrics({}, texts)
        assert found["bleu"] == pytest.approx(score)
        assert f"tok:{tokenizer or 'zh'}" in found["signatures"]["bleu"]
    none = bound(metrics=())
    silent, batch = none.objective, batch_of(none)
    outputs = silent.outputs(model_of(none), batch)
    assert set(outputs) == {"losses", "hits"}
    assert silent.per_example(outputs, batch) == {}
    assert silent.headline == ("loss", "token_accuracy")


def test_answers_are_the_texts_that_were_found():
    serving = bound(decoding=Decoding(beams=3, n_best=3)).serving
    served = {"texts": np.array(["x", "y", ""]), "scores": np.float32([-1, -2, -np.inf])}
    assert serving.to_json(served) == {"text": "x", "score": -1}
    rows = [{"text": "x", "score": -1}, {"text": "y", "score": -2}]
    assert serving.to_json(served, top=3) == {"text": "x", "score": -1, "top": rows}
    assert serving.to_json(served, top=1)["top"] == rows[:1]
    with pytest.raises(
        UserError, match=r"--top must be at most .*, got 4: add --config.task.decoding.beams=4 --c"
    ):
        serving.to_json(served, top=4)


def test_tokens_without_a_weight_cannot_be_measured():
    with pytest.raises(UserError, match="nothing to measure"):
        bound().objective.metrics({"weight": np.float64(0), "correct": np.float64(0)})


def test_impossible_values_are_refused_by_name():
    with pytest.raises(ValueError, match="^label_smoothing must be at least 0 and below 1, got 1"):
        TextToText(label_smoothing=1.0)
    with pytest.raises(UserError, match="decoding.min_length must be at most 7, .* got 8"):
        bound(decoding=Decoding(min_length=8))
    longer = bound(decoding=Decoding(min_length=8, max_length=20))
    assert longer.objective.capacity == 21
    model_of(longer)
    with pytest.raises(UserError, match="max_length is 20: config.model.positions must be"):
        model_of(longer, dataclasses.replace(pairs.TINY, positions="learned"))


def test_decoding_is_that_of_the_config():
    texts = {}
    for name, decoding in {
        "greedy": Decoding(),
        "short": Decoding(max_length=1),
        "beams": Decoding(beams=3, n_best=3),
    }.items():
        task = bound(decoding=decoding)
        served = task.signatures(model_of(task))["serving_default"](tf.constant(SOURCES))
        texts[name] = [[text.decode() for text in row] for row in served["texts"].numpy()]
    assert [[len(row) for row in rows] for rows in texts.values()] == [[1] * 3, [1] * 3, [3] * 3]
    assert any(len(row[0].split()) > 1 for row in texts["greedy"])
    assert all(len(row[0].split()) <= 1 for row in texts["short"])
