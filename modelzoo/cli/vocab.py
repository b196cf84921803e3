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
from modelzoo.errors import UserError

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
flags.DEFINE_integer("samples", 3, "Texts to show as tokens.", lower_bound=0, flag_values=FLAGS)

_SAMPLE_TOKENS = 20


def main(argv: Sequence[str]) -> None:
    """Trains; prints the size, the share of the tokens that it covers, lengths and samples."""
    del argv
    from modelzoo import config
    from modelzoo.data.text_config import TextData

    data = config.load(FLAGS.config, shared.config_overrides(FLAGS)).data
    if not isinstance(data, TextData):
        raise UserError(f"config.data is {type(data).__name__}, which has no texts to train on")
    folder = Path(FLAGS.output)
    _check(folder)
    source = dataclasses.replace(data, vocabulary=None).open("train")
    tokenizer = source.spec.tokenizer
    _write(tokenizer, folder)
    print(report(source, folder, FLAGS.samples))


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


def report(source: "Source", folder: Path, samples: int) -> str:
    """What a person wants to know of a tokenizer and the texts that it was trained on."""
    import numpy as np
    import tensorflow as tf

    from modelzoo.data.tokenizers.tokenizer import UNKNOWN

    tokenizer = source.spec.tokenizer
    rows = tf.range(source.num_examples, dtype=tf.int64)
    ids, bounds = tokenizer.encode(source.gather(rows, 1)["text"])  # Whole, not cut.
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
        lines.append(f"{source.ids[k]}: {' | '.join(tokens)}{more}")
    return "\n".join([*lines, "", f"use it: --config.data.vocabulary={folder}"])


def _visible(token: str) -> str:
    """A token of one line: what cannot be seen is escaped."""
    return token if token.isprintable() else ascii(token)[1:-1]


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
