import importlib

import pytest
from named_inputs import image, pair, text

from modelzoo import config, configs
from modelzoo.fields.duration import to_steps
from modelzoo.fields.input_specs import ArraySpec


def resnet(blocks, width, channels):
    """Trainable parameters of a ResNet with so many blocks a stage and ten classes."""
    total = 9 * channels * width + 2 * width
    total += 2 * blocks * (9 * width * width + 2 * width)
    for wide in (2 * width, 4 * width):
        total += 9 * (wide // 2) * wide + 2 * wide + (2 * blocks - 1) * (9 * wide * wide + 2 * wide)
    return total + 4 * width * 10 + 10


def lstm(inputs, *units, directions=1):
    """Parameters of layers of these widths in each direction, of four gates each."""
    total = 0
    for width in units:
        total += directions * 4 * width * (inputs + width + 1)
        inputs = directions * width
    return total


def transformer(vocab_size, hidden_dim, intermediate_dim, encoder, decoder, last_norms=2):
    """Parameters of a Transformer with shared embeddings and these numbers of blocks.

    Pre-norm stacks have a norm after the last block.
    """
    dim = hidden_dim
    ffn, norm = 2 * dim * intermediate_dim + intermediate_dim + dim, 2 * dim
    total = encoder * (4 * dim * dim + ffn + 2 * norm)
    total += decoder * (8 * dim * dim + ffn + 3 * norm)
    return total + last_norms * norm + vocab_size * dim


# The model's inputs (or the shape of an image or a series) and its number of parameters: sums of
# kernels, biases, gains and offsets.
SHIPPED = {
    "answers_transformer": (pair(16_001, lengths=(384, 384)), transformer(16_001, 256, 1024, 4, 4)),
    "cifar10_cnn": ((32, 32, 3), 1_792 + 73_856 + (36 * 128 + 1) * 1000 + 10_010),
    "cifar10_recurrent_cnn": (
        (32, 32, 3),
        (75 + 4 * 2 * 9 * 96) * 96 + (1 + 4 * 4) * 2 * 96 + 970,
    ),
    "cifar10_resnet20": ((32, 32, 3), resnet(3, 16, 3)),
    "cifar10_wide_resnet": ((32, 32, 3), 2_748_890),
    "cldr_dates_transformer": (pair(160, lengths=(40, 40)), transformer(160, 128, 256, 2, 2)),
    "cldr_language_lstm": (291, 291 * 64 + lstm(64, 256, directions=2) + 513 * 10),
    "digits_cnn": ((8, 8, 1), 320 + 18_496 + (4 * 64 + 1) * 128 + 1_290),
    "digits_resnet": ((8, 8, 1), resnet(1, 32, 1)),
    "digits_rows_lstm": ((8, 8, 1), lstm(8, 128, 128) + 1_290),
    "fashion_mnist_cnn": ((28, 28, 1), 320 + 18_496 + (25 * 64 + 1) * 128 + 1_290),
    "fashion_mnist_cnn3": ((28, 28, 1), 320 + 18_496 + 36_928 + (9 * 64 + 1) * 64 + 650),
    "fashion_mnist_cnn6": (
        (28, 28, 1),
        9 * (24 + 24 * 24 + 24 * 40 + 40 * 40 + 40 * 64 + 64 * 64) + 4 * (24 + 40 + 64) + 650,
    ),
    "fashion_mnist_rows_lstm": ((28, 28, 1), lstm(28, 128, 128) + 1_290),
    "features_lstm": ((10, 1), lstm(1, 8, 8) + 9 * 10),
    # Published for 1,000 classes: here are ten.
    "imagenet_resnet50": ((224, 224, 3), 25_557_032 - 990 * 2_049),
    "imdb_encoder": (
        20_000,
        20_000 * 64 + 2 * (4 * 64 * 64 + 2 * 64 * 256 + 256 + 64 + 4 * 64) + 2 * 64 + 129 * 10,
    ),
    "imdb_lstm": (30_000, 30_000 * 128 + lstm(128, 128, directions=2) + 513 * 10),
    # Both encoders, the matrices of attention, of the first states and of the output; the decoder.
    "multi30k_lstm": (
        pair(10_001, lengths=(48, 48)),
        10_001 * 128
        + lstm(128, 192, directions=2)
        + 384 * 192
        + 2 * (385 * 192)
        + lstm(128, 192)
        + (384 + 192) * 128,
    ),
    "multi30k_transformer": (
        pair(10_001, lengths=(48, 48)),
        transformer(10_001, 128, 256, 4, 4, last_norms=0),
    ),
    "reviews_lstm": (20_000, 20_000 * 100 + lstm(100, 256, 256) + 257 * 10),
    "splice_lstm": (10, 160 + lstm(16, 48, directions=2) + (96 + 2) * 96 + 97 * 10),
    "sst2_lstm": (15_000, 15_000 * 128 + lstm(128, 128, directions=2) + 513 * 10),
    "summary_transformer": (pair(16_001, lengths=(512, 512)), transformer(16_001, 256, 1024, 4, 4)),
}


def test_all_are_listed_here():
    assert configs.names() == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_docstring_says_what_it_is_and_the_command(name):
    first, blank, command, *_ = importlib.import_module(f"modelzoo.configs.{name}").__doc__.split(
        "\n"
    )
    assert first.endswith(".")
    assert blank == ""
    assert command.strip() == f"modelzoo train --config={name} --workdir=runs/{name}"


@pytest.mark.parametrize("name", SHIPPED)
def test_parts_fit_each_other(name):
    experiment = configs.get(name)
    given, parameters = SHIPPED[name]
    outputs = 10
    if isinstance(given, dict):
        inputs, outputs = given, given["decoder/tokens"].vocab_size
    elif isinstance(given, int):
        inputs = text(given)
    else:
        inputs = image(*given) if len(given) == 3 else {"series": ArraySpec("series", given)}
    model = experiment.model.build(inputs, outputs)
    assert sum(v.shape.num_elements() for v in model.trainable_variables) == parameters
    batch_size, examples = experiment.train.batch_size or 32, 1257 if "digits" in name else 45_000

    def steps(length):
        return to_steps(length, lambda number: number / batch_size, examples)

    experiment.optimizer.schedule.bind(steps(experiment.train.steps), steps)
    assert config.from_dict(config.to_dict(experiment)) == experiment


def test_digits_cnn_has_no_dropout():
    model = configs.get("digits_cnn").model
    assert (model.conv_dropout, model.dropout) == (0.0, 0.0)
