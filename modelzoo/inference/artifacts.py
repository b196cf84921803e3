"""What the folders of runs, exported models and shipped models hold."""

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
"""Overrides of config fields: dotted keys and values, text as on a command line."""


def find_model(workdir: str | None, model: str | None) -> Path:
    """The folder that a command's flags of these names mean; UserError if there is none.

    `model` is an exported folder or the name of a shipped model.
    """
    if (workdir is None) == (model is None):
        raise UserError("give either --workdir=RUN_FOLDER or --model=NAME_OR_EXPORTED_FOLDER")
    if model is None:
        if workdir in zoo.names() and not Path(workdir).exists():
            raise UserError(
                f"there is no folder {workdir}: the shipped model of that name is --model={workdir}"
            )
        return Path(workdir)
    folder = zoo.find(model)
    if not zoo.is_trained(folder):
        read_export(folder)  # Raises if it is no export.
    return folder


def is_export(folder: str | Path) -> bool:
    """Whether the folder is an exported model or holds versions of one."""
    return exported(folder) is not None


def exported(folder: str | Path) -> Path | None:
    """The folder of the graph: `folder` itself, or its newest version; None if it has neither."""
    folder = Path(folder)
    newest = folder / str(max(saved_model.versions(folder), default=""))
    return newest if (newest / "saved_model.pb").is_file() else None


def read_run(workdir: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """The experiment of a run's or shipped model's folder, with overrides, and its data.

    Raises UserError if it is neither, or an override changes what the model was trained with.
    """
    workdir = Path(workdir)
    run_folder.check_no_folds(workdir)
    assets = workdir if zoo.is_trained(workdir) else workdir / "assets"
    return _read(workdir / "config.json", assets, pairs, exported=False)


def read_export(folder: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """The experiment of an exported folder, with overrides, and its data; see `read_run`."""
    version = exported(folder)
    if version is None:
        raise UserError(f"no exported model in {folder}: it has no version and no saved_model.pb")
    sidecar = version / saved_model.SIDECAR
    return _read(sidecar / "config.json", sidecar, pairs, exported=True)


def _read(
    config_file: Path, assets: Path, pairs: Pairs, exported: bool
) -> tuple[config.Experiment, BoundData]:
    saved = run_folder.read_json(config_file)
    if not (assets / FILE).is_file():
        raise UserError(f"{assets} has no {FILE}: it is no folder of a run or a model")
    try:
        experiment = config.from_dict(saved)
    except UserError as error:
        raise UserError(f"{config_file}: {error}") from None
    changed = config.override(experiment, pairs)
    check_overrides(pairs, experiment, exported)
    try:
        return changed, BoundData.load(changed.data, assets)
    except (OSError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{assets / FILE} does not describe the data: {error}") from None
