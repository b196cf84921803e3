"""Specs of a model's named inputs: the kind, shape and dtype of each."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """A float array.

    kind: "image", of shape `[height, width, channels]`, or "series", `[length, features]`.
    shape: without the batch dimension; None is a dynamic size.
    dtype: the dtype in a batch; a model casts it to float32, or float64 under a float64 policy.
    """

    kind: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, for a model that needs every size.

        Raises:
            UnsupportedInputsError: if a size differs between batches.
        """
        sizes = tuple(size for size in self.shape if size is not None)
        if len(sizes) < len(self.shape):
            raise UnsupportedInputsError(
                f"inputs of kind {self.kind} must have fixed sizes, got {self.shape}: choose "
                "another model or other data"
            )
        return sizes

    def prefixed(self, prefix: str) -> "ArraySpec":
        """The spec of an input whose name gets a prefix."""
        return self


@dataclasses.dataclass(frozen=True)
class TokenSpec:
    """Token ids, int32 `[batch, length]`.

    Models assign no meaning to any id: the mask marks padding, and the tokenizer knows the ids of
    special tokens.

    vocab_size: number of ids, including special tokens.
    mask: name of the input that holds the padding mask, a `MaskSpec`.
    length: maximum length in training; None is unlimited. Batches may be shorter, or longer if the
        model supports it.
    vocabulary: two token inputs with the same non-empty name share one vocabulary.
    decoder: True for the tokens that a decoder reads: the target, shifted by its start token, with
        padding at the end.
    """

    kind: ClassVar[str] = "tokens"
    dtype: ClassVar[str] = "int32"
    shape: ClassVar[tuple[int | None, ...]] = (None,)

    vocab_size: int
    mask: str
    length: int | None = None
    vocabulary: str = ""
    decoder: bool = False

    def prefixed(self, prefix: str) -> "TokenSpec":
        """The spec of an input whose name, and that of its mask, get a prefix."""
        return dataclasses.replace(self, mask=prefix + self.mask)


@dataclasses.dataclass(frozen=True)
class MaskSpec:
    """The padding mask of a token input, bool `[batch, length]`: True marks a real token."""

    kind: ClassVar[str] = "mask"
    dtype: ClassVar[str] = "bool"
    shape: ClassVar[tuple[int | None, ...]] = (None,)

    def prefixed(self, prefix: str) -> "MaskSpec":
        """The spec of an input whose name gets a prefix."""
        return self


class UnsupportedInputsError(ValueError):
    """A model does not support the inputs."""


InputSpec = ArraySpec | TokenSpec | MaskSpec
Inputs = Mapping[str, InputSpec]
"""Specs by the names of the input tensors."""


def describe(inputs: Inputs) -> str:
    """Returns names and kinds, such as `image (image)` or `tokens (tokens), mask (mask)`."""
    return ", ".join(f"{name} ({spec.kind})" for name, spec in inputs.items()) or "none"


def take(tensors: Mapping[str, Any], *names: str) -> list[Any]:
    """Returns the tensors with these names, in this order.

    Raises:
        ValueError: if `tensors` is not a dict of exactly these names.
    """
    if not isinstance(tensors, Mapping) or set(tensors) != set(names):
        got = list(tensors) if isinstance(tensors, Mapping) else type(tensors).__name__
        raise ValueError(f"inputs must be a dict of {list(names)}, got {got}")
    return [tensors[name] for name in names]


def only_array(inputs: Inputs, *kinds: str) -> tuple[str, ArraySpec]:
    """Returns the name and spec of the only input, an array.

    Args:
        inputs: all inputs of the model.
        kinds: the kinds that the model supports, such as "image".

    Raises:
        UnsupportedInputsError: if the model has several inputs or does not support the kind.
    """
    arrays = [(n, s) for n, s in inputs.items() if isinstance(s, ArraySpec) and s.kind in kinds]
    if len(arrays) != 1 or len(inputs) != 1:
        raise UnsupportedInputsError(
            f"inputs must be one of kind {' or '.join(kinds)}, got {describe(inputs)}: choose "
            "another model or other data"
        )
    return arrays[0]


def only_tokens(inputs: Inputs) -> tuple[str, TokenSpec]:
    """Returns the name and spec of the only token input.

    Raises:
        UnsupportedInputsError: if the inputs are not one token input and its mask.
    """
    ((name, spec),) = _tokens(inputs, [False], "one of kind tokens and its mask")
    return name, spec


def source_and_target(inputs: Inputs) -> tuple[tuple[str, TokenSpec], tuple[str, TokenSpec]]:
    """Returns the names and specs of the tokens of the encoder and of the decoder.

    Raises:
        UnsupportedInputsError: if the inputs are not these two and their masks.
    """
    source, target = _tokens(
        inputs, [False, True], "tokens for an encoder, tokens for a decoder and their masks"
    )
    return source, target


def _tokens(inputs: Inputs, decoder: list[bool], wanted: str) -> Iterable[tuple[str, TokenSpec]]:
    """Returns the token inputs, sorted by their `decoder` flags, which must be `decoder`."""
    tokens = [(name, spec) for name, spec in inputs.items() if isinstance(spec, TokenSpec)]
    tokens.sort(key=lambda item: item[1].decoder)
    masks = [spec.mask for _, spec in tokens]
    fits = [spec.decoder for _, spec in tokens] == decoder
    fits &= all(isinstance(inputs.get(mask), MaskSpec) for mask in masks)
    if not fits or set(inputs) != {name for name, _ in tokens} | set(masks):
        raise UnsupportedInputsError(
            f"inputs must be {wanted}, got {describe(inputs)}: choose another model or other data"
        )
    return tokens
