"""Where a run logs, evaluates and saves, and how its steps are cut into calls."""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Plan:
    """Lengths of a run in steps, `every` ones None where nothing happens."""

    total: int
    log_every: int
    checkpoint_every: int
    eval_every: int | None
    loop: int

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
