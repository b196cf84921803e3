"""Where a run starts: at a checkpoint of its own, else with weights from elsewhere, else fresh."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from modelzoo.fields.errors import UserError
from modelzoo.training import averaging, checkpoint
from modelzoo.training.parts import ExperimentParts
from modelzoo.training.state import TrainState
from modelzoo.transfer.word_vectors import initialise_embeddings


def restore(
    state: TrainState,
    experiment: ExperimentParts,
    workdir: Path,
    data: str,
    other_data: bool = False,
    vocabulary: Sequence[str] = (),
) -> tuple[checkpoint.Meta, str]:
    """Sets the state; returns where the run is, and in words how it started.

    experiment: its `train` and `eval` are read. data: the fingerprint of the training split.
    vocabulary: what the rows of word embeddings stand for. Call it inside `strategy.scope()`.
    Raises UserError where the checkpoint was made on other data, unless `other_data`, and where
    what is there does not fit the state.
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
        found = initialise_embeddings(state.model, settings.init_embeddings, vocabulary)
        state.follow_weights()
        started += (
            f", vectors of {found:,} of {len(vocabulary):,} words from {settings.init_embeddings}"
        )
    return checkpoint.Meta(step=0, examples=0, data=data), started


def _resume(state, best_metric, workdir, data, other_data):
    path = checkpoint.find(workdir, "last")
    meta = checkpoint.read_meta(path).forgetting(best_metric)
    if meta.data != data and not other_data:
        raise UserError(
            f"the training data is not what {workdir} was trained on until step {meta.step}: other "
            "examples or classes; bring it back, take another --workdir, or go on with "
            "--resume_with_changes"
        )
    state.restore(checkpoint.read(path), meta.step)
    return dataclasses.replace(meta, data=data), f"resumed at step {meta.step}"
