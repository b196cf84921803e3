"""A run that is killed and started again ends with the bits of one that was not."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from modelzoo.train import checkpoint, run_folder

CONFIG = '''
"""Everything that has a state: dropout, augmentation, momentum, averages, moving statistics."""



from modelzoo.config import Experiment
from modelzoo.data.augment import Augment
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.models.cnn import CNN
from modelzoo.models.resnet import ResNet
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.train.optimizer import AdamW
from modelzoo.train.schedule import Cosine
from modelzoo.train.settings import Evaluation, Train


def get_config():
    return Experiment(
        model={model},
        task=ImageClassification(augment=Augment(crop_padding=1, flip=True)),
        data=TfdsImages("digits", validation_split="validation"),
        optimizer=AdamW(0.01, schedule=Cosine(warmup=5)),
        train=Train(
            steps=60,
            batch_size=32,
            steps_per_loop=2,
            ema_decay=0.9,
            precision="{precision}",
            log_every=2,
            checkpoint_every=6,
        ),
        eval=Evaluation(every=20, best_metric="accuracy"),
        seed=3,
    )
'''


def start(config, workdir, *flags):
    command = [sys.executable, "-m", "modelzoo.cli.train", f"--config={config}"]
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def interrupt_at(process, line_number, signal_number):
    """Sends the signal when the run has printed so many lines of progress; its output and code."""
    lines, seen = [], 0
    for line in process.stdout:
        lines.append(line)
        seen += line.startswith("step ")
        if seen == line_number:
            process.send_signal(signal_number)
            break
    rest, _ = process.communicate()
    return "".join(lines) + rest, process.returncode


def arrays_of(workdir):
    return checkpoint.read(checkpoint.find(workdir, "last"))


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    "model, precision, kills",
    [
        ("CNN(filters=(4,), dense=(16,), dropout=0.3)", "float32", 3),
        ("ResNet(depth=8, width=4)", "bfloat16", 1),
    ],
    ids=["cnn", "resnet"],
)
def test_killed_at_random_moments(tmp_path, digits_dir, model, precision, kills):
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(model=model, precision=precision))
    data = f"--config.data.data_dir={digits_dir}"
    whole = start(config, tmp_path / "whole", data)
    moments = random.Random(os.urandom(8))
    lines = [moments.randint(4, 9) for _ in range(kills)]
    for line in lines:
        out, code = interrupt_at(start(config, tmp_path / "cut", data), line, signal.SIGKILL)
        assert code == -signal.SIGKILL, (lines, out)
    last = start(config, tmp_path / "cut", data)
    out, _ = last.communicate()
    assert last.returncode == 0, out
    assert "resumed at step" in out
    out, _ = whole.communicate()
    assert whole.returncode == 0, out
    assert_same_bits(arrays_of(tmp_path / "whole"), arrays_of(tmp_path / "cut"))
    results = [run_folder.read_json(tmp_path / name / "result.json") for name in ("whole", "cut")]
    assert results[0]["eval"] == results[1]["eval"]
    # What was logged is logged once, whatever the kills tore or repeated.
    evals = [
        [r for r in run_folder.records(tmp_path / name) if r["kind"] == "eval"]
        for name in ("whole", "cut")
    ]
    assert evals[0] == evals[1]
    steps = [r["step"] for r in run_folder.records(tmp_path / "cut") if r["kind"] == "train"]
    assert steps == list(range(2, 61, 2))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_saves_and_says_how_to_go_on(tmp_path, digits_dir, number):
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(model="CNN(filters=(4,))", precision="float32"))
    flags = [f"--config.data.data_dir={digits_dir}", "--config.train.checkpoint_every=1000"]
    out, code = interrupt_at(start(config, tmp_path / "run", *flags), 4, number)
    assert code == 128 + number
    assert "go on with the same command" in out
    step = checkpoint.steps(tmp_path / "run")[-1]
    assert 8 <= step < 60
    assert f"saved at step {step}" in out
    again = start(config, tmp_path / "run", *flags)
    out, _ = again.communicate()
    assert again.returncode == 0, out
    assert f"resumed at step {step}" in out
