"""A run that is killed and started again ends with the bits of one that was not."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from modelzoo.training import checkpoint, run_folder

CONFIG = '''
"""Everything that has a state: dropout, augmentation, momentum, averages, batch statistics."""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, Image, digits
from modelzoo.models import CNN, ResNet
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config():
    return Experiment(
        model={model},
        task=Classification(),
        data=digits(inputs=Image(augment=Augment(crop_padding=1, flip=True))),
        optimizer=AdamW(0.01, schedule=Cosine(warmup=5)),
        train=TrainConfig(
            steps=60,
            batch_size=32,
            steps_per_loop=2,
            ema_decay=0.9,
            precision="{precision}",
            log_every=2,
            checkpoint_every=6,
        ),
        eval=EvalConfig(every=20, best_metric="accuracy"),
        seed=3,
    )
'''


# `modelzoo train`, killed in a call of a function that is given a file: module, function, file.
KILLED = """
import os, shutil, signal, sys
from modelzoo.cli.main import dispatch

module, function, file, *words = sys.argv[1:]
original = getattr(sys.modules[module], function)


def deadly(*args, **kwargs):
    if any(str(argument).endswith(file) for argument in args):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)


setattr(sys.modules[module], function, deadly)
sys.exit(dispatch(["train", *words]))
"""


@pytest.fixture
def start(tmp_path):
    """Starts training in a folder: `start(name, *flags, killed=(module, function, file))`."""

    def start(name, *flags, killed=None):
        command = ["-c", KILLED, *killed] if killed else ["-m", "modelzoo.cli.train"]
        words = [f"--config={tmp_path / 'config.py'}", f"--workdir={tmp_path / name}"]
        return subprocess.Popen(
            [sys.executable, *command, *words, *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def write_config(folder, model, precision="float32"):
    (folder / "config.py").write_text(CONFIG.format(model=model, precision=precision))


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


def finished(process):
    """The output of a run that must succeed."""
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


def assert_same_run(whole, cut):
    """The same bits, scores and records: what was logged is logged once, whatever a kill tore."""
    arrays = [checkpoint.read(checkpoint.find(folder, "last")) for folder in (whole, cut)]
    assert arrays[0].keys() == arrays[1].keys()
    for name in arrays[0]:
        np.testing.assert_array_equal(arrays[0][name], arrays[1][name], err_msg=name)
    assert checkpoint.steps(whole) == checkpoint.steps(cut)
    assert not list(checkpoint.folder(cut).glob("*.partial"))
    results = [run_folder.read_json(folder / "result.json") for folder in (whole, cut)]
    assert results[0]["eval"] == results[1]["eval"]
    evals = [
        [record for record in run_folder.read_records(folder) if record["kind"] == "eval"]
        for folder in (whole, cut)
    ]
    assert evals[0] == evals[1]
    steps = [r["step"] for r in run_folder.read_records(cut) if r["kind"] == "train"]
    assert steps == list(range(2, 61, 2))


def test_killed_at_random_moments(tmp_path, start):
    # On two replicas, each with masks of its own.
    write_config(tmp_path, "CNN(filters=(4,), dense=(16,), dropout=0.3)")
    whole = start("whole", "--devices=cpu:2")
    moments = random.Random(os.urandom(8))
    lines = [moments.randint(4, 9) for _ in range(3)]
    for line in lines:
        process = start("cut", "--devices=cpu:2")
        out, code = interrupt_at(process, line, signal.SIGKILL)
        assert code == -signal.SIGKILL, (lines, out)
    out = finished(start("cut", "--devices=cpu:2"))
    assert "2 replica(s)" in out
    assert "resumed at step" in out
    finished(whole)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_killed_at_the_most_dangerous_moments(tmp_path, start):
    write_config(tmp_path, "ResNet(depth=8, width=4)", "bfloat16")
    whole = start("whole")
    # Checkpoints are written every 6 steps and at the evaluations of 20 and 40; three are kept.
    moments = {
        # A checkpoint is written but not yet in its place: it does not count.
        ("os", "rename", "/00000018"): "from scratch",
        # One more than is kept, after step 24: it goes later.
        ("shutil", "rmtree", "/00000012"): "resumed at step 12",
        # Trained, and no result yet.
        ("os", "replace", "/result.json"): "resumed at step 24",
    }
    for moment, started in moments.items():
        process = start("cut", killed=moment)
        out, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, out
        assert started in out, (moment, out)
        assert not (tmp_path / "cut" / "result.json").exists()
    assert "resumed at step 60" in finished(start("cut"))
    finished(whole)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_stopping_saves_and_says_how_to_go_on(tmp_path, start):
    write_config(tmp_path, "CNN(filters=(4,))")
    seldom, before = "--config.train.checkpoint_every=1000", 0
    for number in (signal.SIGINT, signal.SIGTERM):
        out, code = interrupt_at(start("run", seldom), 4, number)
        assert code == 128 + number
        assert "resume with the same command" in out
        assert (f"resumed at step {before}" if before else "from scratch") in out
        step = checkpoint.steps(tmp_path / "run")[-1]
        assert before + 8 <= step < 60
        assert f"saved at step {step}" in out
        before = step
    assert f"resumed at step {before}" in finished(start("run", seldom))
