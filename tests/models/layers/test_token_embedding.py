import keras
import numpy as np
import tensorflow as tf
import torch

from modelzoo.models.layers.token_embedding import TokenEmbedding

TOKENS = np.array([[3, 0, 3], [6, 1, 2]])


def test_vectors_and_logits_are_of_one_matrix():
    layer = TokenEmbedding(7, 4)
    vectors = layer(TOKENS)
    matrix = layer.embeddings.numpy()
    np.testing.assert_allclose(vectors, 2 * matrix[TOKENS], rtol=0, atol=1e-6)
    logits = layer(vectors, reverse=True)
    np.testing.assert_allclose(logits, 2 * matrix[TOKENS] @ matrix.T, rtol=0, atol=1e-5)
    assert len(layer.weights) == 1


def test_gradients_are_torchs():
    layer = TokenEmbedding(7, 4)
    layer.build(())
    matrix = torch.from_numpy(layer.embeddings.numpy()).requires_grad_()
    logits = 2 * torch.nn.functional.embedding(torch.from_numpy(TOKENS), matrix) @ matrix.T
    torch.sin(logits).sum().backward()
    for jit in (False, True):

        def run(tokens):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.sin(layer(layer(tokens), reverse=True)))
            return tf.convert_to_tensor(tape.gradient(loss, layer.embeddings.value))

        gradient = tf.function(run, jit_compile=jit)(tf.constant(TOKENS))
        np.testing.assert_allclose(gradient, matrix.grad, rtol=0, atol=1e-5)


def test_start_has_vectors_of_variance_one():
    vectors = TokenEmbedding(400, 64)(np.arange(400)[None]).numpy()
    assert 0.97 < vectors.std() < 1.03
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = TokenEmbedding(7, 4)
    assert layer(TOKENS).dtype == "bfloat16"
    assert layer.embeddings.dtype == "float32"
