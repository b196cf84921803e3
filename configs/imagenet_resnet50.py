"""ResNet-50 (v1.5) on ImageNet, by the recipe of Goyal et al. (2017) for one machine.

    modelzoo train --config=imagenet_resnet50 --workdir=runs/imagenet_resnet50

TFDS prepares `imagenet2012` from the archives that image-net.org gives after a registration.
Deeper nets: `--config.model.depth=101` or 152. Unlike in the paper, the learning rate falls by half
a cosine and labels are smoothed. The public validation images are the test; one in a hundred of
the training images validates.
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
        model=ResNet(family="imagenet", depth=50, zero_gamma=True),
        task=Classification(label_smoothing=0.1),
        data=Dataset(
            source=Tfds("imagenet2012"),
            inputs=Image(
                size=(224, 224),
                channels=3,
                augment=Augment(crop_area=(0.08, 1.0), flip=True),
                # Of the training images.
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
            # Decoupled: as a penalty's gradient, which momentum multiplies by 10, it were 1e-4.
            weight_decay=1e-3,
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(steps="90 epochs", batch_size=256),
    )
