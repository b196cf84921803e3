import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from named_inputs import NEW_IDS, feed, text
from torch_transformers import copy_block, randomise

from modelzoo.fields.input_specs import TokenSpec
from modelzoo.models.encoder import Encoder
from modelzoo.models.layers.positions import sinusoids

TOKENS = text(11)
TINY = {"hidden_dim": 8, "intermediate_dim": 12, "num_heads": 2, "num_layers": 2}
TEXTS = np.array([[5, 3, 10, 1, 2, 7], [8, 8, 1, 0, 0, 0], [9, 0, 0, 0, 0, 0], [0] * 6], "int32")
LENGTHS = (6, 3, 1, 0)


def build(per_token=False, inputs=TOKENS, **fields):
    model = Encoder(**{**TINY, **fields}).build(inputs, 3, per_token)
    randomise(model.weights)
    return model


@pytest.mark.field("Encoder.pooling", "Encoder.num_layers")
def test_values_are_torchs():
    model = build(dropout=0.0)
    embeddings = model.get_layer("embedding").embeddings.numpy()
    tokens = TEXTS[:1]
    x = embeddings[tokens] * 8**0.5 + sinusoids(tf.range(6), 8).numpy()
    x = torch.from_numpy(np.float32(x))
    for block in model.get_layer("encoder").blocks:
        theirs = torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
        torch.nn.init.zeros_(theirs.self_attn.in_proj_bias)
        torch.nn.init.zeros_(theirs.self_attn.out_proj.bias)
        copy_block(block, theirs)
        x = theirs(x)
    kernel, bias = (v.numpy() for v in model.get_layer("logits").weights)
    x = x.detach().numpy()[0]
    for pooling, pooled in (
        ("mean", x.mean(axis=0)),
        ("max", x.max(axis=0)),
        ("mean_max", np.concatenate([x.mean(axis=0), x.max(axis=0)])),
    ):
        ours = build(dropout=0.0, pooling=pooling)
        if pooling != "mean_max":
            ours.set_weights(model.get_weights())
            np.testing.assert_allclose(
                ours(feed(tokens))[0], pooled @ kernel + bias, rtol=0, atol=2e-5
            )
        else:
            assert ours.get_layer("logits").kernel.shape == (16, 3)
    assert len(build(num_layers=3).get_layer("encoder").blocks) == 3


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "learned"])
@pytest.mark.parametrize("pooling", ["mean", "attention", None])
def test_padding_changes_no_output(norm, positions, pooling):
    max_length = 9 if positions == "learned" else None
    kwargs = {"norm": norm, "positions": positions, "max_length": max_length}
    model = build(per_token=pooling is None, pooling=pooling or "mean", **kwargs)
    padded = np.pad(TEXTS, ((0, 0), (0, 3)))
    for tokens, length, got, more in zip(
        TEXTS, LENGTHS, model(feed(TEXTS)), model(feed(padded)), strict=True
    ):
        # A text without tokens has one padding token.
        alone = model(feed(tokens[None, : max(length, 1)]))[0]
        for given in (got, more):
            given = given[:length] if pooling is None else given
            np.testing.assert_allclose(given, alone[: len(given)], rtol=0, atol=1e-5)
    assert model(feed(TEXTS)).shape == ((4, 6, 3) if pooling is None else (4, 3))


@pytest.mark.field("Encoder.max_length")
def test_number_of_learned_positions():
    model = build(positions="learned", max_length=6)
    assert model.get_layer("encoder").positions.table.shape == (6, 8)
    with pytest.raises(ValueError, match="positions must be sinusoidal or rotary"):
        model(feed(np.pad(TEXTS, ((0, 0), (0, 1)))))
    # By default it is the length of the data.
    model = build(positions="learned", inputs=text(11, length=7))
    assert model.get_layer("encoder").positions.table.shape == (7, 8)
    with pytest.raises(ValueError, match='^positions must be .* without a longest length, got "l'):
        build(positions="learned")


def test_padding_may_have_any_id():
    """With permuted ids and vectors, where 3 is padding and 0 is a word, all outputs are equal."""
    model, permuted = build(pooling="attention"), build(pooling="attention")
    vectors = model.get_layer("embedding").embeddings.numpy()
    permuted.get_layer("embedding").embeddings.assign(vectors[np.argsort(NEW_IDS)])
    expected = model(feed(TEXTS))
    np.testing.assert_array_equal(permuted(feed(NEW_IDS[TEXTS], pad=3)), expected)
    assert np.abs(permuted(feed(NEW_IDS[TEXTS], pad=0)) - expected).max() > 1e-3


def test_other_inputs_are_refused():
    both = {**TOKENS, "decoder/tokens": TokenSpec(11, mask="padding_mask", decoder=True)}
    with pytest.raises(
        ValueError, match=r"^inputs must be .*, got tokens \(tokens\), padding_mask"
    ):
        Encoder(**TINY).build(both, 3)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("num_layers", {"num_layers": 0}),
        ("pooling", {"pooling": "last"}),
        ("max_length", {"positions": "learned", "max_length": 0}),
        ("max_length", {"max_length": 5}),
        ("num_heads", {"num_heads": 3}),
    ],
)
def test_impossible_values_are_named(field, fields):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        Encoder(**{**TINY, **fields})


def test_precision():
    for policy, outer in (("mixed_bfloat16", "float32"), ("float64", "float64")):
        keras.config.set_dtype_policy(policy)
        model = build()
        inner = keras.config.dtype_policy().compute_dtype
        assert model.get_layer("encoder").output.dtype == inner
        assert model(feed(TEXTS)).dtype == outer
