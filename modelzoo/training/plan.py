"""The steps at which a run logs, evaluates and saves, and its division into calls."""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Plan:
    """Durations of a run in steps; `eval_every` is None without validation.

    steps_per_loop: maximum number of steps per call.
    """

    total: int
    log_every: int
    checkpoint_every: int
    eval_every: int | None
    steps_per_loop: int

    @property
    def loop(self) -> int:
        """Number of steps of the longest call, limited by what is due in between."""
        due = (self.log_every, self.checkpoint_every, self.eval_every or self.total)
        return min(self.steps_per_loop, self.total, *due)

    def checkpoints(self, step: int) -> int:
        """Returns the number of checkpoints that are due after `step`."""
        due = {*range(0, self.total + 1, self.checkpoint_every), self.total}
        return sum(later > step for later in due)

    def chunk(self, step: int) -> int:
        """Returns the number of steps of the call at `step`, up to what is due next; 0 at the end.

        It depends only on the step, so that a resumed run divides the stream as before.
        """
        if step >= self.total:
            return 0
        stops = [self.total, step + self.loop]
        for every in (self.log_every, self.checkpoint_every, self.eval_every):
            if every:
                stops.append((step // every + 1) * every)
        return min(stops) - step

    def chunks(self, step: int) -> Iterator[int]:
        """Yields the numbers of steps of all calls from `step` on."""
        while count := self.chunk(step):
            yield count
            step += count
