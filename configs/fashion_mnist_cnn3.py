"""CNN with three convolutions (32, 64 and 64 filters) and 64 hidden units on Fashion-MNIST.

modelzoo train --config=fashion_mnist_cnn3 --workdir=runs/fashion_mnist_cnn3
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Image, Tfds
from modelzoo.models import CNN
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=CNN(filters=(32, 64, 64), pool_last=False, dense=(64,), dropout=0.3),
        task=Classification(),
        data=Dataset(
            source=Tfds("fashion_mnist"),
            inputs=Image(),
            target=ClassLabel(),
            train_split="train[:90%]",
            validation_split="train[90%:]",
        ),
        optimizer=Adam(learning_rate=1e-3, schedule=Cosine()),
        train=TrainConfig(steps="12 epochs", batch_size=128),
    )
