import io
import sys
import types

import pytest

from modelzoo.training.progress import Progress, format_count, format_metrics, format_seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")


def test_a_terminal_shows_whole_fields_on_one_line_that_is_cleared():
    progress = Progress(Terminal())
    progress.note("reading")
    progress.update(["step 1/9", "left 0:08", "loss 1.5", "epoch 0.1"])
    progress.say("done")
    first, second = "reading ...", "step 1/9  left 0:08"
    clear = [f"\r{' ' * len(text)}\r" for text in (first, second)]
    assert progress.stream.getvalue() == f"{first}{clear[0]}{second}{clear[1]}done\n"


def test_a_file_gets_plain_lines_and_no_notes():
    progress = Progress(io.StringIO())
    progress.note("reading")
    progress.update(["step 1/9", "left 0:08", "loss 1.5", "epoch 0.1"])
    progress.table({"a": 1, "long": "x"})
    expected = "step 1/9  left 0:08  loss 1.5  epoch 0.1\n  a     1\n  long  x\n"
    assert progress.stream.getvalue() == expected


def test_words():
    assert [format_seconds(s) for s in (-1, 9.6, 725, 3753)] == ["0:00", "0:10", "12:05", "1:02:33"]
    assert [format_count(n) for n in (7, 271_000, 40.8e6, 2e16)] == ["7", "271 k", "40.8 M", "20 P"]
    scores = {"loss": 0.5, "f1": 1.0, "accuracy": 0.25, "raw": {"loss": 2.0}}
    words = "loss 0.5000, accuracy 0.2500 (raw weights: loss 2.0000)"
    assert format_metrics(scores, ("loss", "accuracy")) == words


def kernel(monkeypatch, shell):
    """As if this process were IPython's, with that shell and the kernel's standard output."""
    stream = io.StringIO()
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_a_notebook_has_one_live_line_of_its_own_width(monkeypatch):
    stream = kernel(monkeypatch, types.SimpleNamespace(kernel=object()))
    progress = Progress()
    words = ["step 1/9", *(f"word {k} of many" for k in range(9))]
    progress.note("reading")
    for _ in range(3):
        progress.update(words)
    progress.say("step 9  validation: loss 0.1")
    text = stream.getvalue()
    assert text.count("\n") == 1
    # What stays once the carriage returns are done: the last part of each line.
    assert [line.split("\r")[-1] for line in text[:-1].split("\n")] == [
        "step 9  validation: loss 0.1"
    ]
    live = text.split("\r")[2]
    assert live == "  ".join(words[:6])
    assert 80 < len(live) <= 100  # Not the terminal's 30.


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()])
def test_ipython_without_a_kernel_is_no_notebook(monkeypatch, shell):
    stream = kernel(monkeypatch, shell)
    progress = Progress()
    progress.note("reading")
    progress.update(["step 1/9", "left 0:08"])
    assert stream.getvalue() == "step 1/9  left 0:08\n"


def test_a_stream_of_ones_own_is_no_notebook(monkeypatch):
    kernel(monkeypatch, types.SimpleNamespace(kernel=object()))
    progress = Progress(io.StringIO())
    progress.update(["step 1/9"])
    assert progress.stream.getvalue() == "step 1/9\n"
