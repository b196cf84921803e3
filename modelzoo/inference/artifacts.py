"""The files in folders of runs, exported models and shipped models."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelzoo import config, zoo
from modelzoo.data.bound import FILE, BoundData
from modelzoo.data.dataset import Dataset
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
    """Returns the folder of the graph: `folder` or its newest version; None without a graph.

    The folder of a run is none, whatever lies in it.
    """
    folder = Path(folder)
    if _is_run(folder):
        return None
    newest = folder / str(max(saved_model.versions(folder), default=""))
    return newest if (newest / "saved_model.pb").is_file() else None


def _is_run(folder: Path) -> bool:
    """Whether the folder holds a run, or the folds of a cross-validation."""
    parts = (folder / "assets" / FILE, run_folder.fold_folder(folder, 1) / "config.json")
    return (folder / "config.json").is_file() and any(part.is_file() for part in parts)


def find_runs(folder: Path) -> list[Path]:
    """Returns the runs that a folder holds, sorted; an empty list if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if _is_run(path))
    except OSError:
        return []


def check_workdir(workdir: str | Path, data: Dataset) -> None:
    """Raises UserError if another run, an export or the data would hide a new run, or be hidden."""
    folder = _absolute(workdir)
    if _is_run(folder):
        return
    flag = f"--workdir={workdir}"
    if is_export(folder) or zoo.is_trained(folder):
        raise UserError(f"{flag} is the folder of a trained model: use a folder of its own")
    if inside := find_runs(folder):
        raise UserError(
            f"{flag} holds another run, {inside[0].name}: use a folder of its own, such as "
            f"{_quoted(Path(workdir, 'new'))}"
        )
    check_outside_data(workdir, "--workdir", data)
    if outer := next(filter(_is_run, folder.parents), None):
        raise UserError(f"{flag} lies in the run {outer}: use a folder of its own")


def check_export_dir(export_dir: str | Path, data: Dataset) -> None:
    """Raises UserError if an export would hide a run or another export, or become data."""
    folder = _absolute(export_dir)
    flag = f"--export_dir={export_dir}"
    for path in (folder, *folder.parents):
        part = str(folder.relative_to(path))
        if _is_run(path) and re.match(r"\.$|checkpoints|assets|fold", part):
            raise UserError(
                f"{flag} is a part of the run {path}, which the export would hide: use "
                f"{_quoted(path / 'export')}"
            )
        if (path / "saved_model.pb").is_file():
            raise UserError(
                f"{flag} is a part of the exported version {path}: use the folder of all "
                f"versions, {_quoted(path.parent)}"
            )
    if zoo.is_trained(folder):
        raise UserError(f"{flag} is the folder of a trained model: use another folder")
    check_outside_data(export_dir, "--export_dir", data)


def check_outside_data(path: str | Path, flag: str, data: Dataset) -> None:
    """Raises UserError if a new folder would be read as data, such as a class."""
    if data.source.folder_of_data is None:
        return
    folder, outer = _absolute(path), _absolute(data.source.folder_of_data)
    if outer in (folder, *folder.parents):
        raise UserError(
            f"{flag}={path} lies in the folder of the data, {data.source.folder_of_data}, which "
            "would read it as a class or a split: use a folder outside"
        )


def _quoted(path: str | Path) -> str:
    """Returns a path as a word of a shell."""
    return shlex.quote(str(path))


def _absolute(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()


def read_run(workdir: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """Reads the experiment, with overrides, and the data of a run or shipped model.

    Raises:
        UserError: the folder is neither, or an override is not possible after training.
    """
    workdir = Path(workdir)
    run_folder.check_no_folds(workdir)
    if not _is_run(workdir) and not zoo.is_trained(workdir):
        if runs := find_runs(workdir):
            names = ", ".join(path.name for path in runs)
            raise UserError(
                f"{workdir} is not a run folder, but holds {names}: use {_quoted(runs[0])}"
            )
        if outer := next(filter(_is_run, _absolute(workdir).parents), None):
            raise UserError(
                f"{workdir} is not a run folder, but a part of one: use {_quoted(outer)}"
            )
    assets = workdir if zoo.is_trained(workdir) else workdir / "assets"
    return _read(workdir / "config.json", assets, pairs, exported=False)


def read_export(folder: str | Path, pairs: Pairs = ()) -> tuple[config.Experiment, BoundData]:
    """Reads the experiment, with overrides, and the data of an exported folder; see `read_run`."""
    version = find_graph(folder)
    if version is None:
        reason = "it has neither versions nor saved_model.pb"
        if _is_run(Path(folder)):
            reason = f"it is the folder of a run, use --workdir={_quoted(folder)}"
        raise UserError(f"no exported model in {folder}: {reason}")
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
