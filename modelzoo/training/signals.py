"""Handling of the signals that stop a run."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


class Interrupted(Exception):  # noqa: N818 (not an error)
    """A signal stopped the training after a checkpoint; `signal` is its number."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"stopped at step {step}, saved")
        self.signal = signal_number
        self.step = step


@contextlib.contextmanager
def on_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Calls `handler` for SIGINT and SIGTERM inside the block.

    It has no effect outside of the main thread, as in some notebooks, where Python cannot handle
    signals.
    """
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
