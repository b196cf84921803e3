"""Tokenizers: from texts to ids and back, in TensorFlow's graph.

A tokenizer is trained on texts, or made of a vocabulary from elsewhere whose special tokens have
any name and any id, such as BERT's `vocab.txt`:

    config = Subwords(
        kind="wordpiece", lower=True, pad="[PAD]", unknown="[UNK]", start="[CLS]", end="[SEP]"
    )
    tokenizer = config.read("bert/vocab.txt")
    tokenizer.pad_id, tokenizer.end_id

A folder of `Tokenizer.save` is loaded by `load`.
"""

import json
from pathlib import Path

from modelzoo.data.tokenizers.characters import Characters
from modelzoo.data.tokenizers.subwords import Subwords
from modelzoo.data.tokenizers.tokenizer import FILE, Tokenizer, TokenizerConfig
from modelzoo.data.tokenizers.words import Words
from modelzoo.fields.errors import UserError

__all__ = ["Characters", "Subwords", "Tokenizer", "TokenizerConfig", "Words", "load"]


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote to a folder; UserError if there is none."""
    kinds = {kind.__name__: kind for kind in (Characters, Words, Subwords)}
    try:
        saved = json.loads(Path(folder, FILE).read_text(encoding="utf-8"))
        fields = saved["config"]
        fields |= {"special": tuple(fields.get("special", ()))}
        config = kinds[saved["type"]](**fields)
        return config.load(tuple(saved["vocabulary"]), Path(folder))
    except OSError as error:
        name = Path(error.filename or FILE).name
        raise UserError(f"no tokenizer in {folder}: {name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the tokenizer in {folder} is corrupt, or of another version of modelzoo: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
