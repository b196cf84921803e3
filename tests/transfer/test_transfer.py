"""From a net pre-trained on ten classes to one of three, its stem frozen."""

import shutil

import numpy as np
import pytest
import runs
from runs import change, train

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig, UserError
from modelzoo.data import Image
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification
from modelzoo.training import checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `ten`, a run on ten classes, and `three.npz`."""
    root = tmp_path_factory.mktemp("transfer")
    for name, classes in (("ten", 10), ("three", 3)):
        sizes = {"train": 60, "test": 30}
        runs.stripes(root / f"{name}.npz", sizes, classes, side=10)
    scaled = experiment_on(root, "ten")
    data = runs.image_archive(root / "ten.npz", inputs=Image(mean=(0.2,), std=(0.3,)))
    train(change(scaled, data=data), root / "ten")
    return root


def experiment_on(root, name, **fields):
    return Experiment(
        model=ResNet(depth=8, width=4),
        task=Classification(),
        data=runs.image_archive(root / f"{name}.npz"),
        optimizer=SGD(0.1, momentum=0.9),
        train=TrainConfig(steps=20, batch_size=20, checkpoint_every=10, ema_decay=0.9, **fields),
        eval=EvalConfig(every=None),
        seed=1,
    )


@pytest.fixture
def fine_tuning(place):
    return experiment_on(
        place,
        "three",
        init_from=str(place / "ten"),
        init_skip=("logits",),
        freeze=("^stem", "stage[12]"),
    )


@pytest.mark.field("TrainConfig.init_skip")
def test_fine_tuning(place, fine_tuning, tmp_path):
    result, out = train(fine_tuning, tmp_path / "whole")
    taken = checkpoint.select_weights(checkpoint.read(checkpoint.find(place / "ten")), "ema")
    new = checkpoint.select_weights(checkpoint.read(checkpoint.find(tmp_path / "whole")), "raw")
    frozen = [path for path in new if path.startswith(("stem", "stage1", "stage2"))]
    assert taken.keys() == new.keys()
    for path in new:
        same = taken[path].shape == new[path].shape and np.array_equal(taken[path], new[path])
        assert same == (path in frozen), path
    assert new["logits/kernel"].shape == (16, 3)
    learned = sum(v.size for p, v in new.items() if "moving" not in p)
    still = sum(new[p].size for p in frozen if "moving" not in p)
    assert result["parameters"] == learned
    assert f"{learned:,} parameters, {still:,} of them frozen" in out
    assert result["eval"]["test"]["accuracy"] > 0.8
    # The images are normalized as those of the initial weights, from training to the export.
    assert "mean and std of config.data.inputs are those of the initial weights, 0.2 and 0.3" in out
    predictor = modelzoo.load(tmp_path / "whole")
    assert predictor.task.data.inputs[""].config == Image(mean=(0.2,), std=(0.3,))
    evaluated = modelzoo.evaluate(tmp_path / "whole")
    assert evaluated["loss"] == pytest.approx(result["eval"]["test"]["loss"], rel=1e-5)
    # Resumed, it ends with the same bits.
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(checkpoint.find(tmp_path / "cut", 20))
    again, out = train(fine_tuning, tmp_path / "cut")
    assert "resumed at step 10" in out and "initial weights" not in out
    assert again["eval"] == result["eval"]
    a, b = (checkpoint.read(checkpoint.find(tmp_path / name)) for name in ("whole", "cut"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"init_skip": ()},
            r"another model: its 'logits/kernel' is \(16, 10\), the run's is \(16, 3\); "
            "config.train.init_skip=logits skips what does not fit",
        ),
        ({"init_skip": ("logits/b",)}, r"'logits/kernel' is"),
        ({"init_skip": ("logits", "head")}, "init_skip: 'head' matches no variable"),
        ({"init_skip": ("",)}, "init_skip= skips all weights"),
        ({"freeze": ("stem", "steam")}, "freeze: 'steam' matches no variable; .*stem_conv"),
        ({"freeze": (".",)}, r"freeze=. leaves nothing to train"),
    ],
)
def test_mistakes_are_one_line(fine_tuning, tmp_path, fields, message):
    with pytest.raises(UserError, match=message) as error:
        train(change(fine_tuning, train=fields), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_weight_that_one_side_lacks_is_named(fine_tuning, tmp_path):
    deeper = change(fine_tuning, model=ResNet(depth=14, width=4), train={"freeze": ()})
    with pytest.raises(
        UserError, match="its 'stage1_block2_1_conv/kernel' is missing, the run's is"
    ):
        train(deeper, tmp_path / "run")


def test_patterns_must_be_regular_expressions():
    with pytest.raises(ValueError, match=r"^freeze must hold regular expressions, got '\('"):
        TrainConfig(freeze=("(",))
    with pytest.raises(ValueError, match="^init_skip needs init_from, got"):
        TrainConfig(init_skip=("logits",))
