"""Texts that a tiny net learns, and that net."""

import dataclasses

import keras
import numpy as np

from modelzoo.data.spec import TextSpec
from modelzoo.data.text_config import TextData, Texts
from modelzoo.data.tokenizers import Words

WORDS = ("ant", "bee", "cät", "dog", "emu", "fox", "gnu", "hen")
NAMES = {
    "class": ("few", "many"),
    "tags": ("ants", "bees", "cats"),
    "values": ("length", "bees"),
    "labels": ("long", "short"),
}
# Empty, very long, emoji, right to left, one word that is unknown, and bytes that are not UTF-8.
ODD = ["", "bee " * 3000, "🐜 ant 👩‍👩‍👧 bee", "שלום עולם ant", "zebra", b"ant \xff\xc3( bee"]


@dataclasses.dataclass(frozen=True)
class Sentences(TextData):
    """Some words in any order, and what is true of them."""

    targets: str = "class"
    number: int = 40

    def _read(self, split):
        rng = np.random.default_rng(len(split))
        rows = [rng.choice(WORDS, rng.integers(1, 14)).tolist() for _ in range(self.number)]
        return Texts(
            where="sentences",
            ids=[f"{split}/{k}" for k in range(self.number)],
            texts=[" ".join(row) for row in rows],
            labels={
                "class": lambda: np.array([len(row) > 6 for row in rows], np.int64),
                "tags": lambda: np.array([[w in row for w in WORDS[:3]] for row in rows], float),
                "values": lambda: np.array([[len(row), row.count("bee")] for row in rows], float),
                # Hens have no label.
                "labels": lambda: [
                    np.array([-1 if w == "hen" else w in WORDS[3:] for w in row], np.int64)
                    for row in rows
                ],
            }[self.targets](),
            class_names=NAMES[self.targets],
            targets=self.targets,
        )


@dataclasses.dataclass(frozen=True)
class Bag:
    """The mean of the words' vectors, without the padding."""

    def build(self, inputs, num_outputs, per_step=False):
        tokens = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="tokens")
        x = keras.layers.Embedding(inputs.vocab_size, 6, name="embedding")(tokens)
        x = keras.layers.Dense(6, activation="tanh", name="hidden")(x)
        if not per_step:
            real = keras.ops.cast(keras.ops.not_equal(tokens, 0), x.dtype)[..., None]
            count = keras.ops.maximum(keras.ops.sum(real, axis=1), 1)
            x = keras.ops.sum(x * real, axis=1) / keras.ops.sqrt(count)
        return keras.Model(tokens, keras.layers.Dense(num_outputs, name="logits")(x))


def spec_of(targets="class", lengths=(4, 8), keep="start", names=None):
    return TextSpec(
        class_names=names or NAMES[targets],
        targets=targets,
        lengths=lengths,
        keep=keep,
        tokenizer=Words().train([" ".join(WORDS)]),
    )
