"""What runs, exports and trained models that ship have stored in their folders."""

from pathlib import Path

from modelzoo import config, zoo
from modelzoo.data import spec as specs
from modelzoo.data.spec import Spec
from modelzoo.fields.errors import UserError
from modelzoo.serving import saved_model
from modelzoo.training import run_folder


def find_model(workdir: str | None, model: str | None) -> Path:
    """The folder that a command's flags of these names mean; UserError where they clash.

    `model` is an exported folder or the name of a trained model that ships.
    """
    if (workdir is None) == (model is None):
        raise UserError("give either --workdir=RUN_FOLDER or --model=NAME_OR_EXPORTED_FOLDER")
    if model is None:
        if workdir in zoo.names() and not Path(workdir).exists():
            raise UserError(
                f"there is no folder {workdir}: the trained model of that name is --model={workdir}"
            )
        return Path(workdir)
    folder = zoo.find(model)
    if not zoo.is_trained(folder):
        read_export(folder)  # Says that it is none.
    return folder


def is_export(folder: str | Path) -> bool:
    """Whether the folder is an exported model or holds versions of one."""
    return exported(folder) is not None


def exported(folder: str | Path) -> Path | None:
    """The folder of the graph that `folder` is or whose newest version it holds."""
    folder = Path(folder)
    newest = folder / str(max(saved_model.versions(folder), default=""))
    return newest if (newest / "saved_model.pb").is_file() else None


def read_run(workdir: str | Path) -> tuple[config.Experiment, Spec]:
    """The experiment and the data's spec of a run's folder, or of a trained model's that ships.

    Raises UserError where it is neither.
    """
    workdir = Path(workdir)
    run_folder.check_no_folds(workdir)
    assets = workdir if zoo.is_trained(workdir) else workdir / "assets"
    return _read(workdir / "config.json", assets / "spec.json")


def read_changed(
    folder: str | Path, test_views: str | None, decoding: str | None
) -> tuple[config.Experiment, Spec]:
    """As `read_run`, with these of the task's fields changed."""
    experiment, spec = read_run(folder)
    if test_views is not None:
        if spec.kind != "image":
            raise UserError(f"--test_views is of images, {folder} takes {spec.kind} data")
        experiment = config.override(experiment, [("task.test_views", test_views)])
    if decoding is not None:
        if spec.kind != "pair":
            raise UserError(f"--decoding is of pairs of texts, {folder} takes {spec.kind} data")
        experiment = config.override(experiment, decoding_pairs(decoding))
    return experiment, spec


def decoding_pairs(text: str) -> list[tuple[str, str]]:
    """The overrides that such as "beams=5,n_best=2" means; UserError where it means none."""
    pairs = []
    for part in text.split(","):
        key, assigned, value = (word.strip() for word in part.partition("="))
        if not (key.isidentifier() and assigned and value):
            raise UserError(
                f"--decoding must be like beams=5,length_penalty=1, fields of config.task.decoding "
                f"and their values, got {text!r}"
            )
        pairs.append((f"task.decoding.{key}", value))
    return pairs


def read_export(folder: str | Path) -> tuple[config.Experiment, Spec]:
    """The experiment and the data's spec of an exported folder; UserError where it is none."""
    version = exported(folder)
    if version is None:
        raise UserError(f"no exported model in {folder}: no version, no saved_model.pb")
    sidecar = version / saved_model.SIDECAR
    return _read(sidecar / "config.json", sidecar / "spec.json")


def _read(config_file: Path, spec_file: Path) -> tuple[config.Experiment, Spec]:
    saved, spec = run_folder.read_json(config_file), run_folder.read_json(spec_file)
    try:
        spec = specs.load(spec, spec_file.parent)
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{spec_file} does not describe data: {error}") from None
    try:
        return config.from_dict(saved), spec
    except UserError as error:
        raise UserError(f"{config_file}: {error}") from None
