"""The files in folders of runs, exported models and shipped models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelzoo import config, zoo
from modelzoo.data.bound import FILE, BoundData
from modelzoo.fields.errors import UserError
from modelzoo.inference.overrides import check_overrides
from modelzoo.serving import saved_model
from modelzoo.training import run_folder

Pairs = Sequence[tuple[str, Any]]
"""Overrides of config fields: dotted keys and values, as on a command line."""


def find_model(workdir: str | None, model: str | None) -> Path:
    """Returns the folder that `--workdir` or `--model` of a command selects.

    Args:
        workdir: folder of a run.
        model: exported folder, or name of a shipped model.

    Raises:
        UserError: neither or both are given, or the model does not exist.
    """
    if model is None and workdir is not None:
        if workdir in zoo.names() and not Path(workdir).exists():
            raise UserError(
                f"there is no folder {workdir}: use --model={workdir} for the shipped model"
            )
        return Path(workdir)
    if model is None or workdir is not None:
        raise UserError("give either --workdir=RUN_FOLDER or --model=NAME_OR_EXPORTED_FOLDER")
    folder = zoo.find(model)
    if not zoo.is_trained(folder):
        read_export(folder)  # Raises if it is not an export.
    return folder


def is_export(folder: str | Path) -> bool:
    """Whether the folder is an exported model or contains its versions."""
    return find_graph(folder) is not None


def find_graph(folder: str | Path) -> Path | None:
    """Returns the folder of the graph: `folder` or its newest version; None without a graph."""
    folder = Path(folder)
    newest = folder / str(max(saved_model.versions(folder), default=""))
    return newest if (newest / "saved_model.pb").is_file() else None


def read_run(workdir: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """Reads the experiment, with overrides, and the data of a run or shipped model.

    Raises:
        UserError: the folder is neither, or an override is not possible after training.
    """
    workdir = Path(workdir)
    run_folder.check_no_folds(workdir)
    assets = workdir if zoo.is_trained(workdir) else workdir / "assets"
    return _read(workdir / "config.json", assets, pairs, exported=False)


def read_export(folder: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """Reads the experiment, with overrides, and the data of an exported folder; see `read_run`."""
    version = find_graph(folder)
    if version is None:
        raise UserError(
            f"no exported model in {folder}: it has neither versions nor saved_model.pb"
        )
    sidecar = version / saved_model.SIDECAR
    return _read(sidecar / "config.json", sidecar, pairs, exported=True)


def _read(
    config_file: Path, assets: Path, pairs: Pairs, exported: bool
) -> tuple[config.Experiment, BoundData]:
    saved = run_folder.read_json(config_file)
    if not (assets / FILE).is_file():
        raise UserError(f"{assets} has no {FILE}: it is not the folder of a run or a model")
    try:
        experiment = config.from_dict(saved)
    except UserError as error:
        raise UserError(f"{config_file}: {error}") from None
    changed = config.override(experiment, pairs)
    check_overrides(pairs, experiment, exported)
    try:
        return changed, BoundData.load(changed.data, assets)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{assets / FILE} is damaged: {error}") from None
