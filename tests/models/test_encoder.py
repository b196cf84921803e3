import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch_transformers import copy_block, randomise

from modelzoo.fields.input_specs import TokenSpec
from modelzoo.models.encoder import Encoder
from modelzoo.models.layers.positions import sinusoids

TOKENS = TokenSpec(shape=(None, None), dtype="int32", vocab_size=11)
TINY = {"dim": 8, "ffn_dim": 12, "heads": 2, "layers": 2}
TEXTS = np.array([[5, 3, 10, 1, 2, 7], [8, 8, 1, 0, 0, 0], [9, 0, 0, 0, 0, 0], [0] * 6], "int32")
LENGTHS = (6, 3, 1, 0)


def build(per_step=False, **fields):
    model = Encoder(**{**TINY, **fields}).build(TOKENS, 3, per_step)
    randomise(model.weights)
    return model


@pytest.mark.field("Encoder.pooling", "Encoder.layers")
def test_values_are_torchs():
    model = build(dropout=0.0)
    embeddings = model.get_layer("embedding").embeddings.numpy()
    text = TEXTS[:1]
    x = embeddings[text] * 8**0.5 + sinusoids(tf.range(6), 8).numpy()
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
            np.testing.assert_allclose(ours(text)[0], pooled @ kernel + bias, rtol=0, atol=2e-5)
        else:
            assert ours.get_layer("logits").kernel.shape == (16, 3)
    assert len(build(layers=3).get_layer("encoder").blocks) == 3


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary", "learned"])
@pytest.mark.parametrize("pooling", ["mean", "attention", None])
def test_padding_changes_no_output(norm, positions, pooling):
    longest = 9 if positions == "learned" else None
    kwargs = {"norm": norm, "positions": positions, "longest": longest}
    model = build(per_step=pooling is None, pooling=pooling or "mean", **kwargs)
    padded = np.pad(TEXTS, ((0, 0), (0, 3)))
    for text, length, got, more in zip(TEXTS, LENGTHS, model(TEXTS), model(padded), strict=True):
        # A text of no token at all has one of padding.
        alone = model(text[None, : max(length, 1)])[0]
        for given in (got, more):
            given = given[:length] if pooling is None else given
            np.testing.assert_allclose(given, alone[: len(given)], rtol=0, atol=1e-5)
    assert model(TEXTS).shape == ((4, 6, 3) if pooling is None else (4, 3))


@pytest.mark.field("Encoder.longest")
def test_learned_positions_are_so_many():
    model = build(positions="learned", longest=6)
    assert model.get_layer("encoder").positions.table.shape == (6, 8)
    with pytest.raises(ValueError, match="positions must be sinusoidal or rotary"):
        model(np.pad(TEXTS, ((0, 0), (0, 1))))


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("layers", {"layers": 0}),
        ("pooling", {"pooling": "last"}),
        ("longest", {"positions": "learned"}),
        ("longest", {"positions": "learned", "longest": 0}),
        ("longest", {"longest": 5}),
        ("heads", {"heads": 3}),
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
        assert model(TEXTS).dtype == outer
