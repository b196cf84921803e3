"""Attention weights of a decoder on its source tokens, as arrays and as a picture."""

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.targets.text_target import BoundTextTarget
from modelzoo.fields.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from modelzoo.inference.predictor import Predictor

Choice = int | Literal["mean", "all"]
"""One layer or head by its number from 1, the mean over all, or all of them."""

SUFFIXES = (".png", ".svg")
END = "</s>"

_FONT = "DejaVu Sans"  # Comes with matplotlib.
_CELL, _LETTER = 0.28, 0.1  # Inches of a token's cell and of a letter of its label.
_VISIBLE = {" ": "\u2423", "\n": "\u21b5", "\t": "\u21e5"}


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """The attention of each output token on the source tokens.

    source, output: the tokens, with the end tokens.
    weights: float `[layers, heads, output, source]`; each row sums to 1.
    """

    source: tuple[str, ...]
    output: tuple[str, ...]
    weights: np.ndarray

    def panels(self, layer: Choice = "mean", head: Choice = "mean") -> dict[str, np.ndarray]:
        """Returns weights `[output, source]` by a title such as "layer 1, head 2".

        Raises:
            UserError: the layer or head does not exist.
        """
        panels = {"": self.weights}
        for name, choice in (("layer", layer), ("head", head)):
            parts: dict[str, np.ndarray] = {}
            for title, weights in panels.items():
                count = len(weights)
                if isinstance(choice, int) and not 1 <= choice <= count:
                    raise UserError(
                        f"--{name} must be from 1 to {count}, the number of {name}s, got {choice}"
                    )
                own = {f"{name} {k}": part for k, part in enumerate(weights, 1)}
                if isinstance(choice, int):
                    own = {f"{name} {choice}": weights[choice - 1]}
                elif choice == "mean":
                    own = {f"mean of {count} {name}s" * (count > 1): weights.mean(axis=0)}
                parts |= {", ".join(filter(None, (title, words))): w for words, w in own.items()}
            panels = parts
        return panels


def compute_attention_map(predictor: "Predictor", text: str) -> AttentionMap:
    """Decodes a text as `modelzoo predict` does and returns the attention of each output token.

    Raises:
        UserError: the model is not text-to-text, or is an exported graph.
    """
    task, model, data = predictor.task, predictor.model, predictor.task.data
    if not hasattr(model, "attention") and model is not None:
        raise UserError(
            f"attention needs a text-to-text model, {predictor.origin} takes "
            f"{data.describe_inputs()}"
        )
    if model is None:
        raise UserError(
            f"the exported model {predictor.origin} has no attention weights: set --workdir to the "
            "folder of its run"
        )
    ((name, source),) = data.inputs.items()
    prefix = f"{name}/" if name else ""
    target = data.target
    assert isinstance(target, BoundTextTarget)  # As the model has attention to a source.
    try:
        batch = data.features({f"{prefix}text": tf.constant([text])}, training=False)
    except UnicodeEncodeError:
        raise UserError(f"--text={text!r} is not UTF-8") from None
    tokens = task.objective.outputs(model, batch)["tokens"][:, 0]
    # The decoder reads the start token and all output tokens but the last.
    decoded = target.features({"tokens": tokens, "padding_mask": tokens != target.ids.pad}, None)
    given = {name: {**batch, **decoded}[name] for name in task.objective.input_names}
    output = tokens[0].numpy()[decoded["label_mask"][0].numpy()]
    weights = np.asarray(model.attention(given)["cross"][0])[:, :, : len(output)]
    return AttentionMap(
        source=_tokens(batch[f"{prefix}tokens"][0].numpy(), source.words or ()),
        output=_tokens(output, target.tokenizer.vocabulary),
        weights=weights,
    )


def _tokens(ids: np.ndarray, vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Returns the tokens of ids; the id after the vocabulary is the end token."""
    return tuple((*vocabulary, END)[number] for number in ids)


def check_output(path: str | Path) -> None:
    """Checks that a picture can be drawn and written to the path.

    Raises:
        UserError: the suffix is unknown, or the folder or matplotlib is missing.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--output must end with {' or '.join(SUFFIXES)}, got {path}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: the folder {path.parent} does not exist")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"pictures need matplotlib ({error}): pip install 'modelzoo[plots]'"
        ) from None


def draw(
    attention: AttentionMap, path: str | Path, layer: Choice = "mean", head: Choice = "mean"
) -> str:
    """Draws the map to a PNG or SVG file: source tokens at the top, output tokens at the left.

    A PNG is drawn with the installed fonts. An SVG contains text, which a viewer draws in its own
    fonts.

    Returns:
        The characters that a PNG lacks because no installed font has them.

    Raises:
        UserError: a layer or head does not exist, or the file cannot be written.
    """
    check_output(path)
    import matplotlib

    panels, path = attention.panels(layer, head), Path(path)
    kind = path.suffix.lower()[1:]
    fonts, missing = _find_fonts("".join(attention.source + attention.output))
    options: Any = {"svg.fonttype": "none", "svg.hashsalt": "modelzoo", "font.family": fonts}
    metadata = {"Date": None} if kind == "svg" else None  # Equal maps give equal bytes.
    partial = path.with_name(path.name + ".partial")
    with matplotlib.rc_context(options), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        try:
            _make_figure(attention, panels).savefig(
                partial, format=kind, dpi=144, metadata=metadata, bbox_inches="tight"
            )
            os.replace(partial, path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)
    return missing if kind == "png" else ""


def _make_figure(attention: AttentionMap, panels: dict[str, np.ndarray]) -> "Figure":
    from matplotlib.figure import Figure

    num_heads = attention.weights.shape[1]
    columns = min(len(panels), num_heads if len(panels) > num_heads else 4)
    rows = -(-len(panels) // columns)
    source, output = (
        list(map(_make_visible, tokens)) for tokens in (attention.source, attention.output)
    )
    # Space for the longest labels beside the cells.
    width, height = (
        _CELL * max(len(tokens), 6) + _LETTER * max(map(len, labels))
        for tokens, labels in ((source, output), (output, source))
    )
    figure = Figure(figsize=(columns * width + 1, rows * (height + 0.4)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    most = max(weights.max() for weights in panels.values())
    for axis, (title, weights) in zip(axes, panels.items(), strict=False):
        image = axis.imshow(weights, cmap="Blues", vmin=0.0, vmax=most)
        axis.set_xticks(range(len(source)), source, rotation=90, parse_math=False)
        axis.set_yticks(range(len(output)), output, parse_math=False)
        axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=2)
        axis.set_xlabel(title)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.colorbar(image, ax=list(axes), fraction=0.05, pad=0.02, shrink=0.7, aspect=15 * rows)
    return figure


def _make_visible(token: str) -> str:
    """Replaces invisible characters of a token by visible ones."""
    return "".join(
        _VISIBLE.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode())
        for c in token
    )


def _find_fonts(text: str) -> tuple[list[str], str]:
    """Returns installed fonts for the characters of a text, and the characters without a font."""
    from matplotlib import font_manager, ft2font

    # "Last Resort" draws a symbol for the script of a character, not the character.
    listed = (f for f in font_manager.fontManager.ttflist if not f.name.startswith("Last Resort"))
    files = {font.name: font.fname for font in listed}
    names, missing = [_FONT], set(map(ord, _make_visible(text)))
    for name in (_FONT, *sorted(files)):
        if not missing:
            break
        try:
            covered = missing & ft2font.FT2Font(files[name]).get_charmap().keys()
        except (KeyError, OSError, RuntimeError):  # Deleted since it was listed, or not readable.
            continue
        names += [name] * (bool(covered) and name != _FONT)
        missing -= covered
    return names, "".join(map(chr, sorted(missing)))
