"""When a run logs, evaluates and saves, and how its steps are divided into calls."""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Plan:
    """Durations of a run in steps; None for what never happens.

    steps_per_loop: most steps of one call.
    """

    total: int
    log_every: int
    checkpoint_every: int
    eval_every: int | None
    steps_per_loop: int

    @property
    def loop(self) -> int:
        """Steps of the longest call: whatever is due in between limits `steps_per_loop`."""
        due = (self.log_every, self.checkpoint_every, self.eval_every or self.total)
        return min(self.steps_per_loop, self.total, *due)

    def checkpoints(self, step: int) -> int:
        """Number of checkpoints that are due after `step`."""
        due = {*range(0, self.total + 1, self.checkpoint_every), self.total}
        return sum(later > step for later in due)

    def chunk(self, step: int) -> int:
        """Steps of the call that begins at `step`: up to whatever is due next; 0 at the end.

        A pure function of the step, so that a resumed run divides the stream as the first one did.
        """
        if step >= self.total:
            return 0
        stops = [self.total, step + self.loop]
        for every in (self.log_every, self.checkpoint_every, self.eval_every):
            if every:
                stops.append((step // every + 1) * every)
        return min(stops) - step

    def chunks(self, step: int) -> Iterator[int]:
        """Numbers of steps of all calls from `step` on."""
        while count := self.chunk(step):
            yield count
            step += count
