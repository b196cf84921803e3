"""Printed commands are copied to a shell: each name stays one word, whatever it contains."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from modelzoo import configs
from modelzoo.cli import export, main, train
from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts
from modelzoo.training import run_folder

NAMES = ["plain", "my run", "it's", 'quo"te', "größe 猫", "-dash", "a$HOME;ls", "st*r (1)", "a  b"]


def words_of(command):
    """The words of a command after its program, as a shell passes them on."""
    rest = command.partition(" ")[2]
    # Placeholders are not for the shell.
    rest = re.sub(r" [A-Z_]+ \.\.\.|  \(.*\)$", "", rest)
    printed = subprocess.check_output(["sh", "-c", f"printf '%s\\0' {rest}"], text=True)
    return printed.split("\0")[:-1]


@pytest.fixture(params=NAMES)
def name(request, tmp_path, monkeypatch):
    """The name of a folder in the working directory."""
    monkeypatch.chdir(tmp_path)
    os.mkdir(request.param)
    return request.param


def trained(monkeypatch, capsys, name, *words):
    """Commands that `train` prints, by their description."""
    result = {"eval": {"test": {}}}
    monkeypatch.setattr("modelzoo.runs.train.train", lambda *args, **kwargs: result)
    assert main.run(train, ["--config=digits_cnn", f"--workdir={name}", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines if line)


def test_commands_after_training(name, tmp_path, monkeypatch, capsys):
    shown = trained(monkeypatch, capsys, name)
    model = name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else "model"
    assert {key: words_of(command) for key, command in shown.items() if key != "metrics"} == {
        "curves": [f"--logdir={name}/tensorboard"],
        "evaluate": ["evaluate", f"--workdir={name}", "--split=test"],
        "predict": ["predict", f"--workdir={name}"],
        "export": ["export", f"--workdir={name}", f"--export_dir={name}/export"],
        "serve": [
            "--rest_api_port=8501",
            f"--model_name={model}",
            f"--model_base_path={tmp_path / name}/export",
        ],
    }
    assert words_of(f"cat {shown['metrics']}") == [f"{name}/result.json"]
    shown = trained(monkeypatch, capsys, name, "--folds=2")
    assert words_of(shown["evaluate a fold"])[1] == f"--workdir={name}/fold1"
    assert words_of(shown["predict with a fold"])[1] == f"--workdir={name}/fold1"
    served = export.serving_command(Path(name), "model")
    assert words_of(served)[-1] == f"--model_base_path={tmp_path / name}"


def test_advice_about_folders(name, tmp_path):
    folder = Path(name)
    for path in ("config.json", "assets/data.json"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    data = configs.get("digits_cnn").data
    calls = {
        lambda: artifacts.check_export_dir(folder, data): tmp_path / name / "export",
        lambda: artifacts.read_run("."): name,
        lambda: artifacts.read_run(folder / "assets"): tmp_path / name,
    }
    (tmp_path / "folds" / name / "fold1").mkdir(parents=True)
    folds = tmp_path / "folds" / name
    calls[lambda: run_folder.check_no_folds(folds)] = folds / "fold1"
    for call, advised in calls.items():
        with pytest.raises(UserError) as error:
            call()
        advice = re.split(r" use (?:the folder of one, such as )?", str(error.value))[-1]
        assert words_of(f"ls {advice.removesuffix(', or continue training with --folds')}") == [
            str(advised)
        ]
    with pytest.raises(UserError, match="it is the folder of a run, use ") as error:
        artifacts.read_export(folder)
    assert words_of(f"x {str(error.value).rpartition(' use ')[2]}") == [f"--workdir={name}"]


def test_an_unexpected_word_may_be_the_value_of_a_flag(name, capsys):
    words = ["--", name] if name.startswith("-") else [name]
    assert main.run(train, words) == 2
    advice = re.search(r"did you mean (.*)\?$", capsys.readouterr().err.strip())[1]
    assert words_of(f"x {advice}") == [f"--config={name}"]
