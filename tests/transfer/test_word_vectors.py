import gzip
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.optimizers import AdamW, ScheduleFreeAdamW
from modelzoo.training.config import EvalConfig, TrainConfig
from modelzoo.training.restore import restore
from modelzoo.training.state import TrainState
from modelzoo.transfer.freeze import freeze
from modelzoo.transfer.word_vectors import read_vectors

WORDS = ("<pad>", "<unk>", "the", "naïve", "don't", "zebra")
GLOVE = "naïve 0.5 -1e-2 3\nof 1 1 1\n. . . 1 2 3\nthe 1 2 -3.25\nthe 9 9 9\na b 4 5 6\n"
VECTORS = {"the": [1, 2, -3.25], "naïve": [0.5, -0.01, 3]}


def write(folder, data, pack=False):
    data = data if isinstance(data, bytes) else data.encode()
    path = folder / "vectors.txt"
    path.write_bytes(gzip.compress(data, mtime=0) if pack else data)
    return str(path)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        GLOVE,
        "6 3\n" + GLOVE,  # word2vec counts the words and the numbers first,
        "6 3\n" + GLOVE.replace("\n", " \n"),  # and ends each line with a space.
        GLOVE.replace("\n", "\r\n"),
        b"\xff\xfe 1 1 1\n" + GLOVE.encode(),
        GLOVE.rstrip("\n"),
    ],
)
def test_the_vectors_of_the_vocabulary_are_read(tmp_path, data, pack):
    rows, vectors = read_vectors(write(tmp_path, data, pack), WORDS, 3)
    found = {WORDS[row]: vector.tolist() for row, vector in zip(rows, vectors, strict=True)}
    assert found == {word: np.float32(vector).tolist() for word, vector in VECTORS.items()}
    assert vectors.dtype == np.float32 and rows.dtype == np.int64


def test_words_may_be_numbers(tmp_path):
    rows, vectors = read_vectors(write(tmp_path, "3 1 2\n4 5 6\n"), ("4", "3"), 2)
    assert rows.tolist() == [1, 0] and vectors.tolist() == [[1, 2], [5, 6]]


@pytest.mark.parametrize(
    "data, message",
    [
        ("the 1 2\n", "have 2 dimensions, .* has 3: set config.model.embedding_dim=2$"),
        ("5 300\nthe 1 2 3\n", "have 300 dimensions, .*: set config.model.embedding_dim=300$"),
        ("of 1 1 1\nthe 1 2\n", "vectors.txt, line 2: 2 numbers after the word, not 3"),
        ("6 3\nof 1 1 1\nthe 1 2 3 4\n", "line 3: 4 numbers after the word, not 3"),
        ("the 1 2 3\n\nof 1 2 3\n", "line 2: 0 numbers after the word"),
        ("of 1 1 1\nthe 1 two 3\n", "line 2: 'two' is not a finite float32 number"),
        ("the 1 nan 3\n", "line 1: 'nan' is not a finite float32 number"),
        ("the 1 2 3.5e38\n", "line 1: '3.5e38' is not a finite float32 number"),
        ("of 1 1 1\nThe 1 2 3\n", "for any of the 6 words .*config.data.inputs.tokenizer"),
        (
            "just text",
            r"line 1: no vector; the file must be in the text format of GloVe or word2vec",
        ),
        (b"PK\x03\x04 1 2 3", "is a zip archive: extract it"),
        ("", "vectors.txt is empty"),
        (gzip.compress(GLOVE.encode(), mtime=0)[:-12], "vectors.txt cannot be read: "),
        (gzip.compress(b"", mtime=0), "vectors.txt is empty"),
    ],
)
def test_a_malformed_line_is_an_error_with_its_number(tmp_path, data, message):
    with pytest.raises(UserError, match=message):
        read_vectors(write(tmp_path, data), WORDS, 3)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="init_embeddings=.*/no.txt cannot be read: No such file"):
        read_vectors(f"{tmp_path}/no.txt", WORDS, 3)


def build(dim=3):
    tokens = keras.Input([None], dtype="int32")
    vectors = keras.layers.Embedding(len(WORDS), dim, name="embedding")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D()(vectors)
    return keras.Model(tokens, keras.layers.Dense(2, name="logits")(pooled))


def start(tmp_path, model, data=GLOVE, optimizer=None, vocabulary=WORDS, **train):
    settings = TrainConfig(init_embeddings=write(tmp_path, data), **train)
    frozen = freeze(model, settings.freeze)
    state = TrainState(model, optimizer or AdamW(), ema=True, frozen=frozen)
    experiment = types.SimpleNamespace(train=settings, eval=EvalConfig())
    return state, *restore(state, experiment, tmp_path / "run", "data", vocabulary=vocabulary)


@pytest.mark.field("TrainConfig.init_embeddings")
@pytest.mark.parametrize("frozen", [(), ("embedding",)])
def test_training_starts_from_the_vectors(tmp_path, frozen):
    model = build()
    before = {v.path: v.numpy() for v in model.weights}
    state, meta, started = start(tmp_path, model, freeze=frozen)
    expected = before["embedding/embeddings"].copy()
    for word, vector in VECTORS.items():
        expected[WORDS.index(word)] = vector
    after = {v.path: v.numpy() for v in model.weights}
    np.testing.assert_array_equal(after.pop("embedding/embeddings"), expected)
    for path, value in after.items():
        np.testing.assert_array_equal(value, before[path])
    # What is scored is the average; it begins there too.
    served = state.select_weights("ema")["embedding/embeddings"]
    np.testing.assert_array_equal(served.numpy(), expected)
    assert (meta.step, started.split(", ")[0]) == (0, "from scratch")
    assert ", vectors of 2 of 6 words from " in started
    assert ("embedding/embeddings" in {v.path for v in state.trainable}) == (not frozen)


def test_an_optimizer_that_keeps_the_weights_starts_from_them_too(tmp_path):
    model = build()
    state, _, _ = start(tmp_path, model, optimizer=ScheduleFreeAdamW())
    embeddings = model.get_layer("embedding").embeddings.numpy()
    kept = [v.numpy() for v in state.optimizer_state if tuple(v.shape) == embeddings.shape]
    assert any(np.array_equal(value, embeddings) for value in kept)


def test_replicas_start_from_the_same_vectors(tmp_path):
    devices = tf.config.list_logical_devices("CPU")[:2]
    strategy = tf.distribute.MirroredStrategy(
        [device.name for device in devices], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        start(tmp_path, model := build())
    copies = strategy.experimental_local_results(model.get_layer("embedding").embeddings.value)
    assert len(copies) == 2
    for copy in copies:
        np.testing.assert_array_equal(copy.numpy()[2], np.float32(VECTORS["the"]))


def test_what_does_not_fit_the_model_is_told(tmp_path):
    with pytest.raises(UserError, match="dimensions, the model's embedding has 4: set config.mod"):
        start(tmp_path, build(dim=4))
    plain = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    with pytest.raises(UserError, match="init_embeddings=.* needs a model with word embeddings"):
        start(tmp_path, plain, vocabulary=())
