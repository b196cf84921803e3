"""One predictor over checkpoints and exported folders."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.fields.errors import UserError
from modelzoo.inference.predictor import Predictor, open_model
from modelzoo.training import checkpoint


def _softmax(logits):
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def _images(n=3):
    return np.random.default_rng(1).integers(0, 256, (n, 12, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def exported(image_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    Predictor.from_workdir(image_run.workdir).export(folder)
    return folder


@pytest.mark.parametrize(
    ("chosen", "step", "kind"),
    [
        ({}, 10, "ema"),
        ({"checkpoint": "last"}, 20, "ema"),
        ({"checkpoint": "best", "weights": "raw"}, 10, "model"),
        ({"checkpoint": 20, "weights": "raw"}, 20, "model"),
    ],
)
def test_computes_with_the_chosen_weights_in_float32(image_run, chosen, step, kind):
    # The run trains in bfloat16, and whatever policy is set here does not matter either.
    keras.config.set_dtype_policy("mixed_bfloat16")
    predictor = Predictor.from_workdir(image_run.workdir, **chosen)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    keras.config.set_dtype_policy("float32")
    model = image_run.experiment.task.bind(image_run.bound).build_model(image_run.experiment.model)
    arrays = checkpoint.read(checkpoint.folder(image_run.workdir) / f"{step:08d}")
    for variable in model.weights:
        variable.assign(arrays[f"{kind}/{variable.path}"])
    images = _images()
    mean, std = np.array((0.4, 0.5, 0.6)), np.array((0.2, 0.2, 0.3))
    expected = _softmax(model({"image": ((images / 255 - mean) / std).astype(np.float32)}).numpy())
    outputs = predictor.outputs({"image": images})
    np.testing.assert_allclose(outputs["scores"], expected, atol=1e-5)
    names = [image_run.bound.target.names[i] for i in expected.argmax(axis=-1)]
    assert outputs["classes"].tolist() == names
    assert f"step {step} " in predictor.origin


def test_weights_are_raw_where_the_run_keeps_no_average(image_run, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(image_run.workdir, workdir)
    arrays = checkpoint.read(checkpoint.find(workdir, 10))
    raw = {name: value for name, value in arrays.items() if name.startswith("model/")}
    checkpoint.write(workdir, raw, checkpoint.Meta(step=30, examples=0))
    predictor = Predictor.from_workdir(workdir, 30)
    assert "raw weights" in predictor.origin
    with pytest.raises(UserError, match=r"00000030 has no moving average .*--weights=raw$"):
        Predictor.from_workdir(workdir, 30, "ema")
    images = {"image": _images()}
    expected = Predictor.from_workdir(workdir, 10, "raw").outputs(images)["scores"]
    np.testing.assert_array_equal(predictor.outputs(images)["scores"], expected)


@pytest.mark.parametrize("weights, kind", [("ema", "ema"), ("raw", "model")])
def test_only_the_chosen_weights_are_read(image_run, tmp_path, weights, kind):
    workdir = tmp_path / "run"
    shutil.copytree(image_run.workdir, workdir)
    file = checkpoint.find(workdir, 10) / "state.npz"
    arrays = checkpoint.read(file.parent)
    arrays |= {f"optimizer/{name}": value for name, value in arrays.items()}
    np.savez(file, **arrays)
    damaged = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename.startswith(kind + "/"):
                # The last byte of the array, which its checksum then does not fit.
                damaged[info.header_offset + 30 + len(info.filename) + info.file_size - 1] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.read(file.parent)
    images = {"image": _images()}
    expected = Predictor.from_workdir(image_run.workdir, 10, weights).outputs(images)["scores"]
    got = Predictor.from_workdir(workdir, 10, weights).outputs(images)["scores"]
    np.testing.assert_array_equal(got, expected)


def test_an_export_answers_as_its_checkpoint_does(image_run, exported):
    files = sorted(image_run.data_dir.rglob("*.*g"))
    raw = {"image": _images()}
    encoded = {"encoded": [file.read_bytes() for file in files]}
    run = modelzoo.load(image_run.workdir)
    for folder in (exported, exported / "1"):
        loaded = modelzoo.load(folder)
        assert loaded.model is None
        assert loaded.task.data == run.task.data
        assert loaded.experiment == run.experiment
        for batch in (raw, encoded):
            expected, got = run.outputs(batch), loaded.outputs(batch)
            np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-6)
            assert got["classes"].tolist() == expected["classes"].tolist()


def test_the_newest_version_of_an_export_is_taken(image_run, tmp_path):
    Predictor.from_workdir(image_run.workdir, 10).export(tmp_path, version=9)
    Predictor.from_workdir(image_run.workdir, 20).export(tmp_path, version=10)
    raw = {"image": _images()}
    expected = Predictor.from_workdir(image_run.workdir, 20).outputs(raw)["scores"]
    got = Predictor.from_export(tmp_path).outputs(raw)["scores"]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_files_are_predicted_in_order_and_broken_ones_named(image_run, exported, tmp_path):
    good = sorted(image_run.data_dir.rglob("*.*g"))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "torn.png").write_bytes(good[0].read_bytes()[:-30])
    broken = [tmp_path / name for name in ("text.png", "missing.png", "empty.jpg", "torn.png")]
    paths = [*good[:3], *broken[:2], *good[3:], *broken[2:]]
    for predictor in (modelzoo.load(image_run.workdir), modelzoo.load(exported)):
        expected = predictor.outputs({"encoded": [path.read_bytes() for path in good]})
        for batch_size in (1, 4, 100):
            results = list(predictor.predict_files(paths, batch_size))
            assert [result.name for result in results] == [str(path) for path in paths]
            failed = [result for result in results if result.error is not None]
            assert [result.name for result in failed] == [str(path) for path in broken]
            assert all(len(f.error) > 3 and "\n" not in f.error for f in failed)
            right = [result for result in results if result.error is None]
            scores = np.stack([result.scores for result in right])
            np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)
            assert [r.class_name for r in right] == expected["classes"].tolist()
            assert [r.probability for r in right] == scores.max(axis=1).tolist()


def test_files_are_read_when_their_batch_is_due(image_run):
    read = []

    def paths():
        for file in sorted(image_run.data_dir.rglob("*.png")):
            read.append(file)
            yield file

    predictions = modelzoo.load(image_run.workdir).predict_files(paths(), batch_size=2)
    next(predictions)
    assert len(read) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, tmp: modelzoo.load(tmp), "not a run folder"),
        (lambda run, tmp: modelzoo.load(tmp / "absent"), "no folder and no trained model"),
        (lambda run, tmp: Predictor.from_export(run), "no exported model"),
        (
            lambda run, tmp: Predictor.from_workdir(run, "newest"),
            "'last', 'best', 'mean:N' or a step",
        ),
        (lambda run, tmp: Predictor.from_workdir(run, 15), "no checkpoint of step 15"),
        (lambda run, tmp: open_model(None, None), "either --workdir"),
        (lambda run, tmp: open_model(str(run), str(tmp)), "either --workdir"),
        (lambda run, tmp: open_model(None, "digits_resnet", "last"), "--checkpoint"),
    ],
)
def test_mistakes_are_one_line(image_run, tmp_path, call, message):
    with pytest.raises(UserError, match=message) as error:
        call(image_run.workdir, tmp_path)
    assert "\n" not in str(error.value)


def test_a_damaged_folder_is_one_line(image_run, exported, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(image_run.workdir, run)
    (run / "assets" / "data.json").write_text(json.dumps({"height": 3}))
    with pytest.raises(UserError, match=r"data\.json"):
        modelzoo.load(run)
    (run / "config.json").write_text('{"type": "mode')
    with pytest.raises(UserError, match=r"config\.json"):
        modelzoo.load(run)
    shutil.copytree(exported, tmp_path / "export")
    (tmp_path / "export" / "1" / "saved_model.pb").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot load the SavedModel"):
        modelzoo.load(tmp_path / "export")
