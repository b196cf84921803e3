"""Learning rate schedules."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.schedules.constant import Constant as Constant
    from modelzoo.schedules.cosine import Cosine as Cosine
    from modelzoo.schedules.cosine_restarts import CosineRestarts as CosineRestarts
    from modelzoo.schedules.exponential import Exponential as Exponential
    from modelzoo.schedules.inverse_sqrt import InverseSqrt as InverseSqrt
    from modelzoo.schedules.one_cycle import OneCycle as OneCycle
    from modelzoo.schedules.piecewise import Piecewise as Piecewise
    from modelzoo.schedules.polynomial import Polynomial as Polynomial
    from modelzoo.schedules.schedule import Schedule as Schedule
    from modelzoo.schedules.schedule import WarmupSchedule as WarmupSchedule
    from modelzoo.schedules.warmup_stable_decay import WarmupStableDecay as WarmupStableDecay
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
