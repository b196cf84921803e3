"""CNN with two convolutions on the 1,797 handwritten digits of scikit-learn, without dropout.

modelzoo train --config=digits_cnn --workdir=runs/digits_cnn

4 seconds on 2 cores of AMD EPYC; test accuracy 0.9866 (mean of 6 seeds, lowest 0.9833).
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Augment, Image, digits
from modelzoo.models import CNN
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        # "same" keeps the border, which is a large part of an image of 8x8.
        model=CNN(filters=(32, 64), padding="same", dense=(128,)),
        task=Classification(),
        data=digits(inputs=Image(augment=Augment(crop_padding=1))),
        optimizer=AdamW(learning_rate=2e-3, schedule=Cosine(warmup="1 epoch"), weight_decay=0.01),
        train=TrainConfig(steps="40 epochs", batch_size=64),
        eval=EvalConfig(every="5 epochs"),
    )
