"""Trainer, train step, optimizers, schedules, checkpoints and progress.

`modelzoo.train` is this room and also the function `modelzoo.train(experiment, workdir)`.
"""

import sys
import types
from typing import Any


class _Room(types.ModuleType):
    # Importing any module of the room binds the room's name in the package, where the function is
    # looked for: so the room itself takes the call.
    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        from modelzoo.run import train

        return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
