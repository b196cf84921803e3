"""ResNet-50 (v1.5) on ImageNet with the recipe of Goyal et al. (2017) for one machine.

    modelzoo train --config=imagenet_resnet50 --workdir=runs/imagenet_resnet50

TFDS prepares `imagenet2012` from the archives that image-net.org offers to registered users. For
deeper networks, set `--config.model.depth=101` or 152. Unlike the paper, this config decays the
learning rate along half a cosine and smooths the labels. The public validation images are the test
split; 1 % of the training images are the validation split.
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
        model=ResNet(family="imagenet", depth=50, zero_gamma=True),  # Blocks start as identities.
        task=Classification(label_smoothing=0.1),
        data=Dataset(
            source=Tfds("imagenet2012"),
            inputs=Image(
                size=(224, 224),
                channels=3,
                augment=Augment(crop_area=(0.08, 1.0), flip=True),
                # Per channel, over the training images.
                mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225),
            ),
            target=ClassLabel(),
            train_split="train[:99%]",
            validation_split="train[99%:]",
            test_split="validation",
        ),
        optimizer=SGD(
            learning_rate=0.1,
            schedule=Cosine(warmup="5 epochs"),
            # Decoupled decay. Under momentum 0.9 it acts like an L2 penalty of 1e-4, whose gradient
            # the momentum multiplies by 10.
            weight_decay=1e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(steps="90 epochs", batch_size=256),
    )
