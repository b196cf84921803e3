"""Configs of training and of evaluation during training."""

import dataclasses
import math
from typing import Literal

from modelzoo.fields.checks import check_at_least, check_durations, check_patterns, check_positive
from modelzoo.fields.duration import Duration
from modelzoo.fields.errors import FieldError

BATCH_SIZE = 128
"""The default of the global batch size."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a model is trained: duration, batches, arithmetic, checkpoints.

    steps: duration of the whole run, in steps or as text ("30 epochs", "1_000_000 examples").
    batch_size: global batch size, which is divided equally over the replicas. None is 128, or the
        sizes from `tokens_per_batch`.
    tokens_per_batch: maximum number of tokens in a global batch, with padding: batches of shorter
        sequences have more examples. None uses `batch_size` for every length.
    accumulate: number of micro-batches into which each replica's part is divided, to save memory;
        the update stays the same.
    precision: dtype of the forward and backward pass. With bfloat16 and float16, variables are
        float32; float16 also scales the loss, see `modelzoo.training.loss_scale`.
    loss_scale: initial factor of the loss under float16, a power of two (None: 32768).
    loss_scale_growth: number of updates without overflow after which the factor doubles (None:
        2000).
    xla: compile the step with XLA.
    steps_per_loop: number of steps that the devices run per call from Python.
    clip_value, clip_norm, clip_global_norm: bounds on each element, on the norm of each variable
        and on the norm of all variables together, applied in this order to the reduced gradient.
    ema_decay: decay of the moving average of the weights (None: no average); see `ema_rate`.
    init_from: run folder or checkpoint folder with the initial weights. The data keeps what they
        expect: mean and standard deviation of images and series, and vocabularies, unless the
        config has its own.
    init_skip: regular expressions; a variable whose path matches one keeps its random initial
        value, such as the output layer for other classes.
    init_embeddings: file of word vectors in the text format of GloVe or word2vec, optionally
        gzipped, for the embeddings of its words; other embeddings keep their random values.
    freeze: regular expressions; a variable whose path matches one is not trained. If all variables
        of a BatchNorm are frozen, it uses its moving statistics and does not update them.
    log_every: duration between progress records.
    checkpoint_every: duration between checkpoints.
    keep_checkpoints: number of newest checkpoints to keep, in addition to the best one.
    deterministic: compute the same bits in every run, which is slightly slower on some devices.

    Example:
        >>> TrainConfig(steps="30 epochs", batch_size=64, ema_decay=0.999).accumulate
        1
    """

    steps: Duration = "10 epochs"
    batch_size: int | None = None
    tokens_per_batch: int | None = None
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
            tokens_per_batch=self.tokens_per_batch,
            accumulate=self.accumulate,
            steps_per_loop=self.steps_per_loop,
            keep_checkpoints=self.keep_checkpoints,
            loss_scale_growth=self.loss_scale_growth,
        )
        if self.tokens_per_batch is not None and self.batch_size is not None:
            raise FieldError(
                "batch_size", f"must be none with tokens_per_batch, got {self.batch_size}"
            )
        check_positive(
            clip_value=self.clip_value,
            clip_norm=self.clip_norm,
            clip_global_norm=self.clip_global_norm,
        )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise FieldError("ema_decay", f"must be between 0 and 1, got {self.ema_decay!r}")
        for name in ("loss_scale", "loss_scale_growth"):
            if getattr(self, name) is not None and self.precision != "float16":
                raise FieldError(name, f"needs precision float16, got {self.precision}")
        scale = self.loss_scale
        if scale is not None and not (1 <= scale <= 2**24 and math.frexp(scale)[0] == 0.5):
            raise FieldError("loss_scale", f"must be a power of two from 1 to 2**24, got {scale!r}")
        check_patterns(init_skip=self.init_skip, freeze=self.freeze)
        if self.init_skip and self.init_from is None:
            raise FieldError("init_skip", f"needs init_from, got {self.init_skip} without it")


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Evaluation of the validation and test splits, and selection of the best checkpoint.

    every: duration between evaluations on the validation split (None: none during training).
    batch_size: global batch size of evaluation, for every length (None: as in training).
    weights: weights to evaluate and export: "ema", the moving average if `ema_decay` is set or the
        mean of `ScheduleFreeAdamW`, or "raw". With an average, the run logs metrics of both.
    best_metric: validation metric that selects the best checkpoint, which is kept and used at the
        end: the lowest value of a loss or an error, else the highest. None uses the last one.
    patience: number of evaluations without a better `best_metric` after which training stops; an
        equal one is not better, whatever the loss.
    test_at_end: evaluate the test split once after training.
    average_checkpoints: number of newest checkpoints whose mean is evaluated at the end and
        exported (Vaswani et al. 2017, section 6.1); 1 uses only the last one. See
        `modelzoo.training.averaging`.

    Example:
        >>> EvalConfig(every="1 epoch", best_metric="accuracy", patience=5).weights
        'ema'
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
            raise FieldError("patience", f"needs best_metric, got {self.patience} without it")
        if self.best_metric is not None and self.every is None:
            raise FieldError("best_metric", "needs evaluations during training, got every=None")
        if self.best_metric is not None and self.average_checkpoints > 1:
            raise FieldError(
                "average_checkpoints",
                f"must be 1 if best_metric selects a checkpoint, got {self.average_checkpoints}",
            )
