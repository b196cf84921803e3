"""Config of the training loop and of evaluation during it."""

import dataclasses
import math
from typing import Literal

from modelzoo.fields.checks import check_at_least, check_durations, check_patterns, check_positive
from modelzoo.fields.duration import Duration

BATCH_SIZE = 128


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long, in which batches and with which arithmetic a model is trained.

    steps: length of the whole run, in steps or as text ("30 epochs", "1_000_000 examples").
    batch_size: global batch; each replica gets an equal part, printed at the start. None: 128, or
        what `config.data.tokens_per_batch` makes of it.
    accumulate: micro-batches that a replica's part is cut into; the update stays the same.
    precision: arithmetic of the forward and backward pass. Variables are float32 under bfloat16
        and float16; under float16 the loss is scaled, see `modelzoo.training.loss_scale`.
    loss_scale: power of two that the loss starts to be multiplied by under float16 (None: 32768).
    loss_scale_growth: updates without an overflow after which it doubles (None: 2000).
    xla: compile the step with XLA.
    steps_per_loop: steps that run on the devices for one call from Python.
    clip_value, clip_norm, clip_global_norm: bounds on each element, on each variable's norm and on
        the norm of all together, applied in this order to the reduced gradient.
    ema_decay: decay of the moving average of the weights (None: no average); see `ema_rate`.
    init_from: run folder or checkpoint folder whose weights the model starts from.
    init_skip: regular expressions; a variable whose path matches one is not taken from `init_from`
        and keeps its fresh value, such as the head for other classes.
    init_embeddings: file of word vectors, in the text format of GloVe or word2vec, gzip or not, for
        the rows of the model's embedding whose words it has; the others keep their values.
    freeze: regular expressions; a variable whose path matches one is not trained. A layer of which
        all are frozen works as in evaluation: its BatchNorm uses and keeps its moving statistics.
    log_every, checkpoint_every: lengths between progress records and between checkpoints.
    keep_checkpoints: newest checkpoints that stay; the best one stays besides.
    deterministic: the same bits on every run, for a little speed on some devices.
    """

    steps: Duration = "10 epochs"
    batch_size: int | None = None
    accumulate: int = 1
    precision: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    loss_scale: float | None = None
    loss_scale_growth: int | None = None
    xla: bool = False
    steps_per_loop: int = 1
    clip_value: float | None = None
    clip_norm: float | None = None
    clip_global_norm: float | None = None
    ema_decay: float | None = None
    init_from: str | None = None
    init_skip: tuple[str, ...] = ()
    init_embeddings: str | None = None
    freeze: tuple[str, ...] = ()
    log_every: Duration = 20
    checkpoint_every: Duration = "1 epoch"
    keep_checkpoints: int = 3
    deterministic: bool = True

    def __post_init__(self):
        check_durations(
            steps=self.steps, log_every=self.log_every, checkpoint_every=self.checkpoint_every
        )
        check_at_least(
            1,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            steps_per_loop=self.steps_per_loop,
            keep_checkpoints=self.keep_checkpoints,
            loss_scale_growth=self.loss_scale_growth,
        )
        check_positive(
            clip_value=self.clip_value,
            clip_norm=self.clip_norm,
            clip_global_norm=self.clip_global_norm,
        )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be between 0 and 1, got {self.ema_decay!r}")
        for name in ("loss_scale", "loss_scale_growth"):
            if getattr(self, name) is not None and self.precision != "float16":
                raise ValueError(f"{name} needs precision float16, got {self.precision}")
        scale = self.loss_scale
        if scale is not None and not (1 <= scale <= 2**24 and math.frexp(scale)[0] == 0.5):
            raise ValueError(f"loss_scale must be a power of two from 1 to 2**24, got {scale!r}")
        check_patterns(init_skip=self.init_skip, freeze=self.freeze)
        if self.init_skip and self.init_from is None:
            raise ValueError(f"init_skip needs init_from, got {self.init_skip} without it")


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """When the validation and test splits are scored, and what the scores decide.

    every: length between evaluations on the validation split (None: none during training).
    batch_size: global batch of evaluation, of any length (None: those of training).
    weights: the set that is scored, kept as best and exported: the moving average "ema" where
        there is one, or "raw". Where they differ, both are scored.
    best_metric: validation score by which a best checkpoint is kept and used at the end (of a loss
        or another error the lowest, of any other the highest); None keeps the last.
    patience: evaluations without a better `best_metric` after which training stops.
    test_at_end: score the test split once when training is done.
    average_checkpoints: newest checkpoints whose mean is scored at the end, exported and served
        (Vaswani et al. 2017, section 6.1); 1 is the last alone. See `modelzoo.training.averaging`.
    """

    every: Duration | None = "1 epoch"
    batch_size: int | None = None
    weights: Literal["ema", "raw"] = "ema"
    best_metric: str | None = None
    patience: int | None = None
    test_at_end: bool = True
    average_checkpoints: int = 1

    def __post_init__(self):
        check_durations(every=self.every)
        check_at_least(
            1,
            batch_size=self.batch_size,
            patience=self.patience,
            average_checkpoints=self.average_checkpoints,
        )
        if self.patience is not None and self.best_metric is None:
            raise ValueError("patience needs best_metric, got None for it")
        if self.best_metric is not None and self.every is None:
            raise ValueError("best_metric needs evaluations during training, got every=None")
        if self.best_metric is not None and self.average_checkpoints > 1:
            raise ValueError(
                "average_checkpoints must be 1 where best_metric chooses a checkpoint, "
                f"got {self.average_checkpoints}"
            )
