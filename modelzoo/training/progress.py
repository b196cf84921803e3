"""What a person sees of a run: a live line on a terminal and in a notebook, else plain lines."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO


def format_seconds(seconds: float) -> str:
    """`0:42`, `12:05` or `1:02:33`."""
    minutes, second = divmod(round(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def count(number: float) -> str:
    """A number with a unit prefix and three digits: `271 k`, `40.8 M`."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} P"


def metric_words(scores: Mapping[str, Any], names: Iterable[str]) -> str:
    """The named scores in a line: `loss 0.0312, accuracy 0.9917`; those of raw weights beside."""
    words = ", ".join(f"{name} {scores[name]:.4f}" for name in names if name in scores)
    return (
        f"{words} (raw weights: {metric_words(scores['raw'], names)})" if "raw" in scores else words
    )


def text_line(text: str, most: int = 200) -> str:
    """A text as the rest of a line: without line breaks and what a terminal obeys, cut if long."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def signature_lines(scores: Mapping[str, Any]) -> list[str]:
    """How scores were counted that have a signature, such as `bleu: nrefs:1|case:mixed|...`."""
    return [f"{metric}: {text}" for metric, text in scores.get("signatures", {}).items()]


def in_notebook() -> bool:
    """Whether a Jupyter kernel shows standard output: there, too, a line can be written over."""
    # A kernel has imported it long before.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Progress:
    """Prints to `stream` (standard output unless given).

    `broken` turns True where nobody reads any more; what would be printed then is dropped, so that
    whoever prints can save before it stops.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stdout
        notebook = stream is None and in_notebook()
        self.live = notebook or self.stream.isatty()
        # A notebook has no width to ask for; its lines would wrap beyond this.
        self._width = 100 if notebook else None
        self.broken = False
        self._shown = 0

    def say(self, text: str = "") -> None:
        """A line that stays."""
        self._write(f"{text}\n")
        self._shown = 0

    def update(self, fields: Sequence[str]) -> None:
        """The state now: rewrites the live line of a terminal, or adds a plain line.

        A terminal gets as many of the fields as are whole in its width.
        """
        if not self.live:
            return self.say("  ".join(fields))
        fields = list(fields)
        # A margin keeps the ^C that a terminal echoes on the line.
        width = self._width or shutil.get_terminal_size().columns - 5
        while len(fields) > 1 and len("  ".join(fields)) > width:
            fields.pop()
        text = "  ".join(fields)[:width]
        self._write(text)
        self._shown = len(text)

    def note(self, text: str) -> None:
        """What goes on now, on the live line of a terminal alone."""
        if self.live:
            self.update([f"{text} ..."])

    def clear(self) -> None:
        """Takes the live line away."""
        self._write("")
        self._shown = 0

    def _write(self, text: str) -> None:
        """Writes over the live line, if there is one."""
        clear = "\r" + " " * self._shown + "\r" if self._shown else ""
        try:
            if not self.broken:
                self.stream.write(clear + text)
                self.stream.flush()
        except BrokenPipeError:
            self.broken = True

    def table(self, rows: Mapping[str, object]) -> None:
        """Names and values in two columns."""
        width = max(map(len, rows))
        for name, value in rows.items():
            self.say(f"  {name:<{width}}  {value}")
