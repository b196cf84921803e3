"""Wide ResNet 16-4 (2.7 million parameters) on CIFAR-10, after Zagoruyko and Komodakis (2016).

    modelzoo train --config=cifar10_wide_resnet --workdir=runs/cifar10_wide_resnet

The paper's larger nets: `--config.model.depth=28 --config.model.widen=10`, or 40 and 4. Theirs is a
learning rate in four steps, here it is half a cosine.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import ResNet
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=ResNet(depth=16, widen=4, preactivation=True),
        task=Classification(),
        data=Dataset(
            source=Tfds("cifar10"),
            inputs=Image(
                augment=Augment(crop_padding=4, flip=True),
                # Of the training images.
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
            # Decoupled: as a penalty's gradient, which momentum multiplies by 10, it were 5e-4.
            weight_decay=5e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(steps="200 epochs", batch_size=128),
        eval=EvalConfig(every="10 epochs"),
    )
