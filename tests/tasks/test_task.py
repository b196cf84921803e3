"""What all tasks share: which data and models fit, and the names of a model's variables."""

import dataclasses
import io
from typing import ClassVar

import keras
import numpy as np
import pytest
import texts
from bound_data import image_data
from pairs import TINY, pair_data

import modelzoo
from modelzoo import Experiment, TrainConfig, UserError
from modelzoo.data import ClassLabel, Dataset, Image, Npz, Series
from modelzoo.data.bound import BoundData
from modelzoo.data.inputs.series import BoundSeries
from modelzoo.fields.input_specs import only_array
from modelzoo.models import CNN, LSTM, RecurrentCNN, ResNet
from modelzoo.optimizers import AdamW
from modelzoo.tasks import Classification, Regression, Tagging, TextToText, TokenClassification
from modelzoo.training import checkpoint
from modelzoo.training.progress import Progress

TASKS = {
    "class": Classification,
    "tags": Tagging,
    "values": Regression,
    "labels": TokenClassification,
    "text": TextToText,
}
WORDS = {
    "class": "2 classes, texts of up to 8 tokens, 10 words",
    "tags": "3 tags, texts of up to 8 tokens, 10 words",
    "values": "2 values, texts of up to 8 tokens, 10 words",
    "labels": "2 classes, texts of up to 8 tokens, 10 words",
    "text": "target texts of up to 8 tokens, the vocabulary of the input, "
    "texts of up to 8 tokens, 10 words",
}


def data_of(kind):
    return pair_data() if kind == "text" else texts.text_data(kind)


def series_data(length=3, features=("heat", "wind"), target=None):
    bound = BoundSeries(
        Series(length=length),
        features,
        length,
        features,
        tuple(20.0 + k for k in range(len(features))),
        tuple(4.0 / (1 + k) for k in range(len(features))),
    )
    return BoundData({"": bound}, target or image_data((1, 1, 1), ("no", "yes")).target)


@pytest.mark.parametrize("learned", TASKS)
@pytest.mark.parametrize("kind", TASKS)
def test_a_task_learns_its_own_targets_only(kind, learned):
    task, data = TASKS[learned](), data_of(kind)
    if kind == learned:
        assert task.bind(data).describe() == WORDS[kind]
        return
    wanted, got = (type(data_of(k).target.config).__name__ for k in (learned, kind))
    message = (
        f"config.task is {type(task).__name__}, which needs a target {wanted}, but "
        f"config.data.target is {got}: "
    )
    with pytest.raises(UserError, match=message):
        task.bind(data)


def test_a_task_needs_a_target():
    data = dataclasses.replace(texts.text_data(), target=None)
    with pytest.raises(UserError, match="target ClassLabel, but config.data.target is none: "):
        Classification().bind(data)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (CNN(), texts.text_data(), "CNN, which supports image, but config.data has tokens: "),
        (
            ResNet(8),
            texts.text_data(),
            "ResNet, which supports image, but config.data has tokens: ",
        ),
        (RecurrentCNN(), series_data(), "RecurrentCNN, which supports image, .* has series: "),
        (CNN(), pair_data(), "CNN, which supports image, but config.data has tokens: "),
        (TINY, image_data((4, 4, 1), "ab"), "Transformer, which supports tokens, .* has image: "),
    ],
    ids=["CNN", "ResNet", "RecurrentCNN", "CNN of pairs", "Transformer"],
)
def test_models_of_another_kind_of_input_are_refused(model, data, message):
    task = TextToText() if data.target.config.kind == "a text" else Classification()
    with pytest.raises(UserError, match=f"^config.model is {message}"):
        task.bind(data).build_model(model)


def test_models_of_another_number_of_inputs_are_refused():
    message = "^config.model is LSTM: inputs must be .* tokens and its mask, got .*decoder/tokens"
    with pytest.raises(UserError, match=message):
        TextToText().bind(pair_data()).build_model(LSTM(embedding_dim=4))
    message = "^config.model is Transformer: inputs must be .* tokens for a decoder"
    with pytest.raises(UserError, match=message):
        Classification().bind(texts.text_data()).build_model(TINY)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (LSTM(), texts.text_data(), "embedding_dim must be a number for tokens, got None"),
        (CNN(filters=(4, 4)), image_data((3, 3, 1), "ab"), "filters must be fewer, or padding "),
    ],
    ids=["LSTM", "CNN"],
)
def test_fields_of_a_model_that_do_not_fit_the_data_are_refused_by_key(model, data, message):
    with pytest.raises(UserError, match=f"^config.model.{message}"):
        Classification().bind(data).build_model(model)


def test_token_labels_need_a_model_with_outputs_for_each_token():
    class Whole:
        input_kinds = ("tokens",)

        def build(self, inputs, num_outputs):
            raise AssertionError

    message = "config.model is Whole, which has one output per example, but TokenClassification"
    with pytest.raises(UserError, match=message):
        TokenClassification().bind(texts.text_data("labels")).build_model(Whole())


@dataclasses.dataclass(frozen=True)
class Unnamed:
    """Keras names all layers."""

    width: int = 4

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, "image")
        image = keras.Input(spec.shape, name=name)
        x = keras.layers.Conv2D(self.width, 3, activation="relu")(image)
        x = keras.layers.Dense(self.width)(keras.layers.Flatten()(x))
        x = keras.layers.Dropout(0.5)(x)
        return keras.Model({name: image}, keras.layers.Dense(num_outputs)(x))


PATHS = [f"{layer}/{w}" for layer in ("conv2d", "dense", "dense_1") for w in ("kernel", "bias")]


def test_every_build_has_the_same_paths():
    task = Classification().bind(image_data((4, 4, 1), ("a", "b")))
    built = [task.build_model(Unnamed()) for _ in range(2)]
    assert [[v.path for v in model.weights] for model in built] == [PATHS, PATHS]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_unnamed_layers_are_trained_resumed_and_loaded_in_one_process(tmp_path, precision):
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        arrays[f"x_{split}"] = rng.integers(0, 256, [8, 4, 4, 1], np.uint8)
        arrays[f"y_{split}"] = np.arange(8) % 2
    np.savez(tmp_path / "data.npz", **arrays)

    def train(steps):
        experiment = Experiment(
            model=Unnamed(),
            task=Classification(),
            data=Dataset(
                source=Npz(str(tmp_path / "data.npz")), inputs=Image(), target=ClassLabel()
            ),
            optimizer=AdamW(),
            train=TrainConfig(steps=steps, batch_size=4, precision=precision, ema_decay=0.9),
        )
        return modelzoo.train(
            experiment,
            tmp_path / "run",
            resume_with_changes=True,
            progress=Progress(io.StringIO()),
        )

    train(1)
    result = train(2)
    assert result["steps"] == 2
    saved = checkpoint.read(checkpoint.find(tmp_path / "run"))
    assert [name for name in saved if name.startswith("model/")] == [f"model/{p}" for p in PATHS]
    predictor = modelzoo.load(tmp_path / "run")
    scores = predictor.outputs({"image": arrays["x_test"]})["scores"]
    loss = -np.log(scores[np.arange(8), arrays["y_test"]]).mean()
    np.testing.assert_allclose(loss, result["eval"]["test"]["loss"], rtol=1e-5)
