"""Where a run logs, evaluates and saves, and how its steps are cut into calls."""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Plan:
    """Lengths of a run in steps, `every` ones None where nothing happens.

    steps_per_loop: steps that one call may be asked for.
    """

    total: int
    log_every: int
    checkpoint_every: int
    eval_every: int | None
    steps_per_loop: int

    @property
    def loop(self) -> int:
        """Steps of the longest call: what is due in between cuts `steps_per_loop`."""
        due = (self.log_every, self.checkpoint_every, self.eval_every or self.total)
        return min(self.steps_per_loop, self.total, *due)

    def checkpoints(self, step: int) -> int:
        """How many checkpoints are due after `step`."""
        due = {*range(0, self.total + 1, self.checkpoint_every), self.total}
        return sum(later > step for later in due)

    def chunks(self, step: int) -> Iterator[int]:
        """Numbers of steps for each call of the step function from `step` on.

        A pure function of the step, so that a resumed run cuts the stream where the first one did.
        """
        while step < self.total:
            stops = [self.total, step + self.loop]
            for every in (self.log_every, self.checkpoint_every, self.eval_every):
                if every:
                    stops.append((step // every + 1) * every)
            yield min(stops) - step
            step = min(stops)
