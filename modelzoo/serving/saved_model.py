"""Exports a model as a SavedModel, in the versioned folders of TensorFlow Serving."""

import dataclasses
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks.task import Task

SIDECAR = "assets.extra"
"""Folder in a SavedModel for files of other programs; TensorFlow ignores it."""


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Settings of the export.

    at_end: export the model to the run's `export` folder at the end of training.

    Example:
        >>> ExportConfig(at_end=True).at_end
        True
    """

    at_end: bool = False


def export(
    model: keras.Model,
    task: Task,
    experiment: dict[str, Any],
    export_dir: str | Path,
    version: int | None = None,
) -> Path:
    """Writes `export_dir/VERSION/`, completely or not at all.

    Args:
        model: the model, without mixed precision.
        task: the task, whose signatures are exported.
        experiment: the config as JSON values. It is saved with the data's assets, so that
            `evaluate` and `predict` need only the folder.
        export_dir: the folder of all versions.
        version: a positive number; None is the next free one.

    Returns:
        The folder of the version.

    Raises:
        UserError: the version exists, or the folder cannot be written.
    """
    if model.compute_dtype not in ("float32", "float64"):
        raise ValueError(
            f"model must compute in float32 or float64 to be exported, got {model.compute_dtype}"
        )
    export_dir = Path(export_dir)
    # TensorFlow Serving reads only folders whose name is a number, so it ignores this one, even
    # after a killed process.
    partial = export_dir / f".partial-{uuid.uuid4().hex}"
    try:
        partial.mkdir(parents=True)
        _write(partial, model, task, experiment)
        return _publish(partial, export_dir, version)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
        raise UserError(
            f"cannot write the export to {export_dir}: {' '.join(str(reason).split())}"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def versions(export_dir: str | Path) -> list[int]:
    """Returns the versions in a folder, ascending; an empty list if the folder does not exist."""
    return sorted(
        int(path.name)
        for path in Path(export_dir).glob("[0-9]*")
        if path.name.isdigit() and path.is_dir()
    )


def _write(folder: Path, model: keras.Model, task: Task, experiment: dict[str, Any]) -> None:
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    tf.saved_model.save(
        module,
        str(folder),
        signatures=task.signatures(model),
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    sidecar = folder / SIDECAR
    sidecar.mkdir()
    (sidecar / "config.json").write_text(json.dumps(experiment, indent=2) + "\n")
    task.data.save(sidecar)


def _publish(partial: Path, export_dir: Path, version: int | None) -> Path:
    """Renames the finished folder to its version, even if other processes export as well."""
    while True:
        target = export_dir / str(max(versions(export_dir), default=0) + 1)
        if version is not None:
            target = export_dir / str(version)
        try:
            # Renaming onto an empty folder would succeed.
            if not target.exists():
                os.rename(partial, target)
                return target
        except OSError:
            if not target.exists():
                raise
        if version is not None:
            raise UserError(f"version {version} exists in {export_dir}: choose another")
