import pytest
import runs

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    """An archive of two classes that a tiny net tells apart: bright left or bright right halves."""
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    return runs.stripes(path, {"train": 48, "validation": 20, "test": 21})


@pytest.fixture
def experiment(stripes):
    return Experiment(
        model=CNN(filters=(4,), dense=(8,)),
        task=Classification(),
        data=runs.image_archive(stripes),
        optimizer=SGD(0.1, momentum=0.9),
        train=TrainConfig(steps=12, batch_size=16, log_every=4, checkpoint_every=6),
        eval=EvalConfig(every=6),
    )
