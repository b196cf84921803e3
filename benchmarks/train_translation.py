"""Measure the target tokens per second of training a Transformer: modelzoo, PyTorch and Keras 3.

    pip install torch==2.13.0
    python benchmarks/train_translation.py --data=multi30k [--precision=bfloat16] [--record]

`--data` is a folder with `train.en` and `train.de`, one sentence per line. All train the same
model: 4 + 4 layers of 256, feed-forward networks of 1,024, 4 heads, and one matrix of 10,000
subwords for the embeddings of both languages and the logits, with the dropout of Vaswani et al. at
a rate of 0.1, label smoothing 0.1 and Adam. All use the same padded batches, which modelzoo makes:
sentences of similar length under a budget of tokens. Each has its own process with as many threads
as the machine has cores; the processes run in turns over all batches. Prints the medians over the
rounds, in target tokens without padding, and their ratios as JSON.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import interleaved
import numpy as np

VOCABULARY, HIDDEN, INTERMEDIATE, HEADS, LAYERS = 10_000, 256, 1024, 4, 4
DROPOUT, SMOOTHING, RATE = 0.1, 0.1, 0.0003
LENGTHS, TOKENS = (12, 16, 20, 24, 32, 48), 4096
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

Batch = dict[str, np.ndarray]
Run = Callable[[], None]


def dataset(folder: str):
    """The sentence pairs as a data set of modelzoo."""
    from modelzoo.data import Dataset, ParallelText, Subwords, Text, TextTarget

    return Dataset(
        source=ParallelText(f"{folder}/{{split}}.en", f"{folder}/{{split}}.de"),
        inputs=Text(tokenizer=Subwords(size=VOCABULARY, normalize="nfkc"), lengths=LENGTHS),
        target=TextTarget(),
    )


def write_batches(folder: str, number: int, target: Path) -> None:
    """Writes modelzoo's first batches, whose padding is 0, and the size of the vocabulary."""
    from modelzoo.data.batches import TrainingBatches, batch_sizes

    split = dataset(folder).open().split("train")
    sizes = batch_sizes(split, tokens_per_batch=TOKENS)
    batches, _ = TrainingBatches(split, 0, sizes).take(0, number)
    arrays = {"vocabulary": np.array(split.bound.target.ids.size)}
    for k, batch in enumerate(batches):
        tensors = split.bound.features(split.gather(batch.rows, batch.bucket), training=False)
        names = {"source": "tokens", "target": "decoder/tokens", "label": "label"}
        arrays |= {f"{part}{k}": tensors[name].numpy() for part, name in names.items()}
    np.savez(target, **arrays)


def load_batches(path: str) -> tuple[list[Batch], int]:
    """Batches of int32 `[n, length]` each, and the size of the vocabulary with the end token."""
    with np.load(path) as file:
        number = sum(name.startswith("label") for name in file)
        parts = ("source", "target", "label")
        batches = [{part: file[f"{part}{k}"] for part in parts} for k in range(number)]
        return batches, int(file["vocabulary"])


def ours(batches: list[Batch], vocabulary: int, precision: str) -> Run:
    """modelzoo's train step."""
    import tensorflow as tf

    from modelzoo.data import Text, TextTarget, Words
    from modelzoo.data.bound import BoundData
    from modelzoo.data.inputs.text import BoundText
    from modelzoo.data.targets.text_target import BoundTextTarget
    from modelzoo.distribution.strategy import DistributeConfig, make_strategy
    from modelzoo.models import Transformer
    from modelzoo.optimizers import Adam
    from modelzoo.tasks import TextToText
    from modelzoo.training.config import TrainConfig
    from modelzoo.training.precision import dtype_policy
    from modelzoo.training.state import TrainState
    from modelzoo.training.step import TrainStep

    # The step reads ids only, so any tokenizer of this size will do.
    inputs = Text(tokenizer=Words(size=vocabulary - 1), lengths=LENGTHS)
    tokenizer = inputs.tokenizer.train([" ".join(f"w{number}" for number in range(vocabulary))])
    target = BoundTextTarget(TextTarget(), tokenizer, LENGTHS, shared=True)
    data = BoundData({"": BoundText(inputs, tokenizer, end=True)}, target)
    task = TextToText(label_smoothing=SMOOTHING).bind(data)
    strategy = make_strategy(DistributeConfig(strategy="one_device", devices="cpu:1"))
    model = Transformer.small(dropout=DROPOUT)
    assert model == Transformer(
        num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS,
        hidden_dim=HIDDEN,
        intermediate_dim=INTERMEDIATE,
        num_heads=HEADS,
        dropout=DROPOUT,
    )
    with strategy.scope(), dtype_policy(precision):
        state = TrainState(task.build_model(model), Adam(), ema=False)
    settings = TrainConfig(precision=precision, batch_size=TOKENS, steps_per_loop=1)
    rate = lambda step: tf.constant(RATE)  # noqa: E731
    step = TrainStep(task.objective, state, settings, rate, strategy, seed=0)
    fed = [
        {
            "tokens": tf.constant(batch["source"][None]),
            "padding_mask": tf.constant(batch["source"][None] != 0),
            "decoder/tokens": tf.constant(batch["target"][None]),
            "decoder/padding_mask": tf.constant(batch["label"][None] != 0),
            "label": tf.constant(batch["label"][None]),
            "label_mask": tf.constant(batch["label"][None] != 0),
            "weight": tf.ones((1, len(batch["label"]))),
        }
        for batch in batches
    ]

    def run() -> None:
        for batch in fed:
            step(batch, 1)

    return run


def sinusoids() -> np.ndarray:
    """Sinusoidal vectors of all positions of the longest batch."""
    angles = np.arange(LENGTHS[-1])[:, None] / 10000 ** (np.arange(0, HIDDEN, 2) / HIDDEN)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, HIDDEN).astype("float32")


def pytorch(batches: list[Batch], vocabulary: int, precision: str, compiled: bool = False) -> Run:
    """`torch.nn.Transformer` with the fused Adam, and autocast for bfloat16."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, HIDDEN)
            torch.nn.init.normal_(self.embedding.weight, std=HIDDEN**-0.5)
            self.register_buffer("positions", torch.from_numpy(sinusoids()))
            self.dropout = torch.nn.Dropout(DROPOUT)
            self.transformer = torch.nn.Transformer(
                HIDDEN, HEADS, LAYERS, LAYERS, INTERMEDIATE, DROPOUT, batch_first=True
            )
            for layer in [*self.transformer.encoder.layers, *self.transformer.decoder.layers]:
                layer.dropout.p = 0.0  # The dropout inside the feed-forward network.
                layer.self_attn.dropout = 0.0
            for layer in self.transformer.decoder.layers:
                layer.multihead_attn.dropout = 0.0

        def embed(self, tokens):
            x = self.embedding(tokens) * HIDDEN**0.5 + self.positions[: tokens.shape[1]]
            return self.dropout(x)

        def forward(self, source, target):
            length = target.shape[1]
            causal_mask = torch.ones(length, length, dtype=torch.bool).triu(1)
            x = self.transformer(
                self.embed(source),
                self.embed(target),
                tgt_mask=causal_mask,
                src_key_padding_mask=source == 0,
                memory_key_padding_mask=source == 0,
                tgt_is_causal=True,
            )
            return torch.nn.functional.linear(x, self.embedding.weight)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    if compiled:
        model = torch.compile(model)
    fed = [[torch.from_numpy(b[part]).long() for part in b] for b in batches]

    def run() -> None:
        for source, target, label in fed:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                logits = model(source, target)
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(),
                label.flatten(),
                ignore_index=0,
                label_smoothing=SMOOTHING,
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def keras_fit(
    batches: list[Batch], vocabulary: int, precision: str, jit_compile: bool | str = "auto"
) -> Run:
    """The layers and `fit` of Keras 3, with label smoothing over sparse labels."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    keras.config.set_dtype_policy(POLICIES[precision])
    table = sinusoids()

    class Embed(layers.Layer):
        def __init__(self, embedding):
            super().__init__()
            self.embedding, self.dropout = embedding, layers.Dropout(DROPOUT)

        def call(self, tokens):
            x = self.embedding(tokens) * HIDDEN**0.5
            positions = ops.convert_to_tensor(table)[: ops.shape(tokens)[1]]
            return self.dropout(x + ops.cast(positions, x.dtype))

    def residual(x, y):
        return layers.LayerNormalization()(x + layers.Dropout(DROPOUT)(y))

    def attention(x, other, mask=None, causal=False):
        layer = layers.MultiHeadAttention(HEADS, HIDDEN // HEADS)
        return residual(x, layer(x, other, attention_mask=mask, use_causal_mask=causal))

    def feed_forward(x):
        return residual(x, layers.Dense(HIDDEN)(layers.Dense(INTERMEDIATE, activation="relu")(x)))

    source, target = (keras.Input([None], dtype="int32") for _ in range(2))
    embedding = layers.ReversibleEmbedding(vocabulary, HIDDEN)
    embed, mask = Embed(embedding), ops.not_equal(source, 0)[:, None]
    x = embed(source)
    for _ in range(LAYERS):
        x = feed_forward(attention(x, x, mask))
    y = embed(target)
    for _ in range(LAYERS):
        y = feed_forward(attention(attention(y, y, causal=True), x, mask))
    model = keras.Model([source, target], embedding(y, reverse=True))

    def loss_fn(label, logits):
        log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        of_labels = tf.gather(log_probs, tf.cast(label, tf.int32), batch_dims=2)
        return -(1 - SMOOTHING) * of_labels - SMOOTHING * tf.reduce_mean(log_probs, axis=-1)

    model.compile(keras.optimizers.Adam(RATE), loss_fn, jit_compile=jit_compile)

    def stream():
        for batch in batches:
            weight = (batch["label"] != 0).astype("float32")
            yield (batch["source"], batch["target"]), batch["label"], weight

    tokens = tf.TensorSpec([None, None], tf.int32)
    signature = ((tokens, tokens), tokens, tf.TensorSpec([None, None], tf.float32))
    cached = tf.data.Dataset.from_generator(stream, output_signature=signature).cache()
    cached = cached.apply(tf.data.experimental.assert_cardinality(len(batches)))

    def run() -> None:
        model.fit(cached, verbose=0)

    return run


CONTESTANTS = {
    "modelzoo": ours,
    "PyTorch eager": pytorch,
    "PyTorch compile": lambda *args: pytorch(*args, compiled=True),
    "Keras fit": lambda *args: keras_fit(*args, jit_compile=False),
    "Keras fit XLA": lambda *args: keras_fit(*args, jit_compile=True),
}


def main() -> None:
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="folder with train.en and train.de")
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--only", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--record", action="store_true", help="write the rates to results/")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run = CONTESTANTS[args.worker](*load_batches(args.file), args.precision)
        return interleaved.answer_requests(lambda _: interleaved.measure_seconds(run))
    if not args.data:
        parser.error("--data is required")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        write_batches(args.data, args.batches, path)
        batches, _ = load_batches(path)
        tokens = sum(np.count_nonzero(batch["label"]) for batch in batches)
        words = (f"--precision={args.precision}", f"--file={path}")
        with interleaved.start_workers(args.only, *words) as workers:
            for worker in workers:
                worker.ask()  # Traces and compiles.
                worker.ask()  # Some compile again, for lengths that vary.
            rates = {name: [] for name in args.only}
            for _ in range(args.rounds):
                for worker in workers:
                    rates[worker.name].append(tokens / worker.ask())
    medians = interleaved.compute_medians(rates)
    interleaved.report(
        f"speed_translation_{args.precision}",
        ("tensorflow", "keras", "torch"),
        {
            "precision": args.precision,
            "shapes": [batch["label"].shape for batch in batches],
            "target_tokens_per_second": medians,
            "ratio": interleaved.compute_ratios(medians),
        },
        args.record,
    )


if __name__ == "__main__":
    main()
