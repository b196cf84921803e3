"""Worker processes that are measured in turns, and the records of what was measured.

A script starts itself once per contestant, as `SCRIPT --worker=CONTESTANT ...`, and asks the
workers in turns. So a slow phase of the machine hits all contestants, and they share neither thread
pools nor memory.
"""

import contextlib
import importlib.metadata
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from record import ROOT, command_line, commit, machine

_ANSWER = "answer "


class Worker:
    """A process that answers requests with JSON values.

    Args:
        name: name of what it measures.
        command: how to start it.
        environment: its environment variables; None for those of this process.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, request: Any = None) -> Any:
        """Sends a JSON value and returns the answer.

        Raises:
            RuntimeError: the process ends instead.
        """
        print(json.dumps(request), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(_ANSWER):
                return json.loads(line.removeprefix(_ANSWER))
        raise RuntimeError(f"the worker {self.name} ended without an answer")

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def start_workers(names: Sequence[str], *arguments: str) -> Iterator[list[Worker]]:
    """Starts a process of this script per name; ends them at the end of the block."""
    command = [sys.executable, sys.argv[0], *arguments]
    with contextlib.ExitStack() as stack:
        workers = [Worker(name, [*command, f"--worker={name}"]) for name in names]
        for worker in workers:
            stack.callback(worker.close)
        yield workers


def answer_requests(function: Callable[[Any], Any]) -> None:
    """Answers all requests to a worker process with `function`."""
    for line in sys.stdin:
        # Other lines on the standard output are what libraries print.
        print(_ANSWER + json.dumps(function(json.loads(line))), flush=True)


def measure_seconds(run: Callable[[], Any]) -> float:
    """Calls `run` and returns how many seconds it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compute_medians(values: Mapping[str, Sequence[float]], digits: int = 1) -> dict[str, float]:
    """The median of each contestant's values."""
    return {name: round(statistics.median(found), digits) for name, found in values.items()}


def compute_ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """The ratio of the rate of modelzoo to each other rate."""
    own = rates.get("modelzoo")
    if own is None:
        return {}
    return {name: round(own / rate, 2) for name, rate in rates.items() if name != "modelzoo"}


def report(name: str, packages: Sequence[str], values: Mapping[str, Any], save: bool) -> None:
    """Prints measured values with command, commit, machine and versions, as JSON.

    Args:
        name: name of the record.
        packages: the packages whose versions are part of the record.
        values: what was measured.
        save: whether to write `results/NAME.json` too.
    """
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        **values,
    }
    print(json.dumps(record, indent=2))
    if save:
        record["command"] = command_line(sys.argv[0], sys.argv[1:])
        (ROOT / "results" / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
