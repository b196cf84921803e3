"""Trains a tokenizer on a config's training texts and writes it to a folder."""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError

if TYPE_CHECKING:
    from modelzoo.data.source import Source
    from modelzoo.data.tokenizers import Tokenizer

FLAGS = shared.Flags()
shared.config(FLAGS)
shared.overrides(
    FLAGS,
    """\
Any field of the config by --config.KEY=VALUE, such as
  --config.data.tokenizer.size=20000
  --config.data.tokenizer.lower=false
  --config.data.train_split="train[:90%]\"""",
)
shared.path(
    FLAGS,
    "output",
    "Folder to write to, for --config.data.vocabulary; it must not exist, or be empty.",
    required=True,
)
flags.DEFINE_enum(
    "side",
    None,
    ["source", "target"],
    "The side of pairs to train on; without it both, for one vocabulary that they share.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("samples", 3, "Texts to show as tokens.", lower_bound=0, flag_values=FLAGS)

_SAMPLE_TOKENS = 20
_FIELDS = {"source": "vocabulary", "target": "target_vocabulary"}


def main(argv: Sequence[str]) -> None:
    """Trains; prints the size, the share of the tokens that it covers, lengths and samples."""
    del argv
    from modelzoo import config
    from modelzoo.data.pair_config import PairData
    from modelzoo.data.text_config import TextData

    data, side = config.load(FLAGS.config, shared.config_overrides(FLAGS)).data, FLAGS.side
    if not isinstance(data, TextData | PairData):
        raise UserError(f"config.data is {type(data).__name__}, which has no texts to train on")
    folder = Path(FLAGS.output)
    _check(folder)
    if isinstance(data, PairData):
        if side is None and data.target_tokenizer is not None:
            raise UserError(
                "config.data.target_tokenizer is of a vocabulary that is not shared: choose one "
                "by --side=source or --side=target"
            )
        names, texts = data.train_texts(side)
        tokenizer = data.tokenizer_of(side).train(texts)
    elif side is not None:
        raise UserError(f"--side={side} is of pairs of texts, config.data is {type(data).__name__}")
    else:
        source = dataclasses.replace(data, vocabulary=None).open("train")
        names, texts, tokenizer = source.ids, _texts(source), source.spec.tokenizer
    _write(tokenizer, folder)
    print(report(tokenizer, names, texts, folder, FLAGS.samples))
    print(f"\nuse it: --config.data.{_FIELDS[side or 'source']}={folder}")
    if side is not None:
        (other,) = _FIELDS.keys() - {side}
        print(
            f"it is of one side: the other is --side={other}, used as --config.data."
            f'{_FIELDS[other]}, and config.model.share_embeddings is "target" or "none" then'
        )


def _check(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"--output={folder} exists: name another folder, or an empty one")


def _write(tokenizer: "Tokenizer", folder: Path) -> None:
    """Writes the folder, whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
        ) as partial:
            tokenizer.save(Path(partial, "whole"))
            os.rename(Path(partial, "whole"), folder)
    except OSError as error:
        raise UserError(f"cannot write --output={folder}: {error.strerror}") from None


def _texts(source: "Source") -> Sequence[bytes]:
    """The texts of a split, whole."""
    import tensorflow as tf

    rows = tf.range(source.num_examples, dtype=tf.int64)
    return source.gather(rows, 1)["text"].numpy().tolist()


def report(
    tokenizer: "Tokenizer",
    names: Sequence[str],
    texts: Sequence[str | bytes],
    folder: Path,
    samples: int,
) -> str:
    """What a person wants to know of a tokenizer and the texts that it was trained on."""
    import numpy as np

    from modelzoo.data.tokenizers.tokenizer import UNKNOWN

    ids, bounds = tokenizer.encode(texts)
    lengths = np.diff(bounds)
    middle, most = np.percentile(lengths, (50, 95), method="higher")
    lines = [
        f"{tokenizer.describe()} in {folder}",
        f"{len(ids):,} tokens in {len(lengths):,} texts, {np.mean(ids != UNKNOWN):.2%} of them in "
        "the vocabulary",
        f"tokens of a text: median {middle:,}, 95 % have at most {most:,}, the longest "
        f"{lengths.max():,}",
        "",
    ]
    for k in range(min(samples, len(lengths))):
        row = ids[bounds[k] : bounds[k + 1]]
        tokens = [_visible(tokenizer.vocabulary[i]) for i in row[:_SAMPLE_TOKENS]]
        more = " ..." * (len(row) > _SAMPLE_TOKENS)
        lines.append(f"{names[k]}: {' | '.join(tokens)}{more}")
    return "\n".join(lines)


def _visible(token: str) -> str:
    """A token of one line: what cannot be seen is escaped."""
    return token if token.isprintable() else ascii(token)[1:-1]


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
