"""Text-to-text: translation, summaries, answers, and other texts generated from a text."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.text_target import BoundTextTarget, TextTarget
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks import text_metrics
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight
from modelzoo.tasks.text_metrics import Metric


@dataclasses.dataclass(frozen=True)
class TextToText(TaskConfig):
    """Learns to generate a text from another.

    Attributes:
        label_smoothing: share of the target that is spread evenly over the vocabulary, in training
            only.
        decoding: how a text is searched for if only its source is known: in evaluation, prediction
            and the exported graph.
        metrics: metrics of the generated texts: "bleu" and "chrf" by sacreBLEU, "bleu_tokenized"
            for texts whose tokens are separated by spaces, "rouge", "exact_match", and SQuAD's
            "f1". Without any, evaluation decodes nothing.
    """

    targets = (TextTarget,)
    adjustable = ("decoding", "metrics")
    outside_graph = ("metrics",)

    label_smoothing: float = 0.0
    decoding: Decoding = Decoding()
    metrics: tuple[Metric, ...] = ("bleu", "chrf")

    def __post_init__(self):
        if not 0.0 <= self.label_smoothing < 1.0:
            raise FieldError("label_smoothing", f"must be in [0, 1), got {self.label_smoothing}")

    def objective(self, data: BoundData) -> "TextToTextObjective":
        return TextToTextObjective(self, data)

    def serving(self, data: BoundData) -> "TextToTextServing":
        return TextToTextServing(self.decoding, data.target)


class TextToTextObjective(Objective):
    """Cross-entropy of the target's tokens, and metrics of decoded texts."""

    lower_is_better = ("loss", "perplexity")

    def __init__(self, config: TextToText, data: BoundData):
        super().__init__(data)
        self.config = config
        self.target: BoundTextTarget = data.target
        self.num_outputs = self.target.ids.size
        # An encoder reads all inputs but those of the decoder.
        own = self.target.model_specs()
        self.encoder_names = tuple(name for name in data.model_specs() if name not in own)
        decoding, room = config.decoding, self.target.widths[-1] - 1
        if decoding.max_length is None and decoding.min_length > room:
            raise UserError(
                f"config.task.decoding.min_length must be at most {room}, the room that "
                "config.data.target.lengths leaves if config.task.decoding.max_length is none; "
                f"got {decoding.min_length}"
            )
        self.capacity = 1 + (room if decoding.max_length is None else decoding.max_length)
        names = [name for metric in config.metrics for name in text_metrics.names(metric)]
        self.headline = ("loss", "token_accuracy", *names)

    def check_model(self, model: keras.Model) -> None:
        # Whether it has room for `max_length` tokens.
        if self.capacity <= self.target.widths[-1]:
            return
        specs = self.data.model_specs()
        shortest = {
            name: tf.ones([1, *(1 if size is None else size for size in specs[name].shape)])
            for name in self.encoder_names
        }
        given = {name: tf.cast(value, specs[name].dtype) for name, value in shortest.items()}
        try:
            model.start(given, beams=1, capacity=self.capacity)
        except FieldError as error:
            raise UserError(
                f"config.task.decoding.max_length is {self.capacity - 1}: config.model.{error}"
            ) from None

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`losses` and `hits` of the tokens `[n, length]` if there is a target; decoded tokens.

        The losses are smoothed in training. Outside of training, unless no metric needs them, also
        `tokens` int32 `[n, n_best, any]`, ended by the end token and then padded, and their
        `scores` float32 `[n, n_best]`, minus infinity if fewer were found.
        """
        found = {}
        if "label" in batch:
            given = {name: batch[name] for name in self.input_names}
            smoothing = self.config.label_smoothing if training else 0.0
            logits = model(given, training=training)
            losses, hits = cross_entropy(logits, batch["label"], smoothing)
            found = {"losses": losses, "hits": hits}
        if not training and (self.config.metrics or "label" not in batch):
            found |= self._decoded(model, {name: batch[name] for name in self.encoder_names})
        return found

    def _decoded(self, model: keras.Model, given: Tensors) -> Tensors:
        decoding, target = self.config.decoding, self.target
        covers = decoding.coverage_penalty > 0
        state = model.start(given, beams=decoding.beams, capacity=self.capacity, coverage=covers)
        found = search(
            model,
            state,
            decoding,
            start=target.ids.start,
            end=target.ids.end,
            pad=target.ids.pad,
            forbidden=target.forbidden_ids,
            capacity=self.capacity,
            memory_mask=given[model.encoder_inputs[1]] if covers else None,
        )
        return {"tokens": found.tokens, "scores": found.scores}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The smoothed cross-entropy of the tokens, each with the weight of its example."""
        losses = outputs["losses"]
        weights = _weights(batch, losses.dtype)
        return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Of tokens, weighted: `weight`, `correct` and, outside of training, `loss` (not smoothed).

        Empty if there is no target to compare with, as for served outputs.
        """
        if "losses" not in outputs:
            return {}
        losses = outputs["losses"]
        weights = _weights(batch, losses.dtype)
        found = {
            "weight": tf.reduce_sum(weights),
            "correct": tf.reduce_sum(outputs["hits"] * weights),
        }
        return found if training else {**found, "loss": tf.reduce_sum(losses * weights)}

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """The best `tokens`, int32 `[n, capacity]`, or of served outputs the best `texts` `[n]`."""
        if "texts" in outputs:
            return {"texts": outputs["texts"][:, 0]}
        if "tokens" not in outputs:
            return {}
        return {"tokens": self._padded(outputs["tokens"][:, 0])}

    def predictions(self, outputs: Tensors) -> Tensors:
        """`tokens` int32 `[n, n_best, capacity]` and `scores`."""
        return {"tokens": self._padded(outputs["tokens"]), "scores": outputs["scores"]}

    def _padded(self, tokens: tf.Tensor) -> tf.Tensor:
        """Tokens `[..., any]` padded to the capacity."""
        missing = self.capacity - tf.shape(tokens)[-1]
        paddings = [[0, 0]] * (len(tokens.shape) - 1) + [[0, missing]]
        tokens = tf.pad(tokens, paddings, constant_values=self.target.ids.pad)
        return tf.ensure_shape(tokens, [*tokens.shape[:-1], self.capacity])

    def check_metrics(self) -> None:
        text_metrics.check(self.config.metrics)

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """`loss` (nats per token), `perplexity`, `token_accuracy` and the config's metrics.

        `signatures` say, by metric, how it was computed. Without sums, as for an exported model,
        only the metrics of texts.
        """
        found: dict[str, Any] = {}
        if metric_sums:
            weight = check_weight(metric_sums["weight"], "token")
            if "loss" in metric_sums:
                found["loss"] = float(metric_sums["loss"]) / weight
                # Larger exponents overflow.
                found["perplexity"] = float(np.exp(min(found["loss"], 700.0)))
            found["token_accuracy"] = float(metric_sums["correct"]) / weight
        if per_example:
            values, signatures = text_metrics.compute(
                self.config.metrics, _texts(self.target, per_example), per_example["reference"]
            )
            found |= values
            if signatures:
                found["signatures"] = signatures
        return found


class TextToTextServing(Serving):
    """Serves `texts` and `scores`."""

    def __init__(self, decoding: Decoding, target: BoundTextTarget):
        self.decoding, self.target = decoding, target

    def to_serving(self, outputs: Tensors) -> Tensors:
        """`texts` (string `[n, n_best]`, the best first) and their `scores` (float32)."""
        tokens, scores = outputs["tokens"], outputs["scores"]
        texts = self.target.join(tf.reshape(tokens, [-1, tf.shape(tokens)[2]]))
        texts = tf.reshape(texts, [-1, self.decoding.n_best])
        return {"texts": texts, "scores": tf.cast(scores, tf.float32)}

    def from_serving(self, served: Tensors) -> Tensors:
        """`texts`; they do not determine the losses of teacher forcing."""
        return {"texts": served["texts"]}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`text` and `score` of the best; `top` is a list of these, the best first."""
        texts, scores = served["texts"].tolist(), served["scores"].tolist()
        # Sequences that the search did not find have no score.
        number = max(1, sum(score > -np.inf for score in scores))
        best = list(zip(texts, scores, strict=True))[:number]
        found = [{"text": text, "score": score} for text, score in best]
        if top is None:
            return found[0]
        self.check_top(top)
        return {**found[0], "top": found[:top]}

    def check_top(self, top: int, exported: bool = False) -> None:
        n_best = self.decoding.n_best
        if top <= n_best:
            return
        key = "--config.task.decoding"
        fields = f"{key}.beams={top} {key}.n_best={top}"
        raise UserError(
            f"--top={top} is more than the {n_best} best that config.task.decoding.n_best finds: "
            + (f"export again with {fields}" if exported else f"add {fields}")
        )

    def texts(self, per_example: Mapping[str, Any]) -> list[str]:
        return _texts(self.target, per_example)


def _texts(target: BoundTextTarget, per_example: Mapping[str, Any]) -> list[str]:
    """The generated texts, from per-example arrays."""
    if "texts" in per_example:
        found = per_example["texts"]
    else:
        found = target.join(tf.constant(per_example["tokens"])).numpy()
    return [text.decode() if isinstance(text, bytes) else str(text) for text in found]


def _weights(batch: Tensors, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(batch["label_mask"], dtype) * tf.cast(batch["weight"], dtype)[:, None]
