"""The variables of a training run."""

import collections
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from modelzoo.optimizers.optimizer import Optimizer
from modelzoo.optimizers.pure_optimizer import PureOptimizer
from modelzoo.training import checkpoint
from modelzoo.training.loss_scale import LossScale
from modelzoo.transfer.initialise import initialise


def ema_rate(step: tf.Tensor, decay: float) -> tf.Tensor:
    """Returns the decay of the moving average at `step`: `min(decay, (1 + step) / (10 + step))`.

    This warmup keeps the average close to the weights in the first steps.
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + step) / (10.0 + step))


class TrainState:
    """Weights, statistics, optimizer state, moving average and step of a run.

    Build it inside `strategy.scope()`. A step reads and assigns these lists:

    trainable: trained weights.
    statistics: non-trainable weights, such as those of BatchNorm.
    optimizer_state: variables of the optimizer.
    ema: the moving average of `trainable + statistics`, or the optimizer's mean; empty without.
    step: the number of updates.
    scaling: the variables of the loss scale; empty without.

    A step only reads `frozen` weights, which have neither optimizer state nor a moving average. It
    sets `seeds`, the states of Keras's seed generators, which checkpoints omit.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: Optimizer,
        ema: bool,
        frozen: Sequence[keras.Variable] = (),
        loss_scale: LossScale | None = None,
    ):
        self.model = model
        self.frozen = list(frozen)
        frozen_ids = {id(v) for v in frozen}
        self.trainable = [v for v in model.trainable_variables if id(v) not in frozen_ids]
        self.statistics = [v for v in model.non_trainable_weights if id(v) not in frozen_ids]
        weight_ids = {id(v) for v in model.weights}
        self.seeds = [v for v in model.variables if id(v) not in weight_ids]
        self.optimizer = PureOptimizer(optimizer, self.trainable)
        self.optimizer_state = self.optimizer.variables
        averaged = ema or self.optimizer.averages
        self.ema = [
            keras.Variable(v.numpy(), dtype=v.dtype, trainable=False, name=f"ema_{k}")
            for k, v in enumerate(self.trainable + self.statistics if averaged else [])
        ]
        self.step = keras.Variable(0, dtype="int64", trainable=False, name="step")
        self.loss_scale = loss_scale
        self.scaling = loss_scale.variables if loss_scale else []

    @property
    def assigned(self) -> list[keras.Variable]:
        """All variables that a step assigns, in the order of the lists above."""
        state = [*self.trainable, *self.statistics, *self.optimizer_state, *self.ema]
        return [*state, self.step, *self.scaling]

    def select_weights(self, weights: str) -> dict[str, keras.Variable]:
        """Returns the variables of the set "ema" or "raw" by the paths of the model's weights."""
        sources = self.trainable + self.statistics
        variables = self.ema if weights == "ema" and self.ema else sources
        selected = {v.path: own for v, own in zip(sources, variables, strict=True)}
        return selected | {v.path: v for v in self.frozen}

    def named(self) -> dict[str, keras.Variable]:
        """Returns the variables of a checkpoint by name."""
        weights = self.trainable + self.statistics
        # The moving average of a frozen weight is the weight itself.
        pairs = [(f"ema/{v.path}", v) for v in self.frozen if self.ema]
        pairs += [(f"model/{v.path}", v) for v in self.frozen + weights]
        pairs += [(f"ema/{v.path}", a) for v, a in zip(weights, self.ema, strict=False)]
        pairs += [
            (f"optimizer/{name}", v)
            for name, v in zip(self.optimizer.names, self.optimizer_state, strict=True)
        ]
        pairs += [(f"loss_scale/{v.name}", v) for v in self.scaling]
        names = dict(pairs)
        if len(names) != len(pairs):
            counts = collections.Counter(name for name, _ in pairs)
            twice = next(name for name, count in counts.items() if count > 1)
            raise ValueError(f"two variables have the name {twice!r}: name the layers of the model")
        return names

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays of a checkpoint."""
        return {name: np.asarray(v.numpy()) for name, v in self.named().items()}

    def restore(self, arrays: dict[str, np.ndarray], step: int) -> None:
        """Sets all variables from a checkpoint's arrays."""
        checkpoint.assign(self.named(), arrays)
        self.step.assign(step)

    def start_from(
        self, arrays: dict[str, np.ndarray], weights: str, skip: Sequence[str] = ()
    ) -> None:
        """Sets the weights from arrays, except those to `skip`, and resets the other variables."""
        initialise(self.model, checkpoint.select_weights(arrays, weights), skip)
        self.reset_to_weights()

    def reset_to_weights(self) -> None:
        """Resets the moving average and optimizer state to new weights."""
        self.optimizer.restart()
        for variable, ema in zip(self.trainable + self.statistics, self.ema, strict=False):
            ema.assign(variable.numpy())


def read(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """Returns the values of the variables on this replica."""
    return [tf.convert_to_tensor(v) for v in variables]
