"""The command `export`; tests/cli/test_evaluate.py compares what it writes with `evaluate`."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.cli import export
from modelzoo.cli.main import run
from modelzoo.inference.predictor import Predictor


def test_prints_the_folder_the_signatures_and_how_to_serve(image_run, tmp_path, capsys):
    target = tmp_path / "my models"
    for version in ("1", "2"):
        assert run(export, [f"--workdir={image_run.workdir}", f"--export_dir={target}"]) == 0
        out = capsys.readouterr().out
        assert f"to {target / version}\n" in out
    assert "serving_default: images: uint8 [n, 12, 16, 3] -> " in out
    assert "image_bytes: encoded: string [n] -> " in out
    assert "scores: float32 [n, 3]" in out
    assert "tensorflow_model_server" in out
    assert f"--model_name=run --model_base_path='{target}'" in out
    assert set(tf.saved_model.load(str(target / "2")).signatures) == {
        "serving_default",
        "image_bytes",
    }


@pytest.mark.parametrize(
    ("words", "chosen"),
    [([], {}), (["--checkpoint=20", "--weights=raw"], {"checkpoint": 20, "weights": "raw"})],
)
def test_the_chosen_weights_go_into_the_runs_export_folder(
    image_run, tmp_path, capsys, words, chosen
):
    shutil.copytree(image_run.workdir, tmp_path / "run")
    assert run(export, [f"--workdir={tmp_path / 'run'}", *words]) == 0
    images = {"image": np.random.default_rng(2).integers(0, 256, (3, 12, 16, 3), np.uint8)}
    expected = Predictor.from_workdir(image_run.workdir, **chosen).outputs(images)
    got = Predictor.from_export(tmp_path / "run" / "export" / "1").outputs(images)
    np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workdir={tmp}"], "not a run folder"),
        (["--workdir={run}", "--checkpoint=first"], "'last', 'best', 'mean:N' or a step"),
        (["--workdir={run}", "--export_dir={run}/config.json"], "cannot write the export"),
    ],
)
def test_mistakes_are_one_line(image_run, tmp_path, capsys, words, message):
    words = [word.format(tmp=tmp_path, run=image_run.workdir) for word in words]
    assert run(export, words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
