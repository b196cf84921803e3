"""The command `predict`."""

import json
import shutil

import pytest
from PIL import Image

from modelzoo.cli import predict
from modelzoo.cli.main import run
from modelzoo.inference.predictor import Predictor


def _predict(capsys, *words):
    code = run(predict, list(words))
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_files_and_folders_become_json_lines(image_run, tmp_path, capsys):
    folder = tmp_path / "images"
    shutil.copytree(image_run.data_dir / "test", folder)
    (folder / "notes.txt").write_text("no image, by its name")
    (folder / ".hidden.png").write_text("no image either")
    single = image_run.data_dir / "train" / "ant" / "0.png"
    shutil.copy(single, tmp_path / "no_suffix")
    files = [str(tmp_path / "no_suffix"), *sorted(map(str, folder.rglob("*/[0-9].*")))]
    assert len(files) == 13
    for words in ([], ["--batch_size=5"]):
        code, lines, _ = _predict(
            capsys,
            f"--workdir={image_run.workdir}",
            *words,
            str(tmp_path / "no_suffix"),
            str(folder),
        )
        assert code == 0
        assert [line["file"] for line in lines] == files
        expected = Predictor.from_workdir(image_run.workdir).predict_files(files)
        for line, prediction in zip(lines, expected, strict=True):
            assert line["class"] == prediction.class_name
            assert line["probability"] == pytest.approx(prediction.probability, abs=1e-6)
            assert line.keys() == {"file", "class", "probability"}


def test_an_exported_folder_predicts_alone(image_run, tmp_path, capsys):
    Predictor.from_workdir(image_run.workdir).export(tmp_path)
    images = str(image_run.data_dir)
    _, expected, _ = _predict(capsys, f"--workdir={image_run.workdir}", images)
    for word in ("--model={}", "--model={}/1", "--workdir={}", "--workdir={}/1"):
        code, lines, _ = _predict(capsys, word.format(tmp_path), images)
        assert code == 0
        assert [(line["file"], line["class"]) for line in lines] == [
            (line["file"], line["class"]) for line in expected
        ]


def test_top_gives_the_best_classes_first(image_run, capsys):
    words = [f"--workdir={image_run.workdir}", str(image_run.data_dir / "test")]
    for top in (2, 10):
        _, lines, _ = _predict(capsys, *words, f"--top={top}")
        for line in lines:
            best = line["top"]
            probabilities = [item["probability"] for item in best]
            assert len(best) == min(top, 3)
            assert probabilities == sorted(probabilities, reverse=True)
            assert best[0] == {"class": line["class"], "probability": line["probability"]}
    # All three of them: a whole distribution.
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert {item["class"] for item in best} == set(image_run.bound.target.names)


def test_a_broken_file_is_named_and_the_others_are_predicted(image_run, tmp_path, capsys):
    folder = tmp_path / "images"
    shutil.copytree(image_run.data_dir / "test", folder)
    (folder / "ant" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    Image.new("P", (9, 9)).save(folder / "bee" / "palette.bmp")
    code, lines, err = _predict(capsys, f"--workdir={image_run.workdir}", str(folder))
    assert code == 1
    assert len(lines) == 12
    assert err.splitlines()[0].startswith(str(folder / "ant" / "torn.jpg") + ": ")
    assert err.splitlines()[1:] == [
        f"{folder / 'bee' / 'palette.bmp'}: is a BMP with a colour palette",
        "2 of 14 examples could not be predicted",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the files"),
        (["absent.png"], "the file or folder absent.png does not exist"),
        (["{tmp}"], "has no file that ends in .png, .jpg"),
        (["--config.task.class_weights=1,2,3", "{image}"], "cannot change after training"),
        (["--weights=ema", "--model=x", "{image}"], "either --workdir"),
        (["--checkpoint=7", "{image}"], "no checkpoint of step 7"),
    ],
)
def test_mistakes_are_one_line(image_run, tmp_path, capsys, words, message):
    image = image_run.data_dir / "test" / "ant" / "0.png"
    words = [word.format(tmp=tmp_path, image=image) for word in words]
    code, lines, err = _predict(capsys, f"--workdir={image_run.workdir}", *words)
    assert (code, lines) == (1, [])
    assert message in err
    assert err.count("\n") == 1
