import json

import pytest

import modelzoo
from modelzoo.fields.errors import UserError
from modelzoo.training.curve import POINTS, Curve


def write(folder, records):
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def train(step, **values):
    return {"step": step, "kind": "train", "learning_rate": 0.1, "grad_norm": 2.0, **values}


def test_the_scores_that_training_and_validation_share(tmp_path):
    records = [
        train(10, loss=2.0, accuracy=0.5, loss_scale=8.0, epoch=0.1),
        train(20),  # No example with a weight.
        {"step": 20, "kind": "eval", "loss": 1.5, "accuracy": 0.6, "macro_f1": 0.4},
        train(30, loss=1.0, accuracy=0.75, loss_scale=8.0, epoch=0.3),
    ]
    run = write(tmp_path / "run", records)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "kind": "tra')  # A run that was killed, or goes on.
    expected = Curve(
        train={"step": [10, 30], "loss": [2.0, 1.0], "accuracy": [0.5, 0.75]},
        eval={"step": [20], "loss": [1.5], "accuracy": [0.6]},
    )
    assert modelzoo.curve(run) == expected
    assert modelzoo.curve(str(run)) == expected
    picture = expected._repr_svg_()
    assert picture.count("<polyline") == 4
    assert all(f">{word}</text>" in picture for word in ("step", "loss", "accuracy", "validation"))


def test_many_records_are_averaged_and_the_last_step_stays(tmp_path):
    count = 2 * POINTS + 3
    run = write(tmp_path, [train(k + 1, loss=float(k % 3)) for k in range(count)])
    lists = modelzoo.curve(run).train
    assert len(lists["step"]) == len(lists["loss"]) <= POINTS
    assert lists["step"][:2] == [3, 6] and lists["step"][-1] == count
    assert lists["loss"][:-1] == [1.0] * (len(lists["loss"]) - 1)
    assert modelzoo.curve(run).eval == {}
    assert "validation" not in modelzoo.curve(run).svg()


def test_a_folder_without_records_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no records of training"):
        modelzoo.curve(tmp_path)
