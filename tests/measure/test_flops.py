import keras
import pytest
import tensorflow as tf
from keras import layers
from named_inputs import image, pair

from modelzoo.measure.flops import count_forward_flops
from modelzoo.models.cnn import CNN
from modelzoo.models.resnet import ResNet
from modelzoo.models.transformer import Transformer


def model_of(layer, *shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def test_cnn_by_hand():
    model = CNN((4,), dense=(5,)).build(image(8, 6, 2), 3)
    # 6x4 pixels after the convolution, 3x2 after the pooling.
    assert count_forward_flops(model) == 2 * (6 * 4 * 4 * 9 * 2 + 3 * 2 * 4 * 5 + 5 * 3)


def test_resnet20_is_the_papers_40_million_multiply_adds():
    model = ResNet(20).build(image(32, 32, 3), 10)
    stem = 32 * 32 * 9 * 3 * 16
    first = 6 * 32 * 32 * 9 * 16 * 16
    # Halving the image and doubling the width keeps a convolution's cost; a stage's first one
    # reads half the channels.
    others = 2 * (5.5 * 16 * 16 * 9 * 32 * 32)
    assert count_forward_flops(model) == 2 * (stem + first + others + 64 * 10)


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (layers.Conv2D(6, 3, groups=2), (5, 5, 4), 3 * 3 * 6 * 9 * 2),
        (layers.Conv2D(6, 3, strides=2, padding="same"), (5, 5, 4), 3 * 3 * 6 * 9 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 4), 3 * 3 * 8 * 9),
        (layers.Dense(7), (5, 4), 5 * 4 * 7),
        (layers.EinsumDense("...d,de->...e", output_shape=(7,)), (5, 4), 5 * 4 * 7),
        (layers.BatchNormalization(), (5, 4), 0),
    ],
)
def test_layers_by_hand(layer, shape, multiply_adds):
    assert count_forward_flops(model_of(layer, *shape)) == 2 * multiply_adds


def test_attention_by_hand():
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 3)(inputs, inputs))
    # Four projections of 8 to 6 channels or back; scores and their use: 2 heads, 5x5, 3 channels.
    assert count_forward_flops(model) == 2 * (4 * 5 * 8 * 6 + 2 * 2 * 5 * 5 * 3)


class Products(layers.Layer):
    """Transposed and broadcast products inside a nested function, called twice."""

    @tf.function
    def products(self, x):
        square = tf.matmul(x, x, transpose_a=True)  # [1, 3, 3] out of 4 products each
        return square + tf.einsum("...ab,ac->...bc", x, x[0])

    def call(self, x):
        return self.products(x) + self.products(2.0 * x)


def test_nested_functions_count_each_time_they_are_called():
    assert count_forward_flops(model_of(Products(), 4, 3)) == 2 * 2 * (3 * 3 * 4 + 3 * 3 * 4)


def test_sequential_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    assert count_forward_flops(model) == 2 * (4 * 3 + 3 * 2)


def test_a_transformer_counts_encoder_and_decoder():
    dim, ffn, vocabulary = 6, 10, 9
    sizes = {"hidden_dim": dim, "intermediate_dim": ffn, "num_heads": 2}
    config = Transformer(num_encoder_layers=2, num_decoder_layers=3, **sizes)
    model = config.build(pair(vocabulary), vocabulary)
    # For one token: four matrices per attention, and a weight times each key and value.
    attention = 4 * dim * dim + 2 * dim
    blocks = 2 * (attention + 2 * dim * ffn) + 3 * (2 * attention + 2 * dim * ffn)
    assert count_forward_flops(model) == 2 * (blocks + dim * vocabulary)


def test_several_named_inputs():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b")}
    outputs = layers.Dense(2)(inputs["a"]), layers.Dense(2)(inputs["b"])
    assert count_forward_flops(keras.Model(inputs, outputs)) == 2 * (4 * 2 + 3 * 2)
