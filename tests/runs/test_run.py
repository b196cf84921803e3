"""What a run takes over from initial weights."""

import dataclasses

import pytest

from modelzoo import configs
from modelzoo.runs.run import read_trained
from modelzoo.training.progress import Progress


@pytest.mark.parametrize(
    "skip, has_vocabulary, has_classes",
    [((), True, True), (("logits",), True, False), (("embedding",), False, True)],
)
def test_layers_that_are_skipped_leave_free_what_they_need(
    tmp_path, skip, has_vocabulary, has_classes
):
    experiment = configs.get("cldr_language_lstm")
    settings = {"init_from": "cldr_language_lstm", "init_skip": skip}
    settings = dataclasses.replace(experiment.train, **settings)
    experiment = dataclasses.replace(experiment, train=settings)
    bound = read_trained(experiment, tmp_path, Progress())
    assert (bound.words is not None, bound.target is not None) == (has_vocabulary, has_classes)
