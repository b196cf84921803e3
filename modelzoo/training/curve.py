"""Learning curves: a run's metrics by step, as numbers and as a picture."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelzoo.fields.errors import UserError
from modelzoo.measure import plot
from modelzoo.training import run_folder

POINTS = 200
# Fields of a train record that are not metrics.
_NOT_METRICS = {
    "step",
    "kind",
    "learning_rate",
    "grad_norm",
    "examples_per_sec",
    "data_wait",
    "epoch",
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """The metrics of training batches and of the validation split.

    train, eval: `step` and one list per metric, all of equal length. A notebook shows the picture.
    """

    train: Mapping[str, Sequence[float]]
    eval: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)

    def svg(self, title: str = "") -> str:
        """Draws one panel per metric, with lines for training and validation."""
        kinds = {"train": self.train, "validation": self.eval}
        panels = [
            plot.Panel(
                x="step",
                y=name.replace("_", " "),
                lines={
                    kind: (lists["step"], lists[name])
                    for kind, lists in kinds.items()
                    if name in lists
                },
            )
            for name in self.train
            if name != "step"
        ]
        return plot.render_svg(panels, title)

    def _repr_svg_(self) -> str:
        """Returns the picture for Jupyter."""
        return self.svg()


def curve(workdir: str | Path) -> Curve:
    """Returns the learning curve of a finished or running run.

    It averages consecutive train records to at most 200 points, each at its last step.

    Raises:
        UserError: the folder has no records of training.
    """
    workdir = Path(workdir).expanduser()
    run_folder.check_no_folds(workdir)
    records: dict[str, list] = {"train": [], "eval": []}
    if (workdir / "metrics.jsonl").is_file():
        for record in run_folder.read_records(workdir):
            records[record["kind"]].append(record)
    if not records["train"]:
        raise UserError(f"{workdir} has no records of training: train there first")
    names = [
        name
        for name in dict.fromkeys(name for record in records["train"] for name in record)
        if name not in _NOT_METRICS
        and (not records["eval"] or records["eval"][0].get(name) is not None)
    ]
    width = -(-len(records["train"]) // POINTS)
    return Curve(_lists(records["train"], names, width), _lists(records["eval"], names, 1))


def _lists(records: list[dict], names: list[str], width: int) -> dict[str, list[float]]:
    """Returns lists of steps and metrics, averaged over `width` records each."""
    # Records of batches without weight have no metrics, and some metrics are undefined.
    records = [one for one in records if all(one.get(name) is not None for name in names)]
    parts = [records[k : k + width] for k in range(0, len(records), width)]
    if not parts:
        return {}
    return {"step": [part[-1]["step"] for part in parts]} | {
        name: [float(f"{statistics.mean(r[name] for r in part):.6g}") for part in parts]
        for name in names
    }
