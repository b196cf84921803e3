"""Two-convolution net for colour images (64 and 128 filters, 1,000 hidden units) on CIFAR-10.

modelzoo train --config=cifar10_cnn --workdir=runs/cifar10_cnn
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data.augment import Augment
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.models import CNN
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks.image_classification import ImageClassification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=CNN(filters=(64, 128), dense=(1000,), conv_dropout=0.25, dropout=0.5),
        task=ImageClassification(augment=Augment(crop_padding=4, flip=True)),
        data=TfdsImages(name="cifar10", train_split="train[:90%]", validation_split="train[90%:]"),
        optimizer=AdamW(learning_rate=1e-3, schedule=Cosine(warmup="1 epoch"), weight_decay=0.05),
        train=TrainConfig(steps="30 epochs", batch_size=128),
    )
