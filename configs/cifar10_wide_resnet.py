"""Wide ResNet 16-4 on CIFAR-10, 2.7 million parameters (Zagoruyko and Komodakis, 2016).

    modelzoo train --config=cifar10_wide_resnet --workdir=runs/cifar10_wide_resnet

For the paper's larger networks, set `--config.model.depth=28 --config.model.widen=10`, or 40 and 4.
The paper lowers the learning rate in steps, this config follows half a cosine.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=ResNet(depth=16, widen=4, preactivation=True),
        task=Classification(),
        data=Dataset(
            source=Tfds("cifar10"),
            inputs=Image(
                augment=Augment(crop_padding=4, flip=True),
                # Per channel, over the training images.
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2470, 0.2435, 0.2616),
            ),
            target=ClassLabel(),
            train_split="train[:98%]",
            validation_split="train[98%:]",
        ),
        optimizer=SGD(
            learning_rate=0.1,
            schedule=Cosine(warmup="1 epoch"),
            # Decoupled decay. Under momentum 0.9 it acts like an L2 penalty of 5e-4, whose gradient
            # the momentum multiplies by 10.
            weight_decay=5e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(steps="200 epochs", batch_size=128),
        eval=EvalConfig(every="10 epochs"),
    )
