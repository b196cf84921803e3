"""Which config fields may change after training, for a run and for an exported graph."""

import re

import pytest
from pairs import TINY

from modelzoo import Experiment
from modelzoo.data import ClassLabel, Dataset, Image, Series, Table, Tags, Text, TextTarget
from modelzoo.fields.errors import UserError
from modelzoo.inference.overrides import check_overrides
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification, Tagging, TextToText


def experiment(task, inputs, target, model=None):
    data = Dataset(source=Table("a.csv"), inputs=inputs, target=target)
    return Experiment(model=model or CNN(), task=task, data=data, optimizer=SGD())


IMAGES = experiment(Classification(), Image(), ClassLabel())
PAIRS = experiment(TextToText(), Text(), TextTarget(), TINY)
NAMED = experiment(Tagging(), {"photo": Image(), "waves": Series()}, Tags(separator=";"))


@pytest.mark.parametrize(
    ("trained", "key", "exported_too"),
    [
        (IMAGES, "data.source.path", True),
        (IMAGES, "data.source", True),
        (IMAGES, "data.test_split", True),
        (IMAGES, "data.on_bad", True),
        (IMAGES, "data.inputs.columns", True),
        (IMAGES, "data.target.columns", True),
        (IMAGES, "eval.batch_size", True),
        (IMAGES, "data.inputs.test_views", False),
        (NAMED, "data.inputs.photo.test_views", False),
        (NAMED, "data.inputs.waves.columns", True),
        (NAMED, "task.threshold", False),
        (PAIRS, "task.decoding.beams", False),
        (PAIRS, "task.metrics", True),
    ],
)
def test_what_was_not_learned_may_change(trained, key, exported_too):
    check_overrides([(key, "x")], trained)
    if exported_too:
        check_overrides([(key, "x")], trained, exported=True)
    else:
        message = f"^--config.{key} is part of an exported graph: export the run again with it$"
        with pytest.raises(UserError, match=message):
            check_overrides([(key, "x")], trained, exported=True)


@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize(
    ("trained", "key", "reason"),
    [
        (IMAGES, "data.fold", "use the run of that fold, such as --workdir=RUN/fold2"),
        (
            IMAGES,
            "data.inputs.size",
            "the run's own is used; of Image only test_views, max_pixels can",
        ),
        (IMAGES, "data.inputs.mean", "of Image only test_views, max_pixels can"),
        (IMAGES, "data.inputs.augment.flip", "of Image only test_views, max_pixels can"),
        (IMAGES, "data.inputs", "of Image only test_views, max_pixels can"),
        (IMAGES, "data.target", "train again to change it"),
        (IMAGES, "task.label_smoothing", "train again to change it"),
        (PAIRS, "data.inputs.vocabulary", "train again to change it"),
        (PAIRS, "data.inputs.tokenizer.size", "train again to change it"),
        (PAIRS, "data.target.lengths", "train again to change it"),
        (PAIRS, "task.label_smoothing", "of TextToText only decoding, metrics, bleu_tokenizer can"),
        (NAMED, "data.inputs.photo.size", "of Image only test_views, max_pixels can"),
        (NAMED, "data.inputs.waves.length", "train again to change it"),
        (NAMED, "data.target.separator", "train again to change it"),
        (
            IMAGES,
            "data",
            "config.eval.batch_size and config.distribute.* can",
        ),
        (
            IMAGES,
            "model.filters",
            "config.eval.batch_size and config.distribute.* can",
        ),
        (IMAGES, "optimizer.learning_rate", "config.eval.batch_size and config.distribute.* can"),
        (IMAGES, "train.steps", "config.eval.batch_size and config.distribute.* can"),
        (IMAGES, "eval.every", "config.eval.batch_size and config.distribute.* can"),
        (IMAGES, "seed", "config.eval.batch_size and config.distribute.* can"),
    ],
)
def test_what_the_model_is_may_not_change(trained, key, reason, exported):
    message = f"^--config.{key} cannot change after training.*{re.escape(reason)}$"
    with pytest.raises(UserError, match=message):
        check_overrides([(key, "x")], trained, exported)


def test_an_export_runs_on_one_device():
    check_overrides([("distribute.devices", "cpu:2")], IMAGES)
    with pytest.raises(UserError, match="an exported model runs on one device"):
        check_overrides([("distribute.devices", "cpu:2")], IMAGES, exported=True)
