"""Input specs of the usual kinds, and the tensors for them."""

import numpy as np

from modelzoo.fields.input_specs import ArraySpec, MaskSpec, TokenSpec


def image(*shape):
    return {"image": ArraySpec("image", shape)}


def text(vocab_size, length=None):
    return {"tokens": TokenSpec(vocab_size, "padding_mask", length), "padding_mask": MaskSpec()}


def pair(source_vocab, target_vocab=None, lengths=(6, 5)):
    """Source and target tokens; they share one vocabulary unless the target has its own."""
    names = ("words", "words" if target_vocab is None else "target")
    source = TokenSpec(source_vocab, "padding_mask", lengths[0], names[0])
    target_vocab = source_vocab if target_vocab is None else target_vocab
    target = TokenSpec(target_vocab, "decoder/padding_mask", lengths[1], names[1], decoder=True)
    return {
        "tokens": source,
        "padding_mask": MaskSpec(),
        "decoder/tokens": target,
        "decoder/padding_mask": MaskSpec(),
    }


def feed(tokens, pad=0):
    """Tensors for `text`, or for the encoder of `pair`."""
    return {"tokens": tokens, "padding_mask": tokens != pad}


def feed_pair(source, target, pad=0):
    """Tensors for `pair`."""
    decoder = {f"decoder/{name}": value for name, value in feed(target, pad).items()}
    return {**feed(source, pad), **decoder}


# For vocabularies where 3 is padding and 0 is a word: the new id of each of 11 ids.
NEW_IDS = np.array([3, 10, 2, 0, 4, 5, 6, 7, 8, 9, 1], "int32")
