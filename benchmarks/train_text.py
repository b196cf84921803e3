"""Measure the tokens per second of training an LSTM: modelzoo, PyTorch, Keras 3 and tf_keras.

    pip install torch==2.13.0 tf_keras
    python benchmarks/train_text.py [--precision=bfloat16] [--record]

All train the same model, embeddings of 128, two LSTM layers of 256 and a dense layer on the last
state, with Adam on batches of 64 texts of 200 random tokens. Each has its own process with as many
threads as the machine has cores; the processes run in turns. Prints the medians over the rounds and
their ratios as JSON.
"""

import argparse
import importlib
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import interleaved
import numpy as np

BATCH, LENGTH, VOCABULARY, EMBEDDING, UNITS = 64, 200, 10_000, 128, 256
LOOP = 4  # Steps of modelzoo per call from Python.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def batches(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random tokens `[count, batch, length]`, none of them padding, and labels `[count, batch]`."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (count, BATCH, LENGTH))
    return tokens, rng.integers(0, 2, (count, BATCH))


def ours(precision: str) -> Callable[[int], None]:
    """modelzoo's train step; `run` takes a multiple of LOOP steps."""
    import tensorflow as tf

    from modelzoo.data import ClassLabel, Text, Words
    from modelzoo.data.bound import BoundData
    from modelzoo.data.inputs.text import BoundText
    from modelzoo.data.targets.class_label import BoundClassLabel
    from modelzoo.distribution.strategy import DistributeConfig, make_strategy
    from modelzoo.models import LSTM
    from modelzoo.optimizers import Adam
    from modelzoo.tasks import Classification
    from modelzoo.training.config import TrainConfig
    from modelzoo.training.precision import dtype_policy
    from modelzoo.training.state import TrainState
    from modelzoo.training.step import TrainStep

    inputs = Text(tokenizer=Words(size=VOCABULARY), lengths=(LENGTH,))
    words = " ".join(f"w{number}" for number in range(VOCABULARY))
    text = BoundText(inputs, inputs.tokenizer.train([words]), end=False)
    data = BoundData({"": text}, BoundClassLabel(ClassLabel(), ("0", "1")))
    task = Classification().bind(data)
    strategy = make_strategy(DistributeConfig(strategy="one_device", devices="cpu:1"))
    with strategy.scope(), dtype_policy(precision):
        model = LSTM(embedding_dim=EMBEDDING, units=(UNITS, UNITS))
        state = TrainState(task.build_model(model), Adam(), ema=False)
    settings = TrainConfig(precision=precision, batch_size=BATCH, steps_per_loop=LOOP)
    rate = lambda step: tf.constant(0.001)  # noqa: E731
    step = TrainStep(task.objective, state, settings, rate, strategy, seed=0)
    tokens, labels = batches(LOOP)
    batch = {
        "tokens": tf.constant(tokens, tf.int32),
        "padding_mask": tf.ones(tokens.shape, tf.bool),
        "label": tf.constant(labels),
        "weight": tf.ones((LOOP, BATCH)),
    }

    def run(steps: int) -> None:
        for _ in range(steps // LOOP):
            step(batch, LOOP)

    return run


def pytorch(precision: str) -> Callable[[int], None]:
    """PyTorch in eager mode, with autocast for bfloat16."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING)
            self.lstm = torch.nn.LSTM(EMBEDDING, UNITS, num_layers=2, batch_first=True)
            self.logits = torch.nn.Linear(UNITS, 2)

        def forward(self, tokens):
            return self.logits(self.lstm(self.embedding(tokens))[0][:, -1])

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    tokens, labels = map(torch.from_numpy, batches(LOOP))

    def run(steps: int) -> None:
        for k in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(tokens[k % LOOP])
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[k % LOOP])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def keras_loop(package: str, precision: str) -> Callable[[int], None]:
    """A custom training loop around the model and optimizer of `keras` or `tf_keras`."""
    import tensorflow as tf

    keras = importlib.import_module(package)
    policies = keras.config if package == "keras" else keras.mixed_precision
    getattr(policies, "set_dtype_policy" if package == "keras" else "set_global_policy")(
        POLICIES[precision]
    )
    inputs = keras.Input([LENGTH], dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, EMBEDDING)(inputs)
    x = keras.layers.LSTM(UNITS, return_sequences=True)(x)
    x = keras.layers.LSTM(UNITS)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(x))
    optimizer = keras.optimizers.Adam(0.001)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tokens, labels = map(tf.constant, batches(LOOP))

    @tf.function
    def step(tokens, labels):
        with tf.GradientTape() as tape:
            loss = loss_fn(labels, model(tokens, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def run(steps: int) -> None:
        for k in range(steps):
            step(tokens[k % LOOP], labels[k % LOOP]).numpy()

    return run


CONTESTANTS = {
    "modelzoo": ours,
    "PyTorch": pytorch,
    "Keras 3": lambda precision: keras_loop("keras", precision),
    "tf_keras": lambda precision: keras_loop("tf_keras", precision),
}


def main() -> None:
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24, help=f"per round, a multiple of {LOOP}")
    parser.add_argument("--record", action="store_true", help="write the rates to results/")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run = CONTESTANTS[args.worker](args.precision)
        return interleaved.answer_requests(
            lambda steps: interleaved.measure_seconds(lambda: run(steps))
        )
    with interleaved.start_workers(list(CONTESTANTS), f"--precision={args.precision}") as workers:
        for worker in workers:
            worker.ask(2 * LOOP)  # Traces the functions, and fills caches.
        rates = {name: [] for name in CONTESTANTS}
        for _ in range(args.rounds):
            for worker in workers:
                tokens = args.steps * BATCH * LENGTH
                rates[worker.name].append(tokens / worker.ask(args.steps))
    medians = interleaved.compute_medians(rates)
    interleaved.report(
        f"speed_lstm_{args.precision}",
        ("tensorflow", "keras", "torch", "tf_keras"),
        {
            "precision": args.precision,
            "tokens_per_second": medians,
            "ratio": interleaved.compute_ratios(medians),
        },
        args.record,
    )


if __name__ == "__main__":
    main()
