"""Hundreds of random comparisons with the layers of Keras and PyTorch, in float64."""

import keras
import numpy as np
import tensorflow as tf
import torch
from comparisons import Comparisons
from torch_transformers import copy_block, randomise

from modelzoo.models.layers.attention import Attention
from modelzoo.models.layers.attention_lstm import LuongAttention
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.layer_norm import LayerNorm
from modelzoo.models.layers.linear import Projection
from modelzoo.models.layers.local_response_norm import LocalResponseNorm
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.recurrent import GRU, LSTM, SimpleRNN
from modelzoo.models.layers.token_embedding import TokenEmbedding
from modelzoo.models.layers.transformer import Block
from modelzoo.models.resnet import convolution

WIDE = {"dtype": "float64"}


def comparisons():
    return Comparisons(rel=1e-9, absolute=1e-9, whole=True)


def pick(rng, **choices):
    """One of the values of each argument."""
    return {name: values[rng.integers(len(values))] for name, values in choices.items()}


def gradients(layer, x, *args, **kwargs):
    """Outputs of a call, and the gradients of `x` and the weights."""
    x = tf.convert_to_tensor(x)
    sources = [x, *(v.value for v in layer.trainable_weights)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = tf.nest.flatten(layer(x, *args, **kwargs))
        loss = tf.add_n([tf.reduce_sum(tf.sin(y)) for y in outputs])
    return [*outputs, *tape.gradient(loss, sources, unconnected_gradients="zero")]


def mask_of(rng, n, length):
    """Real steps anywhere, but for a first one."""
    mask = rng.random((n, length)) > 0.3
    mask[:, 0] = True
    return mask


def test_recurrent_layers_are_those_of_keras():
    compare = comparisons()
    for seed in range(36):
        rng = np.random.default_rng(seed)
        n, length, features, units = map(int, rng.integers(1, 5, 4))
        ours, theirs = (
            (LSTM, keras.layers.LSTM),
            (GRU, keras.layers.GRU),
            (SimpleRNN, keras.layers.SimpleRNN),
        )[seed % 3]
        options = pick(
            rng,
            use_bias=(True, False),
            activation=("tanh", "relu", "softsign"),
            return_sequences=(True, False),
            return_state=(True, False),
            go_backwards=(True, False),
        )
        if ours is not SimpleRNN:
            options |= pick(rng, recurrent_activation=("sigmoid", "hard_sigmoid"))
        if ours is LSTM:
            options |= pick(rng, unit_forget_bias=(True, False))
        if options["return_sequences"]:
            options |= pick(rng, zero_output_for_mask=(True, False))
        x = rng.normal(size=(n, length, features))
        given = {"mask": mask_of(rng, n, length)} if rng.random() < 0.6 else {}
        if rng.random() < 0.3:
            states = 2 if ours is LSTM else 1
            given["initial_state"] = [rng.normal(size=(n, units)) for _ in range(states)]
        stateful = not given and n > 1
        layers = [cls(units, stateful=stateful, **options, **WIDE) for cls in (ours, theirs)]
        for layer in layers:
            layer.build(x.shape)
            randomise(layer.trainable_weights, seed)
        for _ in range(1 + stateful):
            results = [gradients(layer, x, **given) for layer in layers]
            for a, b in zip(*results, strict=True):
                compare(a, b, (seed, options, given.keys()))
    assert compare.count > 200


def test_attention_is_that_of_keras():
    # Keras scales the queries by a float32.
    compare = Comparisons(rel=1e-6, absolute=1e-6, whole=True)
    for seed in range(25):
        rng = np.random.default_rng(seed)
        n, length, others, heads, width = map(int, 1 + rng.integers(1, 5, 5))
        dim = heads * width
        cross, causal, use_bias = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.5
        causal &= not cross
        x, memory = rng.normal(size=(n, length, dim)), rng.normal(size=(n, others, dim))
        memory = memory if cross else x
        mask = mask_of(rng, n, memory.shape[1])
        ours = Attention(heads, cross=cross, causal=causal, use_bias=use_bias, **WIDE)
        ours.build(x.shape)
        randomise(ours.weights, seed)
        theirs = keras.layers.MultiHeadAttention(heads, width, use_bias=use_bias, **WIDE)
        theirs.build(x.shape, memory.shape)
        projections = {}
        for kind in ("kernel", "bias") if use_bias else ("kernel",):
            parts = [
                np.split(getattr(ours, f"{name}_{kind}").numpy(), count, axis=-1)
                for name, count in (
                    (("query", 1), ("key_value", 2)) if cross else (("query_key_value", 3),)
                )
            ]
            projections[kind] = [part for group in parts for part in group]
        for k, dense in enumerate(("query_dense", "key_dense", "value_dense")):
            dense = getattr(theirs, f"_{dense}")
            dense.kernel.assign(projections["kernel"][k].reshape(dim, heads, width))
            if use_bias:
                dense.bias.assign(projections["bias"][k].reshape(heads, width))
        theirs._output_dense.kernel.assign(ours.output_kernel.numpy().reshape(heads, width, dim))
        if use_bias:
            theirs._output_dense.bias.assign(ours.output_bias)
        allowed = np.broadcast_to(mask[:, None], (n, length, memory.shape[1]))
        expected = theirs(
            x, memory, attention_mask=allowed, use_causal_mask=causal, return_attention_scores=True
        )
        got = ours(x, memory if cross else None, mask, return_weights=True)
        for a, b in zip(got, expected, strict=True):
            compare(a, b, (seed, cross, causal))
    assert compare.count == 50


def test_blocks_are_those_of_pytorch():
    # TensorFlow's GELU has a constant of float32.
    compare = Comparisons(rel=1e-6, absolute=1e-6, whole=True)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, length, others, heads, width = rng.integers(1, 5, 5)
        dim, inner = heads * max(width, 2), rng.integers(1, 9)
        options = pick(rng, norm=("post", "pre"), activation=("relu", "gelu"))
        epsilon, cross = (1e-5, 1e-12)[seed % 2], seed % 4 > 1
        ours = Block(
            int(heads),
            int(inner),
            cross=cross,
            causal=cross,
            attention_bias=True,
            epsilon=epsilon,
            **options,
            **WIDE,
        )
        ours.build((None, None, dim))
        randomise(ours.weights, seed)
        kind = torch.nn.TransformerDecoderLayer if cross else torch.nn.TransformerEncoderLayer
        theirs = kind(
            dim,
            heads,
            inner,
            0.0,
            options["activation"],
            epsilon,
            batch_first=True,
            norm_first=options["norm"] == "pre",
            dtype=torch.float64,
        )
        copy_block(ours, theirs)
        x, memory = rng.normal(size=(n, length, dim)), rng.normal(size=(n, others, dim))
        their_x = torch.from_numpy(x).requires_grad_()
        if cross:
            mask = mask_of(rng, n, others)
            got = gradients(ours, x, memory, memory_mask=mask)
            hidden = torch.ones(length, length, dtype=bool).triu(1)
            padding = torch.from_numpy(~mask)
            y = theirs(their_x, torch.from_numpy(memory), hidden, memory_key_padding_mask=padding)
        else:
            mask = mask_of(rng, n, length)
            got = gradients(ours, x, padding_mask=mask)
            y = theirs(their_x, src_key_padding_mask=torch.from_numpy(~mask))
        torch.sin(y).sum().backward()
        compare(got[0], y.detach(), (seed, options, cross))
        compare(got[1], their_x.grad, (seed, options, cross))
    assert compare.count == 24


def test_norms_poolings_and_products_are_those_of_keras_and_pytorch():
    compare = comparisons()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(1, 6, rng.integers(2, 5)) + 1)
        x = rng.normal(rng.choice([0, 100]), 3, shape)
        options = pick(rng, epsilon=(1e-5, 0.1))
        pairs = [
            (LayerNorm(**options, **WIDE), keras.layers.LayerNormalization(**options, **WIDE)),
            (Projection(3, **WIDE), keras.layers.Dense(3, use_bias=False, **WIDE)),
        ]
        for layers in pairs:
            for layer in layers:
                layer.build(shape)
                randomise(layer.weights, seed)
            for a, b in zip(*(gradients(layer, x) for layer in layers), strict=True):
                compare(a, b, (seed, type(layers[0])))
        options |= pick(rng, momentum=(0.5, 0.99))
        norms = BatchNorm(**options, **WIDE), keras.layers.BatchNormalization(**options, **WIDE)
        for training in (True, True, False):
            results = [gradients(norm, x, training=training)[:2] for norm in norms]
            for a, b in zip(*results, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
            for a, b in zip(*(norm.non_trainable_weights for norm in norms), strict=True):
                compare(a, b, (seed, "statistics"))
        tokens = rng.integers(0, 7, shape[:2])
        ours = TokenEmbedding(7, 3, scale=1.0, **WIDE)
        theirs = keras.layers.Embedding(7, 3, **WIDE)
        for layer in (ours, theirs):
            layer.build(shape)
            randomise(layer.weights, seed)
        compare(ours(tokens), theirs(tokens), (seed, "embedding"))
        x, mask = rng.normal(size=(3, shape[0], 4)), mask_of(rng, 3, shape[0])
        pooled = keras.layers.GlobalAveragePooling1D(**WIDE)(x, mask=mask)
        compare(StepPooling("mean", **WIDE)(x, mask=mask), pooled, (seed, "mean"))
        pooled = keras.layers.GlobalMaxPooling1D(**WIDE)(x)
        compare(StepPooling("max", **WIDE)(x), pooled, (seed, "max"))
        size, alpha, beta = (1, 3, 5, 9)[seed % 4], rng.random(), rng.random()
        x = rng.normal(0, 3, (2, 6, 3, 4))
        expected = torch.nn.LocalResponseNorm(size, alpha, beta)(torch.from_numpy(x)).numpy()
        got = LocalResponseNorm(size, alpha, beta, **WIDE)(np.moveaxis(x, 1, 3))
        compare(np.moveaxis(got, 3, 1), expected, (seed, "response"))
        queries, keys, values = (rng.normal(size=(3, k, 4)) for k in (2, *shape[:1] * 2))
        mask = mask_of(rng, 3, shape[0])
        got, weights = LuongAttention(**WIDE)(queries, keys, values, mask)
        parts = (torch.from_numpy(a) for a in (queries, keys, values, mask[:, None]))
        attend = torch.nn.functional.scaled_dot_product_attention
        compare(got, attend(*parts, scale=1.0), (seed, "luong"))
        expected = keras.layers.Attention(**WIDE)(
            [queries, values, keys], mask=[None, mask], return_attention_scores=True
        )
        compare(got, expected[0], (seed, "luong"))
        compare(weights, expected[1], (seed, "luong"))
    assert compare.count > 200


def test_convolutions_are_those_of_pytorch():
    compare = comparisons()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        height, width, channels, filters = rng.integers(3, 8, 4)
        options = pick(rng, size=(1, 3, 5, 7), strides=(1, 2), use_bias=(True, False))
        keras.config.set_dtype_policy("float64")
        inputs = keras.Input((height, width, channels), dtype="float64")
        outputs = convolution(inputs, filters, name="x", **options)
        model = keras.Model(inputs, outputs)
        randomise(model.weights, seed)
        size = options["size"]
        theirs = torch.nn.Conv2d(
            channels,
            filters,
            size,
            options["strides"],
            size // 2,
            bias=options["use_bias"],
            dtype=torch.float64,
        )
        kernel, *bias = (torch.from_numpy(v.numpy()) for v in model.weights)
        theirs.weight.data = kernel.permute(3, 2, 0, 1)
        if bias:
            theirs.bias.data = bias[0]
        x = rng.normal(size=(2, height, width, channels))
        expected = theirs(torch.from_numpy(np.moveaxis(x, 3, 1))).detach().numpy()
        compare(np.moveaxis(model(x), 3, 1), expected, (seed, options))
    assert compare.count == 20
