"""What the benchmarks of speed share: processes that run in turns, and the record of their figures.

A script starts itself once for each kind that it compares, as `SCRIPT --worker=KIND ...`. Whatever
else slows the machine for a while falls so on all of them, and none shares its threads' pools or
its memory with another.
"""

import contextlib
import importlib.metadata
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from record import ROOT, commit, machine

_ANSWER = "answer "


class Worker:
    """A process of this script for one kind."""

    def __init__(self, kind: str, arguments: Sequence[str]):
        words = [sys.executable, sys.argv[0], *arguments, f"--worker={kind}"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.kind, self.process = kind, subprocess.Popen(words, **pipes)

    def ask(self, question: Any = None) -> Any:
        """What the process answers. Raises RuntimeError where it ends instead."""
        print(json.dumps(question), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(_ANSWER):
                return json.loads(line.removeprefix(_ANSWER))
        raise RuntimeError(f"the process of {self.kind} ended")


@contextlib.contextmanager
def workers(kinds: Sequence[str], *arguments: str) -> Iterator[list[Worker]]:
    """A process for each kind, until the end."""
    started = [Worker(kind, arguments) for kind in kinds]
    try:
        yield started
    finally:
        for worker in started:
            worker.process.stdin.close()
            worker.process.wait()


def answer(function: Callable[[Any], Any]) -> None:
    """Answers questions in a worker's process, for as long as there are any."""
    for line in sys.stdin:
        # Whatever a library prints goes between the answers.
        print(_ANSWER + json.dumps(function(json.loads(line))), flush=True)


def seconds(run: Callable[[], Any]) -> float:
    """What a run takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def medians(figures: dict[str, list[float]], digits: int = 1) -> dict[str, float]:
    """The median of each kind's figures."""
    return {kind: round(statistics.median(values), digits) for kind, values in figures.items()}


def ratios(rates: dict[str, float]) -> dict[str, float]:
    """Of our rate to each of the others."""
    own = rates.get("modelzoo")
    if own is None:
        return {}
    return {kind: round(own / rate, 2) for kind, rate in rates.items() if kind != "modelzoo"}


def report(name: str, packages: Sequence[str], figures: dict[str, Any], keep: bool) -> None:
    """Prints the figures with what they are figures of; with `keep` in `results/NAME.json` too."""
    words = shlex.join([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    record = {
        "command": f"python {words}",
        "commit": commit(),
        "machine": machine(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        **figures,
    }
    text = json.dumps(record, indent=2)
    print(text)
    if keep:
        (ROOT / "results" / f"{name}.json").write_text(text + "\n")
