"""Configs of optimizers, and their update rules as pure functions."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.optimizers.adadelta import Adadelta as Adadelta
    from modelzoo.optimizers.adafactor import Adafactor as Adafactor
    from modelzoo.optimizers.adagrad import Adagrad as Adagrad
    from modelzoo.optimizers.adam import Adam as Adam
    from modelzoo.optimizers.adam import Adamax as Adamax
    from modelzoo.optimizers.adam import AdamW as AdamW
    from modelzoo.optimizers.adam import Lamb as Lamb
    from modelzoo.optimizers.adam import Nadam as Nadam
    from modelzoo.optimizers.ftrl import Ftrl as Ftrl
    from modelzoo.optimizers.lion import Lion as Lion
    from modelzoo.optimizers.muon import Muon as Muon
    from modelzoo.optimizers.optimizer import Optimizer as Optimizer
    from modelzoo.optimizers.rmsprop import RMSprop as RMSprop
    from modelzoo.optimizers.schedule_free import ScheduleFreeAdamW as ScheduleFreeAdamW
    from modelzoo.optimizers.sgd import SGD as SGD
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
