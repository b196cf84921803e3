"""The train step: a pure function of the training state, the same for any division of a batch.

Each replica sums losses and gradients over its micro-batches. One all-reduce adds these sums, the
weights and the moving statistics over all replicas. Then all replicas compute the same: division by
the global weight, the check for finite values, clipping, the optimizer and the moving average. At
the end, the new values are assigned once, or discarded.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from modelzoo.fields import compat
from modelzoo.fields.errors import UserError
from modelzoo.tasks.task import Objective, Tensors
from modelzoo.training.clip import clip, global_norm
from modelzoo.training.config import TrainConfig
from modelzoo.training.loss_scale import LEAST
from modelzoo.training.state import TrainState, ema_rate, read

SUM = tf.distribute.ReduceOp.SUM


class TrainStep:
    """Runs steps of training on a strategy's devices.

    objective: the objective of the task.
    state: the variables, built in the strategy's scope.
    settings: settings of training.
    learning_rate: maps a step (an integer scalar tensor) to the learning rate.
    strategy: the distribution strategy.
    seed: seed of the dropout masks, which are a function of (seed, step, replica, micro-batch,
        layer).

    Raises:
        UserError: `settings.xla` is set with BatchNorm synchronized over several replicas; XLA
            cannot compile collectives for one of several local devices.
    """

    def __init__(
        self,
        objective: Objective,
        state: TrainState,
        settings: TrainConfig,
        learning_rate: Callable[[tf.Tensor], tf.Tensor],
        strategy: tf.distribute.Strategy,
        seed: int,
    ):
        self.objective = objective
        self.state = state
        self.settings = settings
        self.learning_rate = learning_rate
        self.strategy = strategy
        self.seed = seed
        self.replicas = strategy.num_replicas_in_sync
        self.collective = self.replicas > 1 and _synchronizes(state.model)
        if settings.xla and self.collective:
            raise UserError(
                "config.train.xla cannot compile BatchNorm synchronized over "
                f"{self.replicas} replicas: set config.train.xla=false or the model's "
                "synchronized to false"
            )
        if settings.xla:
            self._local_sums = tf.function(self.local_sums, autograph=False, jit_compile=True)
            self._update = tf.function(self.update, autograph=False, jit_compile=True)
        else:
            self._local_sums, self._update = self.local_sums, self.update
        self._run = tf.function(self._loop, autograph=False)

    def __call__(self, batches: Tensors, count: int) -> dict[str, np.ndarray]:
        """Runs `count` steps over `batches` (tensors, or their per-replica values, `[loop, ...]`).

        Returns arrays `[count]` of each step's `loss_sum`, `loss_weight`, `grad_norm`,
        `learning_rate`, `ok`, `alive` and the objective's training sums. If a loss or gradient is
        not finite, the step has `ok` 0, and neither it nor the following steps change anything; all
        have `alive` 0. With a loss scale (reported as `loss_scale`), such a step only discards its
        update: the scale falls, the step counter increases and `alive` is 1, unless the scale was
        already the minimum.
        """
        report = self._run(batches, tf.constant(count, tf.int32))
        report = {name: value.numpy() for name, value in report.items()}
        return {"alive": report["ok"], **report}

    def _loop(self, batches: Tensors, count: tf.Tensor) -> Tensors:
        names: list[str] = []

        def body(index, alive, table):
            report = self.strategy.run(self.replica_step, args=(batches, index, alive))
            # After the all-reduce, all replicas have the same report.
            report = {
                name: self.strategy.experimental_local_results(value)[0]
                for name, value in report.items()
            }
            names[:] = report
            row = tf.stack([tf.cast(value, tf.float32) for value in report.values()])
            alive = report.get("alive", report["ok"])
            return index + 1, alive, table.write(index, row)

        table = tf.TensorArray(tf.float32, size=count)
        state = (tf.constant(0), tf.constant(True), table)
        if self.settings.steps_per_loop == 1:
            state = body(*state)
        else:
            state = tf.while_loop(lambda index, *_: index < count, body, state)
        return dict(zip(names, tf.unstack(state[2].stack(), len(names), axis=1), strict=True))

    def replica_step(
        self, batches: Tensors, index: tf.Tensor, alive: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Runs a step of one replica on batch `index`; changes nothing unless `alive`."""
        context = tf.distribute.get_replica_context()
        state = self.state
        batch = {name: value[index] for name, value in batches.items()}
        trainable, statistics = read(state.trainable), read(state.statistics)
        frozen, scaling = read(state.frozen), read(state.scaling)
        step = tf.convert_to_tensor(state.step)
        seed = fold_in(tf.constant([self.seed & 0x7FFFFFFF, self.seed >> 31], tf.int32), step)
        seed = fold_in(seed, context.replica_id_in_sync_group)
        gradients, new_statistics, sums = self._local_sums(
            trainable, frozen, statistics, batch, seed, scaling
        )

        if self.replicas > 1:
            names = sorted(sums)
            flat = [*gradients, *new_statistics, *(sums[name] for name in names)]
            flat = context.all_reduce(SUM, flat)
            gradients = flat[: len(gradients)]
            new_statistics = [
                value / self.replicas if value.dtype.is_floating else value // self.replicas
                for value in flat[len(gradients) : len(gradients) + len(statistics)]
            ]
            sums = dict(zip(names, flat[len(gradients) + len(statistics) :], strict=True))

        optimizer_state, ema = read(state.optimizer_state), read(state.ema)
        learning_rate = self.learning_rate(step)
        new, report = self._update(
            trainable,
            statistics,
            new_statistics,
            optimizer_state,
            ema,
            step,
            gradients,
            sums,
            learning_rate,
            alive,
            scaling,
        )

        def assign(strategy, *values):
            for variable, value in zip(state.assigned, values, strict=True):
                strategy.extended.update(
                    variable.value, lambda v, x: v.assign(x), args=(value,), group=False
                )

        context.merge_call(assign, args=tuple(new))
        return {**report, "learning_rate": learning_rate}

    def local_sums(
        self,
        trainable: Sequence[tf.Tensor],
        frozen: Sequence[tf.Tensor],
        statistics: Sequence[tf.Tensor],
        batch: Tensors,
        seed: tf.Tensor,
        scaling: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], Tensors]:
        """Returns gradients, moving statistics and counts, summed over the micro-batches.

        The gradients are those of the loss, divided by the nominal global weight, which keeps them
        in range for any batch size, and multiplied by the loss scale. `update` applies the exact
        ratio.
        """
        parts = self.settings.accumulate

        def sums_of(cut, statistics, part):
            return self._micro_batch(
                trainable, frozen, statistics, cut, fold_in(seed, part), scaling
            )

        if parts == 1:
            return sums_of(batch, statistics, tf.constant(0))
        batch = {
            name: tf.reshape(value, [parts, value.shape[0] // parts, *value.shape[1:]])
            for name, value in batch.items()
        }

        def add(part, gradients, statistics, sums):
            cut = {name: value[part] for name, value in batch.items()}
            added, statistics, counts = sums_of(cut, statistics, part)
            gradients = [a + b for a, b in zip(gradients, added, strict=True)]
            return gradients, statistics, {name: sums[name] + counts[name] for name in counts}

        first = {name: value[0] for name, value in batch.items()}
        carried = sums_of(first, statistics, tf.constant(0))
        if self.collective:
            # A while loop cannot contain collectives.
            for part in range(1, parts):
                carried = add(tf.constant(part), *carried)
            return carried
        _, *carried = tf.while_loop(
            lambda part, *_: part < parts,
            lambda part, *carried: (part + 1, *add(part, *carried)),
            (tf.constant(1), *carried),
        )
        return tuple(carried)

    def _micro_batch(self, trainable, frozen, statistics, batch, seed, scaling):
        state, objective = self.state, self.objective
        values = [*trainable, *frozen, *statistics]
        weights = state.trainable + state.frozen + state.statistics
        mapping = list(zip(weights, values, strict=True))
        for layer, variable in enumerate(state.seeds):
            mapping.append((variable, tf.cast(fold_in(seed, tf.constant(layer)), variable.dtype)))
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                outputs = objective.outputs(state.model, batch, training=True)
                loss_sum, weight = objective.loss(outputs, batch)
                counts = objective.metric_sums(outputs, batch, training=True)
                total = loss_sum
                penalties = state.model.losses
                if penalties:
                    # The division by the global weight makes a penalty count once.
                    penalty = tf.add_n([tf.cast(p, loss_sum.dtype) for p in penalties])
                    total += penalty * tf.cast(weight, loss_sum.dtype)
            total /= self.settings.batch_size
            if scaling:
                total *= scaling[0]
        gradients = tape.gradient(total, trainable, unconnected_gradients="zero")
        # The gradient of a lookup is sparse, and sparse gradients cannot be added.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        statistics = [scope.get_current_value(v) for v in state.statistics]
        return gradients, statistics, {**counts, "loss_sum": loss_sum, "loss_weight": weight}

    def update(
        self,
        trainable: Sequence[tf.Tensor],
        statistics: Sequence[tf.Tensor],
        new_statistics: Sequence[tf.Tensor],
        optimizer_state: Sequence[tf.Tensor],
        ema: Sequence[tf.Tensor],
        step: tf.Tensor,
        gradients: Sequence[tf.Tensor],
        sums: Tensors,
        learning_rate: tf.Tensor,
        alive: tf.Tensor,
        scaling: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], Tensors]:
        """Returns the values to assign and the step's report, from the sums of all replicas."""
        settings, state = self.settings, self.state
        # The gradient of a batch without weight is zero, not NaN.
        ratio = tf.math.divide_no_nan(
            tf.cast(settings.batch_size, sums["loss_weight"].dtype), sums["loss_weight"]
        )
        if scaling:
            ratio /= scaling[0]
        gradients = [g * tf.cast(ratio, g.dtype) for g in gradients]
        norm = global_norm(gradients)
        new, new_optimizer_state = state.optimizer.update(
            trainable, optimizer_state, clip(gradients, settings), learning_rate
        )
        # The norm is finite if all elements are, unless it overflows, which is as bad.
        checked = [norm, sums["loss_sum"], global_norm(new)]
        if scaling and statistics:
            # Loss and gradient may be finite after an overflow in the forward pass.
            checked.append(global_norm([v for v in new_statistics if v.dtype.is_floating]))
        ok = tf.reduce_all(tf.stack([alive, *(tf.math.is_finite(x) for x in checked)]))
        new_ema = []
        if ema and settings.ema_decay is not None:
            rate = ema_rate(step, settings.ema_decay)
            for old, value in zip(ema, [*new, *new_statistics], strict=True):
                keep = tf.cast(rate, old.dtype)
                new_ema.append(keep * old + (1 - keep) * value)
        elif ema:
            new_ema = [*state.optimizer.means(new, new_optimizer_state), *new_statistics]
        old = [*trainable, *statistics, *optimizer_state, *ema]
        values = [*new, *new_statistics, *new_optimizer_state, *new_ema]
        chosen = [tf.where(ok, a, b) for a, b in zip(values, old, strict=True)]
        report = {**sums, "grad_norm": norm, "ok": ok}
        if state.loss_scale is None:
            return [*chosen, tf.where(ok, step + 1, step)], report
        scale, good_steps = scaling
        # The scale is not the cause of an overflow at the minimum scale.
        alive &= ok | (scale > LEAST)
        counts = zip(
            [step + 1, *state.loss_scale.next_values(scale, good_steps, ok)],
            [step, *scaling],
            strict=True,
        )
        chosen += [tf.where(alive, a, b) for a, b in counts]
        return chosen, {**report, "alive": alive, "loss_scale": scale}


def fold_in(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns the seed (int32 `[2]`) that `seed` has for `number`."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int32))


def _synchronizes(model: keras.Model) -> bool:
    """Whether a layer synchronizes statistics between replicas."""
    return any(
        getattr(layer, "synchronized", False) and layer.trainable
        for layer in compat.all_layers(model)
    )
