"""Target tokens a second of training a Transformer: ours, PyTorch and Keras 3.

    pip install torch==2.13.0
    python benchmarks/train_translation.py --data=multi30k [--precision=bfloat16] [--record]

`--data` is a folder with `train.en` and `train.de`, one sentence a line. All train the same net,
4 + 4 layers of 256, feed-forward nets of 1,024, 4 heads and one matrix of 10,000 shared word pieces
for both languages and the logits, with dropout 0.1 where Vaswani et al. have it, label smoothing
0.1 and Adam, on the same padded batches: those of the product, of sentences of one length under a
budget of tokens. Each has a process of its own, with all of the machine's threads; they run in
turns over all batches. Medians over the rounds, of target tokens without padding, and ratios come
as JSON.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import turns

VOCABULARY, DIM, FFN, HEADS, LAYERS = 10_000, 256, 1024, 4, 4
DROPOUT, SMOOTHING, RATE = 0.1, 0.1, 0.0003
LENGTHS, TOKENS = (12, 16, 20, 24, 32, 48), 4096
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}

Batch = dict[str, np.ndarray]
Run = Callable[[], None]


def data(folder: str, vocabulary: str | None = None):
    """The product's config of the sentence pairs."""
    from modelzoo.data.pair_files import PairFiles
    from modelzoo.data.tokenizers import Subwords

    return PairFiles(
        source_path=f"{folder}/{{split}}.en",
        target_path=f"{folder}/{{split}}.de",
        tokenizer=Subwords(size=VOCABULARY),
        vocabulary=vocabulary,
        lengths=LENGTHS,
        tokens_per_batch=TOKENS,
    )


def make_batches(folder: str, number: int, target: Path) -> None:
    """Writes the first batches of the product's stream, and the size of the vocabulary."""
    from modelzoo.data.batches import TrainingBatches, batch_sizes

    source = data(folder).open("train")
    batches, _ = TrainingBatches(source, 0, batch_sizes(source, tokens_per_batch=TOKENS)).take(
        0, number
    )
    arrays = {"vocabulary": np.array(source.spec.target_end + 1)}
    for k, batch in enumerate(batches):
        raw = source.gather(batch.rows, batch.length)
        label = raw["target"].numpy()
        start = np.full_like(label[:, :1], source.spec.target_end)
        # What is read at the end of a sentence has no label, and is padding.
        read = np.concatenate([start, label[:, :-1]], axis=1) * (label != 0)
        arrays |= {f"source{k}": raw["source"].numpy(), f"target{k}": read, f"label{k}": label}
    np.savez(target, **arrays)


def load_batches(path: str) -> tuple[list[Batch], int]:
    """The batches, int32 `[n, length]` each, and the size of the vocabulary with the end token."""
    with np.load(path) as file:
        number = sum(name.startswith("label") for name in file)
        parts = ("source", "target", "label")
        batches = [{part: file[f"{part}{k}"] for part in parts} for k in range(number)]
        return batches, int(file["vocabulary"])


def ours(batches: list[Batch], vocabulary: int, precision: str) -> Run:
    """The product's own step."""
    import tensorflow as tf

    from modelzoo.data.spec import PairSpec
    from modelzoo.data.tokenizers import Words
    from modelzoo.distribution.strategy import DistributeConfig, make_strategy
    from modelzoo.models.transformer import Transformer
    from modelzoo.optimizers import Adam
    from modelzoo.tasks.text_to_text import TextToText
    from modelzoo.training.config import TrainConfig
    from modelzoo.training.precision import dtype_policy
    from modelzoo.training.state import TrainState
    from modelzoo.training.step import TrainStep

    # The step sees numbers alone; any vocabulary of the size will do.
    words = " ".join(f"w{k}" for k in range(vocabulary))
    tokenizer = Words(size=vocabulary - 1).train([words])
    spec = PairSpec(
        lengths=LENGTHS, target_lengths=LENGTHS, tokenizer=tokenizer, target_tokenizer=tokenizer
    )
    task = TextToText(label_smoothing=SMOOTHING).bind(spec)
    strategy = make_strategy(DistributeConfig(strategy="one_device", devices="cpu:1"))
    config = Transformer.small(dropout=DROPOUT)
    assert (config.dim, config.ffn_dim, config.heads) == (DIM, FFN, HEADS)
    with strategy.scope(), dtype_policy(precision):
        state = TrainState(task.build_model(config), Adam(), ema=False)
    settings = TrainConfig(precision=precision, batch_size=TOKENS, steps_per_loop=1)
    step = TrainStep(task, state, settings, lambda step: tf.constant(RATE), strategy, seed=0)
    fed = [
        {
            **{name: tf.constant(value[None]) for name, value in batch.items()},
            "weight": tf.ones((1, len(batch["label"]))),
        }
        for batch in batches
    ]

    def run() -> None:
        for batch in fed:
            step(batch, 1)

    return run


def sinusoids() -> np.ndarray:
    """Of as many positions as the longest batch has."""
    angles = np.arange(LENGTHS[-1])[:, None] / 10000 ** (np.arange(0, DIM, 2) / DIM)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, DIM).astype("float32")


def pytorch(batches: list[Batch], vocabulary: int, precision: str, compiled: bool = False) -> Run:
    """`torch.nn.Transformer` with the fused Adam, and autocast for bfloat16."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, DIM)
            torch.nn.init.normal_(self.embedding.weight, std=DIM**-0.5)
            self.register_buffer("positions", torch.from_numpy(sinusoids()))
            self.dropout = torch.nn.Dropout(DROPOUT)
            self.net = torch.nn.Transformer(
                DIM, HEADS, LAYERS, LAYERS, FFN, DROPOUT, batch_first=True
            )
            for layer in [*self.net.encoder.layers, *self.net.decoder.layers]:
                layer.dropout.p = 0.0  # That inside the feed-forward net.
                layer.self_attn.dropout = 0.0
            for layer in self.net.decoder.layers:
                layer.multihead_attn.dropout = 0.0

        def vectors(self, tokens):
            x = self.embedding(tokens) * DIM**0.5 + self.positions[: tokens.shape[1]]
            return self.dropout(x)

        def forward(self, source, target):
            length = target.shape[1]
            future = torch.ones(length, length, dtype=torch.bool).triu(1)
            x = self.net(
                self.vectors(source),
                self.vectors(target),
                tgt_mask=future,
                src_key_padding_mask=source == 0,
                memory_key_padding_mask=source == 0,
                tgt_is_causal=True,
            )
            return torch.nn.functional.linear(x, self.embedding.weight)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), RATE, fused=True)
    model = torch.compile(net) if compiled else net
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
    """Keras 3's own layers, loss and `fit`."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    keras.config.set_dtype_policy(POLICIES[precision])
    table = sinusoids()

    class Vectors(layers.Layer):
        def __init__(self, embedding):
            super().__init__()
            self.embedding, self.dropout = embedding, layers.Dropout(DROPOUT)

        def call(self, tokens):
            x = self.embedding(tokens) * DIM**0.5
            places = ops.convert_to_tensor(table)[: ops.shape(tokens)[1]]
            return self.dropout(x + ops.cast(places, x.dtype))

    def residual(x, y):
        return layers.LayerNormalization()(x + layers.Dropout(DROPOUT)(y))

    def attention(x, other, mask=None, causal=False):
        layer = layers.MultiHeadAttention(HEADS, DIM // HEADS)
        return residual(x, layer(x, other, attention_mask=mask, use_causal_mask=causal))

    def feed_forward(x):
        return residual(x, layers.Dense(DIM)(layers.Dense(FFN, activation="relu")(x)))

    source, target = (keras.Input([None], dtype="int32") for _ in range(2))
    embedding = layers.ReversibleEmbedding(vocabulary, DIM)
    vectors, mask = Vectors(embedding), ops.not_equal(source, 0)[:, None]
    x = vectors(source)
    for _ in range(LAYERS):
        x = feed_forward(attention(x, x, mask))
    y = vectors(target)
    for _ in range(LAYERS):
        y = feed_forward(attention(attention(y, y, causal=True), x, mask))
    model = keras.Model([source, target], embedding(y, reverse=True))

    def loss_of(label, logits):
        shares = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        own = tf.gather(shares, tf.cast(label, tf.int32), batch_dims=2)
        return -(1 - SMOOTHING) * own - SMOOTHING * tf.reduce_mean(shares, axis=-1)

    model.compile(keras.optimizers.Adam(RATE), loss_of, jit_compile=jit_compile)

    def stream():
        for batch in batches:
            real = (batch["label"] != 0).astype("float32")
            yield (batch["source"], batch["target"]), batch["label"], real

    tokens = tf.TensorSpec([None, None], tf.int32)
    signature = ((tokens, tokens), tokens, tf.TensorSpec([None, None], tf.float32))
    stored = tf.data.Dataset.from_generator(stream, output_signature=signature).cache()
    stored = stored.apply(tf.data.experimental.assert_cardinality(len(batches)))

    def run() -> None:
        model.fit(stored, verbose=0)

    return run


KINDS = {
    "modelzoo": ours,
    "PyTorch eager": pytorch,
    "PyTorch compile": lambda *args: pytorch(*args, compiled=True),
    "Keras fit": lambda *args: keras_fit(*args, jit_compile=False),
    "Keras fit XLA": lambda *args: keras_fit(*args, jit_compile=True),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", help="folder of train.en and train.de")
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--record", action="store_true", help="keep the figures in results/")
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run = KINDS[args.worker](*load_batches(args.file), args.precision)
        return turns.answer(lambda _: turns.seconds(run))
    if not args.data:
        parser.error("--data is missing")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batches.npz"
        make_batches(args.data, args.batches, path)
        batches, _ = load_batches(path)
        tokens = sum(np.count_nonzero(batch["label"]) for batch in batches)
        words = (f"--precision={args.precision}", f"--file={path}")
        with turns.workers(args.only, *words) as workers:
            for worker in workers:
                worker.ask()  # Traces and compiles,
                worker.ask()  # the second time for lengths that are not fixed.
            rates = {name: [] for name in args.only}
            for _ in range(args.rounds):
                for worker in workers:
                    rates[worker.kind].append(tokens / worker.ask())
    medians = turns.medians(rates)
    turns.report(
        f"speed_translation_{args.precision}",
        ("tensorflow", "keras", "torch"),
        {
            "precision": args.precision,
            "shapes": [batch["label"].shape for batch in batches],
            "target_tokens_per_second": medians,
            "ratio": turns.ratios(medians),
        },
        args.record,
    )


if __name__ == "__main__":
    main()
