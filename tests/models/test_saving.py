"""Every model family loads back from Keras's files with equal outputs, whatever the policy."""

import keras
import numpy as np
import pytest
from named_inputs import feed, feed_pair, image, pair, text

from modelzoo.fields import compat
from modelzoo.fields.input_specs import ArraySpec
from modelzoo.models import CNN, LSTM, Encoder, LSTMSeq2Seq, RecurrentCNN, ResNet, Transformer

IMAGES = {"image": np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")}
SERIES = {"series": IMAGES["image"][:, 0]}
TEXTS = np.array([[5, 3, 10, 1, 2, 7], [8, 8, 1, 0, 0, 0]], "int32")
TARGETS = np.array([[10, 4, 5, 6, 7], [10, 1, 0, 0, 0]], "int32")
BLOCKS = {"hidden_dim": 8, "intermediate_dim": 12, "num_heads": 2}
LAYERS = {"num_encoder_layers": 1, "num_decoder_layers": 2}
# By name: config, inputs, tensors.
FAMILIES = {
    "cnn": (CNN((4,), batch_norm=True, dropout=0.1, l2=0.1), image(8, 8, 3), IMAGES),
    "resnet": (ResNet(8, width=4, stochastic_depth=0.2), image(8, 8, 3), IMAGES),
    "wide": (ResNet(10, width=4, widen=2, preactivation=True), image(8, 8, 3), IMAGES),
    "recurrent_cnn": (RecurrentCNN(8, recurrent_layers=2, steps=1), image(8, 8, 3), IMAGES),
    "lstm": (
        LSTM(4, units=(3, 3), bidirectional=True, pooling="attention", recurrent_dropout=0.1),
        text(11),
        feed(TEXTS),
    ),
    "gru": (LSTM(cell="gru", units=(3,)), {"series": ArraySpec("series", (8, 3))}, SERIES),
    "encoder": (Encoder(num_layers=1, positions="learned", **BLOCKS), text(11, 6), feed(TEXTS)),
    "encoder_pre": (Encoder(num_layers=2, norm="pre", **BLOCKS), text(11), feed(TEXTS)),
    "transformer": (Transformer(**BLOCKS, **LAYERS), pair(11), feed_pair(TEXTS, TARGETS)),
    "transformer_apart": (
        Transformer(**BLOCKS, **LAYERS, norm="pre", positions="rotary", share_embeddings="none"),
        pair(12, 11),
        feed_pair(TEXTS, TARGETS),
    ),
    "luong": (LSTMSeq2Seq(5, 3, **LAYERS), pair(11), feed_pair(TEXTS, TARGETS)),
    "bahdanau": (
        LSTMSeq2Seq(5, 3, **LAYERS, attention="bahdanau", dropout=0.1, share_embeddings="none"),
        pair(12, 11),
        feed_pair(TEXTS, TARGETS),
    ),
}


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *[(name, "mixed_bfloat16") for name in FAMILIES],
        *[(name, "float32") for name in ("cnn", "lstm", "transformer")],
        *[(name, "mixed_float16") for name in ("resnet", "gru")],
        *[(name, "float64") for name in ("encoder", "luong")],
    ],
)
def test_files_of_keras_give_the_same_model(name, policy, tmp_path):
    config, inputs, tensors = FAMILIES[name]
    keras.config.set_dtype_policy(policy)
    num_outputs = 11 if "decoder/tokens" in inputs else 3
    model, other = (config.build(inputs, num_outputs) for _ in range(2))
    rng = np.random.default_rng(0)
    for v in model.weights:
        v.assign(rng.uniform(0.1, 0.6, v.shape))
    expected = model(tensors)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    # The file has its own policies.
    keras.config.set_dtype_policy("float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert keras.config.dtype_policy().name == "float32"
    assert type(again) is type(model)
    for loaded in (again, other):
        got = loaded(tensors)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
        assert [v.path for v in loaded.weights] == [v.path for v in model.weights]
        for ours, theirs in zip(*map(compat.all_layers, (loaded, model)), strict=True):
            # Inputs have dtypes, and policies without a use.
            if not isinstance(ours, keras.layers.InputLayer):
                assert ours.dtype_policy.name == theirs.dtype_policy.name, ours.path
    if hasattr(model, "attention"):
        np.testing.assert_array_equal(
            again.attention(tensors)["cross"], model.attention(tensors)["cross"]
        )
        state = [
            m.start({name: tensors[name] for name in m.encoder_inputs}, beams=1, capacity=4)
            for m in (again, model)
        ]
        steps = [m.step(TARGETS[:, :1], s)[0] for m, s in zip((again, model), state, strict=True)]
        np.testing.assert_array_equal(*steps)
