"""ResNet-20 on CIFAR-10, by the recipe of He et al. (2015), section 4.2.

    modelzoo train --config=cifar10_resnet20 --workdir=runs/cifar10_resnet20

The paper's deeper nets: `--config.model.depth=32`, 44, 56 or 110. Theirs is a learning rate in
three steps, here it is half a cosine.
"""

from modelzoo.config import Experiment
from modelzoo.data.augment import Augment
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.models.resnet import ResNet
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.train.optimizer import SGD
from modelzoo.train.schedule import Cosine
from modelzoo.train.settings import Evaluation, Train


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=ResNet(depth=20),
        task=ImageClassification(
            augment=Augment(crop_padding=4, flip=True),
            # Of the training images.
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        data=TfdsImages(name="cifar10", train_split="train[:90%]", validation_split="train[90%:]"),
        optimizer=SGD(
            learning_rate=0.1,
            schedule=Cosine(warmup="1 epoch"),
            # As the gradient of their penalty, 1e-4, which momentum multiplies by 10.
            weight_decay=1e-3,
            momentum=0.9,
        ),
        train=Train(steps=64_000, batch_size=128),
        eval=Evaluation(every="2 epochs"),
    )
