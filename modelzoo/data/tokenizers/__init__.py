"""Tokenizers: texts to ids, trained on texts, run inside TensorFlow's graph, kept in a folder."""

import json
from pathlib import Path

from modelzoo.data.tokenizers.characters import Characters
from modelzoo.data.tokenizers.subwords import Subwords
from modelzoo.data.tokenizers.tokenizer import FILE, Tokenizer
from modelzoo.data.tokenizers.words import Words
from modelzoo.fields.errors import UserError

__all__ = ["Characters", "Subwords", "Tokenizer", "Words", "load"]


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote to a folder; UserError where none can be read."""
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
