import dataclasses

import keras
import numpy as np
import pairs
import pytest
import tensorflow as tf
import texts
import torch
from modelzoo.data.pair_source import pair_source
from modelzoo.tasks.text import TextClassification

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.cnn import CNN
from modelzoo.models.lstm import LSTM
from modelzoo.tasks.text_to_text import TextToText

SPEC = pairs.spec_of(shared=False)
SOURCES, TARGETS = ["ant bee", "gnu", "hen fox dog"], ["bb aa", "gg", "dd ff hh"]


def bound(spec=SPEC, **fields):
    return TextToText(**fields).bind(spec)


def model_of(task, model=pairs.TINY):
    keras.utils.set_random_seed(3)
    shared = "all" if task.spec.shared else "none"
    return task.build_model(dataclasses.replace(model, share_embeddings=shared))


def batch_of(task, weight=(1.0, 1.0, 1.0)):
    weights = np.array(weight, np.float32)
    source = pair_source(task.spec, list("abc"), SOURCES, TARGETS, weights=weights)
    return task.features(source.gather([0, 1, 2, -1][: len(weight)]), training=True)


def test_the_decoder_reads_the_end_and_then_the_tokens_before_the_last():
    batch = batch_of(bound())
    aa, bb, gg = (SPEC.target_tokenizer.vocabulary.index(word) for word in ("aa", "bb", "gg"))
    end = SPEC.target_end
    assert batch["label"][:2].numpy().tolist() == [
        [bb, aa, end, 0, 0, 0, 0, 0],
        [gg, end, 0, 0, 0, 0, 0, 0],
    ]
    assert batch["target"][:2].numpy().tolist() == [
        [end, bb, aa, 0, 0, 0, 0, 0],
        [end, gg, 0, 0, 0, 0, 0, 0],
    ]
    assert set(batch) == {"source", "target", "label", "weight", "index"}


def test_texts_become_the_tokens_that_training_has_seen():
    task = bound()
    long = " ".join(["bee"] * 20)
    source = pair_source(SPEC, list("abcd"), [*SOURCES, long], [*TARGETS, "bb"])
    trained = source.gather(range(4))["source"].numpy()
    served = task.features({"text": tf.constant([*SOURCES, long])}, training=False)
    np.testing.assert_array_equal(served["source"], trained)
    assert list(served) == ["source"]
    # Padded to the longest of its texts; the empty one is its end.
    short = task.features({"text": tf.constant(["", "ant"])}, training=False)["source"].numpy()
    assert short[0].tolist() == [SPEC.source_end, 0]
    assert short.shape == (2, 2)
    assert task.features({"text": tf.constant([], tf.string)}, False)["source"].shape == (0, 1)


def test_a_model_is_told_both_vocabularies_with_their_ends():
    assert bound().model_inputs() == PairTokens(
        source_vocab=SPEC.tokenizer.vocab_size + 1,
        target_vocab=SPEC.target_tokenizer.vocab_size + 1,
        shared=False,
        source_length=8,
        target_length=8,
    )
    task = bound(pairs.spec_of())
    assert task.model_inputs().shared
    assert task.describe() == "texts of up to 8 tokens to ones of up to 8, 10 words for both"
    assert bound().describe().endswith("10 words to 10 words")


@pytest.mark.field("TextToText.label_smoothing")
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_the_real_tokens_by_their_examples_weights(smoothing):
    task = bound(label_smoothing=smoothing)
    model = model_of(task)
    weight = [2.0, 0.5, 1.0]
    batch = batch_of(task, weight)
    logits = model({k: batch[k] for k in ("source", "target")}).numpy().astype(np.float64)
    label = batch["label"].numpy()

    def expected(smoothing):
        losses = torch.nn.functional.cross_entropy(
            torch.tensor(logits.reshape(-1, logits.shape[-1])),
            torch.tensor(label.ravel(), dtype=torch.int64),
            label_smoothing=smoothing,
            reduction="none",
        ).numpy()
        return (losses.reshape(label.shape) * (label != 0) * np.array(weight)[:, None]).sum()

    tokens = 2 * 3 + 0.5 * 2 + 1 * 4
    trained = task.outputs(model, batch, training=True)
    loss, weights = task.loss(trained, batch)
    assert float(loss) == pytest.approx(expected(smoothing), rel=1e-5)
    assert float(weights) == tokens
    sums = task.sums(trained, batch, training=True)
    hits = (logits.argmax(-1) == label) * (label != 0) * np.array(weight)[:, None]
    assert {name: float(v) for name, v in sums.items()} == {
        "weight": tokens,
        "correct": pytest.approx(hits.sum()),
    }
    # Evaluated without smoothing, so that runs that differ in it can be compared.
    evaluated = task.sums(task.outputs(model, batch), batch)
    scores = task.scores({name: np.float64(v) for name, v in evaluated.items()})
    assert scores["loss"] == pytest.approx(expected(0.0) / tokens, rel=1e-5)
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))
    assert scores["token_accuracy"] == pytest.approx(hits.sum() / tokens)


def test_padding_rows_count_nowhere():
    task = bound()
    model = model_of(task)
    for training in (True, False):
        with_padding = batch_of(task, (1.0, 1.0, 1.0, 1.0))
        assert with_padding["weight"].numpy().tolist() == [1, 1, 1, 0]
        plain = batch_of(task)
        found, expected = (
            task.sums(task.outputs(model, b, training), b, training) for b in (with_padding, plain)
        )
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


def test_what_is_decoded_is_what_the_search_finds():
    decoding = Decoding(beams=3, n_best=2, length_penalty=1.0, coverage_penalty=0.1, min_length=1)
    task = bound(decoding=decoding)
    model = model_of(task)
    batch = batch_of(task)
    outputs = task.outputs(model, batch)
    state = model.start(batch["source"], rows=3, capacity=8, coverage=True)
    end = SPEC.target_end
    found = search(
        model,
        state,
        decoding,
        start=end,
        end=end,
        capacity=8,
        source_real=batch["source"] != 0,
        leave=False,
    )
    assert outputs["tokens"].shape[1] == 2
    collected = {name: value.numpy() for name, value in task.collected(outputs, batch).items()}
    np.testing.assert_array_equal(collected["tokens"], found.tokens[:, 0])
    assert collected["tokens"].shape == (3, 8)
    served = task.served(outputs)
    np.testing.assert_allclose(served["scores"], found.scores, rtol=1e-5)
    words = SPEC.target_tokenizer.vocabulary
    rows, joined = found.tokens.numpy().reshape(6, 8), served["texts"].numpy().ravel()
    for row, given in zip(rows, joined, strict=True):
        assert given.decode() == " ".join(words[k] for k in row if 1 < k < end)
    assert task.texts(collected) == [text.decode() for text in served["texts"][:, 0].numpy()]


@pytest.mark.field("TextToText.metrics")
def test_metrics_are_of_the_texts_and_without_any_nothing_is_decoded():
    task = bound(metrics=("exact_match", "bleu"))
    assert task.headline == ("loss", "token_accuracy", "exact_match", "bleu")
    words = SPEC.target_tokenizer.vocabulary
    right = [[words.index(w) for w in text.split()] + [SPEC.target_end] for text in TARGETS]
    tokens = np.zeros([3, 8], np.int32)
    for row, ids in zip(tokens, right, strict=True):
        row[: len(ids)] = ids
    tokens[1, 0] = words.index("aa")
    references = [(text, "another") for text in TARGETS]
    scores = task.scores({}, {"tokens": tokens, "reference": references})
    assert scores["exact_match"] == pytest.approx(2 / 3)
    assert set(scores) == {"exact_match", "bleu", "signatures"}
    assert list(scores["signatures"]) == ["bleu"]
    silent = bound(metrics=())
    batch = batch_of(silent)
    outputs = silent.outputs(model_of(silent), batch)
    assert set(outputs) == {"losses", "hits"}
    assert silent.collected(outputs, batch) == {}
    assert silent.headline == ("loss", "token_accuracy")


def test_served_texts_do_not_depend_on_their_neighbours():
    task = bound(decoding=Decoding(beams=2))
    serve = task.signatures(model_of(task))["serving_default"]
    given = ["ant bee", "", "gnu hen dog cät emu fox", "🐜 שלום", "  bee   "]
    together = serve(tf.constant(given))
    for k, text in enumerate(given):
        alone = serve(tf.constant([text]))
        assert alone["texts"][0].numpy().tolist() == together["texts"][k].numpy().tolist()
        np.testing.assert_allclose(alone["scores"][0], together["scores"][k], rtol=1e-5)
    nothing = serve(tf.constant([], tf.string))
    assert nothing["texts"].shape == nothing["scores"].shape == (0, 1)


def test_answers_are_the_sequences_that_there_are():
    task = bound(decoding=Decoding(beams=3, n_best=3))
    served = {"texts": np.array(["x", "y", ""]), "scores": np.float32([-1, -2, -np.inf])}
    assert task.answer(served) == {"text": "x", "score": -1}
    rows = [{"text": "x", "score": -1}, {"text": "y", "score": -2}]
    assert task.answer(served, top=3) == {"text": "x", "score": -1, "top": rows}
    assert task.answer(served, top=1)["top"] == rows[:1]
    with pytest.raises(UserError, match=r"--top=4 is more .* --decoding=beams=4,n_best=4"):
        task.answer(served, top=4)


def test_no_weight_is_nothing_to_score():
    with pytest.raises(UserError, match="nothing to score"):
        bound().scores({"weight": np.float64(0), "correct": np.float64(0)})


def test_other_data_and_models_are_refused():
    with pytest.raises(
        UserError, match=r"of kind 'pair', but .* 'text': choose TextClassification"
    ):
        TextToText().bind(texts.spec_of())
    with pytest.raises(UserError, match=r"of kind 'text', but .* 'pair': choose TextToText"):
        TextClassification().bind(SPEC)
    with pytest.raises(UserError, match="config.model is CNN, which takes data of kind 'image'"):
        bound().build_model(CNN())
    with pytest.raises(UserError, match="LSTM, which takes data of kind 'image' or 'text' or 'ser"):
        bound().build_model(LSTM())
    with pytest.raises(UserError, match="Transformer, which takes data of kind 'pair', but"):
        TextClassification().bind(texts.spec_of()).build_model(pairs.TINY)


def test_what_cannot_be_is_told_by_its_field():
    with pytest.raises(ValueError, match=r"^label_smoothing must be in \[0, 1\), got 1"):
        TextToText(label_smoothing=1.0)
    with pytest.raises(UserError, match="decoding.min_length must be at most 7, .* got 8"):
        bound(decoding=Decoding(min_length=8))
    longer = bound(decoding=Decoding(min_length=8, max_length=20))
    assert longer.capacity == 21
    model_of(longer)
    with pytest.raises(UserError, match="max_length is 20: config.model.positions must be"):
        model_of(longer, dataclasses.replace(pairs.TINY, positions="learned"))
