"""Everything that a training run is made of at one step, as variables."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from modelzoo.train import checkpoint
from modelzoo.train.optimizer import Optimizer
from modelzoo.train.pure_optimizer import PureOptimizer


def ema_rate(step: tf.Tensor, decay: float) -> tf.Tensor:
    """Decay of the moving average at `step`: `min(decay, (1 + step) / (10 + step))`.

    The rise keeps the average near the weights from the first step on, not near their start.
    """
    step = tf.cast(step, tf.float32)
    return tf.minimum(decay, (1.0 + step) / (10.0 + step))


class TrainState:
    """Weights, moving statistics, optimizer slots, moving average and step of a run.

    Build it inside `strategy.scope()`. The lists are what the step reads at its start and assigns
    at its end: `trainable`, `moving` (non-trainable weights, such as BatchNorm's statistics),
    `slots`, `average` (of `trainable + moving`, empty without `ema`) and `step`.
    `seeds` are the states of Keras's seed generators, which the step sets and nobody keeps.
    """

    def __init__(self, model: keras.Model, optimizer: Optimizer, ema: bool):
        self.model = model
        self.trainable = list(model.trainable_variables)
        self.moving = list(model.non_trainable_weights)
        weights = {id(v) for v in model.weights}
        self.seeds = [v for v in model.variables if id(v) not in weights]
        self.optimizer = PureOptimizer(optimizer, self.trainable)
        self.slots = self.optimizer.variables
        self.average = [
            keras.Variable(v.numpy(), dtype=v.dtype, trainable=False, name=f"ema_{k}")
            for k, v in enumerate(self.trainable + self.moving if ema else [])
        ]
        self.step = keras.Variable(0, dtype="int64", trainable=False, name="step")

    @property
    def assigned(self) -> list[keras.Variable]:
        """All variables that a step assigns, in the order of the lists above."""
        return [*self.trainable, *self.moving, *self.slots, *self.average, self.step]

    def served(self, weights: str) -> dict[str, keras.Variable]:
        """Path of each model weight to the variable that holds it in the set "ema" or "raw"."""
        sources = self.trainable + self.moving
        values = self.average if weights == "ema" and self.average else sources
        return {v.path: value for v, value in zip(sources, values, strict=True)}

    def named(self) -> dict[str, keras.Variable]:
        """Every variable of a checkpoint by its name there."""
        weights = self.trainable + self.moving
        pairs = [(f"model/{v.path}", v) for v in weights]
        pairs += [(f"ema/{v.path}", a) for v, a in zip(weights, self.average, strict=False)]
        pairs += [
            (f"optimizer/{name}", v)
            for name, v in zip(self.optimizer.names, self.slots, strict=True)
        ]
        names = dict(pairs)
        if len(names) != len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))
            raise ValueError(f"two variables are called {twice!r}: name the layers of the model")
        return names

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint."""
        return {name: np.asarray(v.numpy()) for name, v in self.named().items()}

    def restore(self, arrays: dict[str, np.ndarray], step: int) -> None:
        """Sets everything from a checkpoint's arrays."""
        checkpoint.assign(self.named(), arrays)
        self.step.assign(step)

    def start_from(self, arrays: dict[str, np.ndarray], weights: str) -> None:
        """Sets the weights alone, and the moving average to them."""
        checkpoint.restore_model(self.model, arrays, weights)
        for variable, average in zip(self.trainable + self.moving, self.average, strict=False):
            average.assign(variable.numpy())


def read(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """The values of this replica's copies."""
    return [tf.convert_to_tensor(v) for v in variables]
