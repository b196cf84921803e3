"""Train a vocabulary on the training texts of a config, and write it to a folder."""

import dataclasses
import os
import shlex
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
    from modelzoo.data.dataset import Dataset
    from modelzoo.data.inputs.text import VocabularyField
    from modelzoo.data.tokenizers import Tokenizer

FLAGS = shared.Flags()
shared.config(FLAGS)
shared.overrides(
    FLAGS,
    """\
Set any field of the config by --config.KEY=VALUE, such as
  --config.data.inputs.tokenizer.size=20000
  --config.data.inputs.tokenizer.lower=false
  --config.data.train_split="train[:90%]\"""",
)
shared.path(
    FLAGS,
    "output",
    "New or empty folder to write to, for --config.data.inputs.vocabulary.",
    required=True,
)
flags.DEFINE_string(
    "field",
    None,
    "Train the vocabulary of this field of config.data: inputs, inputs.NAME or target. A target "
    "without a tokenizer shares the vocabulary of the input, which is trained on both. Needed only "
    "with several vocabularies.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "samples", 3, "Number of texts to show as tokens.", lower_bound=0, flag_values=FLAGS
)

_SAMPLE_TOKENS = 20


def main(argv: Sequence[str]) -> None:
    """Trains the vocabulary; prints its size, its coverage, text lengths and samples."""
    del argv
    from modelzoo import config
    from modelzoo.data.split import example_names
    from modelzoo.inference.artifacts import check_outside_data

    data = config.load(FLAGS.config, shared.config_overrides(FLAGS)).data
    fields = _vocabulary_fields(data)
    key = _choose_field(fields)
    folder = Path(FLAGS.output)
    _check(folder)
    check_outside_data(folder, "--output", data)
    field = dataclasses.replace(fields[key], vocabulary=None)
    if field.tokenizer is None:
        source = next(one for one in fields.values() if one.tokenizer is not None)
        field = dataclasses.replace(field, tokenizer=source.tokenizer)
    train = data.open().view("train")
    tokenizer = field.make_tokenizer(train, key, data.target)
    by_key = field.vocabulary_texts(train, key, data.target)
    ids = example_names(train.rows)
    names = [ids[row] for row in train.last]
    if len(by_key) > 1:
        names = [f"{name} {side}" for name in names for side in by_key]
    texts = [text for example in zip(*by_key.values(), strict=True) for text in example]
    _write(tokenizer, folder)
    print(describe_vocabulary(tokenizer, names, texts, folder, FLAGS.samples))
    print(f"\nuse it: --config.data.{key}.vocabulary={shlex.quote(FLAGS.output)}")
    if len(fields) > 1 and len(by_key) == 1:
        others = " or ".join(other for other in fields if other != key)
        print(
            f"the other vocabulary: --field={others}; with two, config.model.share_embeddings must "
            'be "target" or "none"'
        )


def _vocabulary_fields(data: "Dataset") -> "dict[str, VocabularyField]":
    """Returns the fields of the data with a vocabulary, by their keys in the config."""
    from modelzoo.data.bound import TARGET, input_key
    from modelzoo.data.inputs.text import VocabularyField

    fields: dict[str, object] = {input_key(name): one for name, one in data.named_inputs.items()}
    fields[TARGET] = data.target
    return {key: one for key, one in fields.items() if isinstance(one, VocabularyField)}


def _choose_field(fields: "dict[str, VocabularyField]") -> str:
    """Returns the key of the field whose vocabulary is trained."""
    if not fields:
        raise UserError("config.data has no texts to train a vocabulary on")
    needed = [key for key, one in fields.items() if (one.tokenizer, one.vocabulary) != (None, None)]
    if FLAGS.field is None and len(needed) == 1:
        return needed[0]
    if FLAGS.field not in fields:
        got = "none" if FLAGS.field is None else FLAGS.field
        raise UserError(f"--field must be {' or '.join(fields)}, got {got}")
    return FLAGS.field


def _check(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"--output={folder} exists: use a new or empty folder")


def _write(tokenizer: "Tokenizer", folder: Path) -> None:
    """Writes the folder, completely or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
        ) as partial:
            tokenizer.save(Path(partial, "whole"))
            os.rename(Path(partial, "whole"), folder)
    except OSError as error:
        raise UserError(f"cannot write --output={folder}: {error.strerror}") from None


def describe_vocabulary(
    tokenizer: "Tokenizer",
    names: Sequence[str],
    texts: Sequence[str | bytes],
    folder: Path,
    samples: int,
) -> str:
    """Describes a tokenizer and its training texts in a few lines."""
    import numpy as np

    ids, bounds = tokenizer.encode(texts)
    lengths = np.diff(bounds)
    middle, most = np.percentile(lengths, (50, 95), method="higher")
    known = np.mean(ids != tokenizer.unknown_id)
    lines = [
        f"{tokenizer.describe()} in {folder}",
        f"{len(ids):,} tokens in {len(lengths):,} texts, {known:.2%} in the vocabulary",
        f"tokens per text: median {middle:,}, 95 % have at most {most:,}, the longest "
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
    """Escapes the invisible characters of a token."""
    return token if token.isprintable() else ascii(token)[1:-1]


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
