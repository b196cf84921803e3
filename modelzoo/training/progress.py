"""Progress output: a live line on a terminal and in a notebook, else plain lines."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO


def format_seconds(seconds: float) -> str:
    """Formats a duration: `0:42`, `12:05` or `1:02:33`."""
    minutes, second = divmod(round(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def format_count(number: float) -> str:
    """Formats a number with a unit prefix and three digits: `271 k`, `40.8 M`."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} P"


def format_value(value: float | None) -> str:
    """Formats the value of a metric: `0.9917`, or an en dash if it is undefined."""
    return "\N{EN DASH}" if value is None else f"{value:.4f}"


def format_metrics(metrics: Mapping[str, Any], names: Iterable[str]) -> str:
    """Formats the named metrics, `loss 0.0312, accuracy 0.9917`, also of the raw weights."""
    words = ", ".join(f"{name} {format_value(metrics[name])}" for name in names if name in metrics)
    if "raw" not in metrics:
        return words
    return f"{words} (raw weights: {format_metrics(metrics['raw'], names)})"


def format_text(text: str, most: int = 200) -> str:
    """Formats a text as one line, without control characters and truncated to `most`."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def format_signatures(metrics: Mapping[str, Any]) -> list[str]:
    """Formats the signatures of metrics, such as `bleu: nrefs:1|case:mixed|...`."""
    return [f"{metric}: {text}" for metric, text in metrics.get("signatures", {}).items()]


def in_notebook() -> bool:
    """Whether a Jupyter kernel shows the standard output, which supports live lines."""
    # A kernel has already imported IPython.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Progress:
    """Prints to `stream` (default: standard output).

    `broken` is True after the reader has closed the pipe. Later output is dropped, so that the
    caller can save before it stops.
    """

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stdout
        notebook = stream is None and in_notebook()
        self.live = notebook or self.stream.isatty()
        # The width of a notebook is unknown; most show this many characters.
        self._width = 100 if notebook else None
        self.broken = False
        self._shown = 0

    def say(self, text: str = "") -> None:
        """Prints a permanent line."""
        self._write(f"{text}\n")
        self._shown = 0

    def update(self, fields: Sequence[str]) -> None:
        """Rewrites the live line of a terminal, or prints a plain line.

        A terminal shows as many fields as fit its width.
        """
        if not self.live:
            return self.say("  ".join(fields))
        fields = list(fields)
        # A margin for the ^C that a terminal echoes on the line.
        width = self._width or shutil.get_terminal_size().columns - 5
        while len(fields) > 1 and len("  ".join(fields)) > width:
            fields.pop()
        text = "  ".join(fields)[:width]
        self._write(text)
        self._shown = len(text)

    def note(self, text: str) -> None:
        """Shows the current activity on the live line; prints nothing without one."""
        if self.live:
            self.update([f"{text} ..."])

    def clear(self) -> None:
        """Removes the live line."""
        self._write("")
        self._shown = 0

    def _write(self, text: str) -> None:
        """Writes, over the live line if there is one."""
        clear = "\r" + " " * self._shown + "\r" if self._shown else ""
        try:
            if not self.broken:
                self.stream.write(clear + text)
                self.stream.flush()
        except BrokenPipeError:
            self.broken = True

    def table(self, rows: Mapping[str, object]) -> None:
        """Prints names and values in two columns."""
        width = max(map(len, rows))
        for name, value in rows.items():
            self.say(f"  {name:<{width}}  {value}")
