"""The start of a run: from its own checkpoint, from other weights or from scratch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from modelzoo.fields.errors import UserError
from modelzoo.training import averaging, checkpoint
from modelzoo.training.recipe import Recipe
from modelzoo.training.state import TrainState
from modelzoo.transfer.word_vectors import initialise_embeddings


def restore(
    state: TrainState,
    experiment: Recipe,
    workdir: Path,
    data: str,
    other_data: bool = False,
    vocabulary: Sequence[str] = (),
) -> tuple[checkpoint.Meta, str]:
    """Sets the state; returns the run's metadata and a description of its start.

    Call it inside `strategy.scope()`.

    Args:
        state: the state to set.
        experiment: its `train` and `eval` are used.
        workdir: the run's folder.
        data: fingerprint of the training split.
        other_data: whether to resume a checkpoint of other training data.
        vocabulary: the word of each row of the word embeddings.

    Raises:
        UserError: the checkpoint belongs to other data or does not fit the state.
    """
    if checkpoint.steps(workdir):
        return _resume(state, experiment.eval.best_metric, workdir, data, other_data)
    started = "from scratch"
    settings = experiment.train
    if settings.init_from is not None:
        paths = averaging.resolve_checkpoints(settings.init_from)
        state.start_from(averaging.read(paths), experiment.eval.weights, settings.init_skip)
        mean = f"the mean of {len(paths)} checkpoints until " if len(paths) > 1 else ""
        started = f"weights from {mean}{paths[-1]}"
    if settings.init_embeddings is not None:
        count = initialise_embeddings(state.model, settings.init_embeddings, vocabulary)
        state.reset_to_weights()
        started += (
            f", vectors of {count:,} of {len(vocabulary):,} words from {settings.init_embeddings}"
        )
    return checkpoint.Meta(step=0, examples=0, data=data), started


def _resume(state, best_metric, workdir, data, other_data):
    path = checkpoint.find(workdir, "last")
    meta = checkpoint.read_meta(path).for_metric(best_metric)
    if meta.data != data and not other_data:
        raise UserError(
            f"the training data has other examples or classes than {workdir} until step "
            f"{meta.step}: restore it, use another --workdir, or add --resume_with_changes"
        )
    state.restore(checkpoint.read(path), meta.step)
    return dataclasses.replace(meta, data=data), f"resumed at step {meta.step}"
