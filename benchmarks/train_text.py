"""Tokens a second of training an LSTM: ours, PyTorch, Keras 3 and tf_keras.

    pip install torch==2.13.0 tf_keras
    python benchmarks/train_text.py [--precision=bfloat16] [--record]

All train the same net, an embedding of 128, two layers of 256 and a dense layer on the last state,
with Adam on batches of 64 texts of 200 random tokens. Each has a process of its own, with all of
the machine's threads; they run in turns. Medians over the rounds and ratios come as JSON.
"""

import argparse
import importlib
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import turns

BATCH, LENGTH, VOCABULARY, EMBEDDING, UNITS = 64, 200, 10_000, 128, 256
LOOP = 4  # Steps for each call of ours from Python.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def batches(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens `[count, batch, length]` without padding, and labels `[count, batch]`."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (count, BATCH, LENGTH))
    return tokens, rng.integers(0, 2, (count, BATCH))


def ours(precision: str) -> Callable[[int], None]:
    """The product's own step; a function of a number of steps, a multiple of LOOP."""
    import tensorflow as tf

    from modelzoo.data.spec import TextSpec
    from modelzoo.data.tokenizers import Words
    from modelzoo.distribution.strategy import DistributeConfig, make_strategy
    from modelzoo.models.lstm import LSTM
    from modelzoo.optimizers import Adam
    from modelzoo.tasks.text import TextClassification
    from modelzoo.training.config import TrainConfig
    from modelzoo.training.precision import dtype_policy
    from modelzoo.training.state import TrainState
    from modelzoo.training.step import TrainStep

    words = [" ".join(f"w{k}" for k in range(VOCABULARY))]
    tokenizer = Words(size=VOCABULARY).train(words)
    spec = TextSpec(class_names=("0", "1"), lengths=(LENGTH,), tokenizer=tokenizer)
    task = TextClassification().bind(spec)
    strategy = make_strategy(DistributeConfig(strategy="one_device", devices="cpu:1"))
    with strategy.scope(), dtype_policy(precision):
        config = LSTM(embedding_dim=EMBEDDING, units=(UNITS, UNITS))
        state = TrainState(task.build_model(config), Adam(), ema=False)
    settings = TrainConfig(precision=precision, batch_size=BATCH, steps_per_loop=LOOP)
    step = TrainStep(task, state, settings, lambda step: tf.constant(0.001), strategy, seed=0)
    tokens, labels = batches(LOOP)
    batch = {
        "tokens": tf.constant(tokens, tf.int32),
        "label": tf.constant(labels),
        "weight": tf.ones((LOOP, BATCH)),
    }

    def run(steps: int) -> None:
        for _ in range(steps // LOOP):
            step(batch, LOOP)

    return run


def pytorch(precision: str) -> Callable[[int], None]:
    """Eager PyTorch, with autocast for bfloat16."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(VOCABULARY, EMBEDDING)
            self.lstm = torch.nn.LSTM(EMBEDDING, UNITS, num_layers=2, batch_first=True)
            self.logits = torch.nn.Linear(UNITS, 2)

        def forward(self, tokens):
            return self.logits(self.lstm(self.embedding(tokens))[0][:, -1])

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.001)
    tokens, labels = map(torch.from_numpy, batches(LOOP))

    def run(steps: int) -> None:
        for k in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = net(tokens[k % LOOP])
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[k % LOOP])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def keras_loop(package: str, precision: str) -> Callable[[int], None]:
    """Layers and optimizer of `keras` or `tf_keras` in a custom training loop of a few lines."""
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
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tokens, labels = map(tf.constant, batches(LOOP))

    @tf.function
    def step(tokens, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(tokens, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    def run(steps: int) -> None:
        for k in range(steps):
            step(tokens[k % LOOP], labels[k % LOOP]).numpy()

    return run


KINDS = {
    "modelzoo": ours,
    "PyTorch": pytorch,
    "Keras 3": lambda precision: keras_loop("keras", precision),
    "tf_keras": lambda precision: keras_loop("tf_keras", precision),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24, help=f"a multiple of {LOOP}")
    parser.add_argument("--record", action="store_true", help="keep the figures in results/")
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run = KINDS[args.worker](args.precision)
        return turns.answer(lambda steps: turns.seconds(lambda: run(steps)))
    with turns.workers(list(KINDS), f"--precision={args.precision}") as workers:
        for worker in workers:
            worker.ask(2 * LOOP)  # Traces, fills caches.
        rates = {name: [] for name in KINDS}
        for _ in range(args.rounds):
            for worker in workers:
                tokens = args.steps * BATCH * LENGTH
                rates[worker.kind].append(tokens / worker.ask(args.steps))
    medians = turns.medians(rates)
    turns.report(
        f"speed_lstm_{args.precision}",
        ("tensorflow", "keras", "torch", "tf_keras"),
        {
            "precision": args.precision,
            "tokens_per_second": medians,
            "ratio": turns.ratios(medians),
        },
        args.record,
    )


if __name__ == "__main__":
    main()
