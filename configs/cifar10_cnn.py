"""CNN with two convolutions (64 and 128 filters) and 1,000 hidden units on CIFAR-10.

modelzoo train --config=cifar10_cnn --workdir=runs/cifar10_cnn
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import CNN
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=CNN(filters=(64, 128), dense=(1000,), conv_dropout=0.25, dropout=0.5),
        task=Classification(),
        data=Dataset(
            source=Tfds("cifar10"),
            inputs=Image(augment=Augment(crop_padding=4, flip=True)),
            target=ClassLabel(),
            train_split="train[:90%]",
            validation_split="train[90%:]",
        ),
        optimizer=AdamW(learning_rate=1e-3, schedule=Cosine(warmup="1 epoch"), weight_decay=0.05),
        train=TrainConfig(steps="30 epochs", batch_size=128),
    )
