"""Learning curves: a run's metrics over its steps, as numbers and as a picture."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelzoo.fields.errors import UserError
from modelzoo.measure import plot
from modelzoo.training import run_folder

POINTS = 200
# Fields of a train record that are no metrics.
_OWN = {"step", "kind", "learning_rate", "grad_norm", "examples_per_sec", "data_wait", "epoch"}


@dataclasses.dataclass(frozen=True)
class Curve:
    """The metrics of training batches and of the validation split.

    train, eval: `step` and one list per metric, all of equal length. A notebook shows the picture.
    """

    train: Mapping[str, Sequence[float]]
    eval: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)

    def svg(self, title: str = "") -> str:
        """The picture: one panel per metric, with lines for training and validation."""
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
        """What Jupyter shows."""
        return self.svg()


def curve(workdir: str | Path) -> Curve:
    """The learning curve of a run's folder, finished or not.

    Neighboring train records are averaged so that at most 200 points remain, each at its last step.

    Raises:
        UserError: the folder has no record of training.
    """
    workdir = Path(workdir).expanduser()
    run_folder.check_no_folds(workdir)
    found: dict[str, list] = {"train": [], "eval": []}
    if (workdir / "metrics.jsonl").is_file():
        for record in run_folder.records(workdir):
            found[record["kind"]].append(record)
    if not found["train"]:
        raise UserError(f"{workdir} has no record of training: train there first")
    names = [
        name
        for name in dict.fromkeys(name for record in found["train"] for name in record)
        if name not in _OWN and (not found["eval"] or name in found["eval"][0])
    ]
    width = -(-len(found["train"]) // POINTS)
    return Curve(_lists(found["train"], names, width), _lists(found["eval"], names, 1))


def _lists(records: list[dict], names: list[str], width: int) -> dict[str, list[float]]:
    """Steps and metrics of the records, averaged over `width` of them; empty without records."""
    # Batches without any weight have no metrics.
    records = [record for record in records if all(name in record for name in names)]
    parts = [records[k : k + width] for k in range(0, len(records), width)]
    if not parts:
        return {}
    return {"step": [part[-1]["step"] for part in parts]} | {
        name: [float(f"{statistics.mean(r[name] for r in part):.6g}") for part in parts]
        for name in names
    }
