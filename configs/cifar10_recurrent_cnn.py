"""Recurrent convolutional network on CIFAR-10, 0.67 million parameters (Liang and Hu, 2015).

    modelzoo train --config=cifar10_recurrent_cnn --workdir=runs/cifar10_recurrent_cnn

The paper uses local response normalization, this config batch normalization. For the former, set
`--config.model.norm=local_response` and a lower learning rate. For the paper's larger networks, set
`--config.model.filters=128` or 160.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Tfds
from modelzoo.models import RecurrentCNN
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=RecurrentCNN(filters=96, norm="batch"),
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
            weight_decay=1e-3,  # Decoupled; acts like an L2 penalty of 1e-4 under this momentum.
            momentum=0.9,
            nesterov=True,
        ),
        train=TrainConfig(steps="100 epochs", batch_size=128),
        eval=EvalConfig(every="5 epochs"),
    )
