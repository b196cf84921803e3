"""Pairs of texts that a tiny Transformer learns, and that model."""

import dataclasses

import numpy as np
from texts import WORDS

from modelzoo.data.pair_config import PairData, Pairs
from modelzoo.data.spec import PairSpec
from modelzoo.data.tokenizers import Words
from modelzoo.models.transformer import Transformer

LETTERS = {word: word[0] * 2 for word in WORDS}


@dataclasses.dataclass(frozen=True)
class Phrases(PairData):
    """Some words and, backwards, another for each; every third pair has a second reference."""

    number: int = 40
    most: int = 6

    def _read(self, split):
        rng = np.random.default_rng(len(split))
        rows = [rng.choice(WORDS, rng.integers(1, self.most + 1)) for _ in range(self.number)]
        targets = [" ".join(LETTERS[word] for word in reversed(row)) for row in rows]
        return Pairs(
            where="phrases",
            ids=[f"{split}/{k}" for k in range(self.number)],
            sources=[" ".join(row) for row in rows],
            references=[
                (text, f"{text} {text}") if k % 3 == 0 else (text,)
                for k, text in enumerate(targets)
            ],
        )


TINY = Transformer(
    num_encoder_layers=1,
    num_decoder_layers=1,
    hidden_dim=16,
    intermediate_dim=32,
    num_heads=2,
    dropout=0.0,
)


def data(**fields):
    return Phrases(
        **{
            "tokenizer": Words(),
            "lengths": (4, 8),
            "validation_split": "validation",
            "tokens_per_batch": 128,
            **fields,
        }
    )


def spec_of(lengths=(4, 8), shared=True):
    source = Words().train([" ".join(WORDS)])
    target = source if shared else Words().train([" ".join(LETTERS.values())])
    return PairSpec(
        lengths=lengths, target_lengths=lengths, tokenizer=source, target_tokenizer=target
    )
