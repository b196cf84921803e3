import pytest
import runs

from modelzoo import config
from modelzoo.data.npz import NpzImages
from modelzoo.models.cnn import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.training.config import EvalConfig, TrainConfig


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """An archive of two classes that a tiny net tells apart: bright left or bright right halves."""
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    return runs.stripes(path, {"train": 48, "validation": 20, "test": 21})


@pytest.fixture
def experiment(stripes):
    return config.Experiment(
        model=CNN(filters=(4,), dense=(8,)),
        task=ImageClassification(),
        data=NpzImages(str(stripes), validation_split="validation"),
        optimizer=SGD(0.1, momentum=0.9),
        train=TrainConfig(steps=12, batch_size=16, log_every=4, checkpoint_every=6),
        eval=EvalConfig(every=6),
    )
