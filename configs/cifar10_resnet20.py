"""ResNet-20 on CIFAR-10: the net of He et al. (2015), section 4.2, on a shorter and steeper recipe.

modelzoo train --config=cifar10_resnet20 --workdir=runs/cifar10_resnet20

The paper's deeper nets: `--config.model.depth=32`, 44, 56 or 110. Theirs is a learning rate in
three steps over 164 epochs and a fifth of this weight decay, without erasing. The rate was chosen
against 0.1 by 12 epochs on the first 45,000 training images, scored on the other 5,000.

47 minutes on 2 cores of AMD EPYC; test accuracy 0.9208 (one seed).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=ResNet(depth=20, width=16, shortcut="pad"),
        task=Classification(),
        data=Dataset(
            source=Tfds("cifar10"),
            inputs=Image(
                augment=Augment(crop_padding=4, flip=True, erasing=0.4),
                # Of the training images.
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
            ),
            target=ClassLabel(),
        ),
        optimizer=SGD(
            learning_rate=0.2,
            schedule=Cosine(warmup="1 epoch"),
            # Decoupled: as a penalty's gradient, which momentum multiplies by 10, it were 5e-4.
            weight_decay=5e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(
            steps="64 epochs",
            batch_size=128,
            precision="bfloat16",
            steps_per_loop=4,
            checkpoint_every="5 epochs",
        ),
    )
