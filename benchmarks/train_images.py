"""Measure the images per second of training ResNet-20 on CIFAR-10: modelzoo and Keras.

    python benchmarks/train_images.py --data_dir=TFDS_DIR [--precision=bfloat16] [--record]

Compares modelzoo with a custom training loop around Keras's model and optimizer, and with Keras's
`fit`. All read the same prepared TFDS files, crop and flip, in batches of 128, and train with SGD
and momentum. They run in turns in one process. Prints the medians over the rounds and their ratios
as JSON.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import interleaved
import keras
import tensorflow as tf
import tensorflow_datasets as tfds

from modelzoo import configs
from modelzoo.distribution.strategy import DistributeConfig, make_strategy
from modelzoo.training.progress import Progress
from modelzoo.training.trainer import Trainer

BATCH = 128
LOOP = 4  # Steps of modelzoo per call from Python.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def ours(data_dir: str, precision: str):
    """modelzoo; `run` takes a multiple of LOOP steps and returns the seconds it waited for data."""
    experiment = configs.get(
        "cifar10_resnet20",
        {
            "data.source.data_dir": data_dir,
            "data.inputs.augment.erasing": 0.0,  # As in the other pipelines.
            "train.precision": precision,
            "train.batch_size": BATCH,
            "train.steps": "100 epochs",
            "train.log_every": LOOP,
            "train.steps_per_loop": LOOP,
        },
    )
    strategy = make_strategy(DistributeConfig(strategy="one_device", devices="cpu:1"))
    trainer = Trainer(experiment, Path(tempfile.mkdtemp()), strategy, Progress())
    trainer.open_data()
    trainer.build()
    trainer.restore()
    iterator = trainer.stream()

    def run(steps: int) -> float:
        waited = 0.0
        for _ in range(steps // LOOP):
            start = time.perf_counter()
            batch = next(iterator)
            waited += time.perf_counter() - start
            trainer.train_step(batch, LOOP)
        return waited

    return run


def keras_resnet20() -> keras.Model:
    """ResNet-20 of Keras layers, as most tutorials write it."""
    layers = keras.layers

    def convolution(x, filters, strides):
        x = layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input([32, 32, 3])
    x = layers.ReLU()(convolution(inputs, 16, 1))
    for filters in (16, 32, 64):
        for block in range(3):
            strides = 2 if filters > 16 and block == 0 else 1
            y = convolution(layers.ReLU()(convolution(x, filters, strides)), filters, 1)
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides, use_bias=False)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, dtype="float32")(x))


def keras_data(data_dir: str) -> tf.data.Dataset:
    """The training images as a `tf.data` pipeline, as most tutorials write it."""

    def augment(image, label):
        image = tf.pad(tf.cast(image, tf.float32) / 127.5 - 1.0, [[4, 4], [4, 4], [0, 0]])
        return tf.image.random_flip_left_right(tf.image.random_crop(image, [32, 32, 3])), label

    data = tfds.load("cifar10", split="train", data_dir=data_dir, as_supervised=True)
    data = data.cache().shuffle(50_000).repeat().map(augment, tf.data.AUTOTUNE)
    return data.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def keras_loop(data_dir: str, precision: str):
    """A custom training loop around Keras's model and optimizer."""
    keras.config.set_dtype_policy(POLICIES[precision])
    model = keras_resnet20()
    keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    iterator = iter(keras_data(data_dir))

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_fn(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def run(steps: int) -> float:
        for _ in range(steps):
            step(*next(iterator)).numpy()
        return 0.0

    return run


def keras_fit(data_dir: str, precision: str):
    """Keras's `compile` and `fit`."""
    keras.config.set_dtype_policy(POLICIES[precision])
    model = keras_resnet20()
    keras.config.set_dtype_policy("float32")
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,  # Slower on a CPU.
    )
    data = keras_data(data_dir)

    def run(steps: int) -> float:
        model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0)
        return 0.0

    return run


def main() -> None:
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data_dir", required=True, help="folder of prepared TFDS data sets")
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help=f"per round, a multiple of {LOOP}")
    parser.add_argument("--record", action="store_true", help="write the rates to results/")
    args = parser.parse_args()
    contestants = {"modelzoo": ours, "plain Keras loop": keras_loop, "Keras fit": keras_fit}
    runs = {name: make(args.data_dir, args.precision) for name, make in contestants.items()}
    for run in runs.values():
        run(2 * LOOP)  # Traces the functions, and fills caches and buffers.
    rates = {name: [] for name in runs}
    waits = []
    for _ in range(args.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            waited = run(args.steps)
            elapsed = time.perf_counter() - start
            rates[name].append(args.steps * BATCH / elapsed)
            if name == "modelzoo":
                waits.append(waited / elapsed)
    medians = interleaved.compute_medians(rates)
    interleaved.report(
        f"speed_resnet20_{args.precision}",
        ("tensorflow", "keras"),
        {
            "precision": args.precision,
            "images_per_second": medians,
            "ratio": interleaved.compute_ratios(medians),
            "data_wait": round(statistics.median(waits), 4),
        },
        args.record,
    )


if __name__ == "__main__":
    main()
