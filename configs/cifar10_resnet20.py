"""ResNet-20 on CIFAR-10 (He et al., 2015, section 4.2) with a shorter training schedule.

modelzoo train --config=cifar10_resnet20 --workdir=runs/cifar10_resnet20

For the paper's deeper networks, set `--config.model.depth=32`, 44, 56 or 110. The paper trains 164
epochs with a learning rate in three steps, a fifth of this weight decay and no random erasing. The
learning rate of 0.2 was chosen over 0.1: both trained 12 epochs on the first 45,000 training images
and were evaluated on the other 5,000.

47 minutes on 2 cores of AMD EPYC; test accuracy 0.9208 (one seed).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=ResNet(depth=20, width=16, shortcut="pad"),
        task=Classification(),
        data=Dataset(
            source=Tfds("cifar10"),
            inputs=Image(
                augment=Augment(crop_padding=4, flip=True, erasing=0.4),
                # Per channel, over the training images.
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
            ),
            target=ClassLabel(),
        ),
        optimizer=SGD(
            learning_rate=0.2,
            schedule=Cosine(warmup="1 epoch"),
            # Decoupled decay. Under momentum 0.9 it acts like an L2 penalty of 5e-4, whose gradient
            # the momentum multiplies by 10.
            weight_decay=5e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(
            steps="64 epochs",
            batch_size=128,
            precision="bfloat16",
            steps_per_loop=4,  # One call from Python runs 4 steps.
            checkpoint_every="5 epochs",
        ),
    )
