"""Text-to-text: translation, summarization and other generation of a text from a text."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.text_target import BoundTextTarget, TextTarget
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.checks import check_rate
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks import text_metrics
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight
from modelzoo.tasks.text_metrics import BleuTokenizer, Metric


@dataclasses.dataclass(frozen=True)
class TextToText(TaskConfig):
    """Learns to generate a text from another text.

    Attributes:
        label_smoothing: share of the target that is distributed over the vocabulary in training.
        decoding: settings of the search in evaluation, prediction and the exported graph.
        metrics: metrics of the generated texts: "bleu" and "chrf" by sacreBLEU, "bleu_tokenized"
            for texts whose tokens are separated by spaces, "rouge", "exact_match", and "f1" of
            SQuAD. Evaluation without metrics generates no texts.
        bleu_tokenizer: how "bleu" splits words, a name of sacreBLEU; None chooses by the script of
            the references, see `modelzoo.tasks.text_metrics.choose_bleu_tokenizer`.
    """

    targets = (TextTarget,)
    adjustable = ("decoding", "metrics", "bleu_tokenizer")
    outside_graph = ("metrics", "bleu_tokenizer")

    label_smoothing: float = 0.0
    decoding: Decoding = Decoding()
    metrics: tuple[Metric, ...] = ("bleu", "chrf")
    bleu_tokenizer: BleuTokenizer | None = None

    def __post_init__(self):
        check_rate(label_smoothing=self.label_smoothing)

    def objective(self, data: BoundData) -> "TextToTextObjective":
        return TextToTextObjective(self, data)

    def serving(self, data: BoundData) -> "TextToTextServing":
        target = data.target
        assert isinstance(target, BoundTextTarget)
        return TextToTextServing(self.decoding, target)


class TextToTextObjective(Objective):
    """Cross-entropy of the target's tokens, and metrics of the generated texts."""

    lower_is_better = ("loss", "perplexity")

    def __init__(self, config: TextToText, data: BoundData):
        super().__init__(data)
        self.config = config
        assert isinstance(data.target, BoundTextTarget)
        self.target = data.target
        self.num_outputs = self.target.ids.size
        # An encoder reads all inputs but those of the decoder.
        own = self.target.model_specs()
        self.encoder_names = tuple(name for name in data.model_specs() if name not in own)
        decoding, longest = config.decoding, self.target.widths[-1] - 1
        if decoding.max_length is None and decoding.min_length > longest:
            raise UserError(
                f"config.task.decoding.min_length must be at most {longest}, the longest target of "
                "config.data.target.lengths, unless config.task.decoding.max_length is set; "
                f"got {decoding.min_length}"
            )
        self.numbered = decoding.temperature is not None
        self.capacity = 1 + (longest if decoding.max_length is None else decoding.max_length)
        names = [name for metric in config.metrics for name in text_metrics.names(metric)]
        self.headline = ("loss", "token_accuracy", *names)

    def check_model(self, model: keras.Model) -> None:
        """Raises UserError if the model does not support `max_length` tokens."""
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
        """Returns losses of the target's tokens, and in evaluation generated tokens.

        If the batch has a target, `losses` and `hits` are `[n, length]`; the losses are smoothed in
        training. Evaluation adds `tokens`, int32 `[n, n_best, any]`, each with an end token and
        padding after it, and their `scores`, float32 `[n, n_best]`, minus infinity for missing
        sequences; it omits both if there is a target but no metric.
        """
        outputs = {}
        if "label" in batch:
            given = {name: batch[name] for name in self.input_names}
            smoothing = self.config.label_smoothing if training else 0.0
            logits = model(given, training=training)
            losses, hits = cross_entropy(logits, batch["label"], smoothing)
            outputs = {"losses": losses, "hits": hits}
        if not training and (self.config.metrics or "label" not in batch):
            outputs |= self._decode(model, batch)
        return outputs

    def blank_outputs(self, batch: Tensors) -> Tensors:
        """Returns losses of 0 and empty texts."""
        zeros = tf.zeros(batch["label"].shape)
        outputs = {"losses": zeros, "hits": zeros}
        if self.config.metrics:
            outputs["texts"] = tf.fill([zeros.shape[0], 1], "")
        return outputs

    def _decode(self, model: keras.Model, batch: Tensors) -> Tensors:
        given = {name: batch[name] for name in self.encoder_names}
        decoding, target = self.config.decoding, self.target
        start, end = target.ids.start, target.ids.end
        assert start is not None and end is not None  # As of every target.
        covers = decoding.coverage_penalty > 0
        state = model.start(given, beams=decoding.beams, capacity=self.capacity, coverage=covers)
        result = search(
            model,
            state,
            decoding,
            start=start,
            end=end,
            pad=target.ids.pad,
            forbidden=target.forbidden_ids,
            capacity=self.capacity,
            memory_mask=given[model.encoder_inputs[1]] if covers else None,
            numbers=batch.get("number"),
        )
        return {"tokens": result.tokens, "scores": result.scores}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sums of the smoothed cross-entropies and of the weights of the tokens."""
        losses = outputs["losses"]
        weights = _weights(batch, losses.dtype)
        return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Returns weighted counts of tokens: `weight`, `correct`, and in evaluation `loss`.

        The loss is not smoothed. Without losses in the outputs, as for served ones, it is empty.
        """
        if "losses" not in outputs:
            return {}
        losses = outputs["losses"]
        weights = _weights(batch, losses.dtype)
        sums = {
            "weight": tf.reduce_sum(weights),
            "correct": tf.reduce_sum(outputs["hits"] * weights),
        }
        return sums if training else {**sums, "loss": tf.reduce_sum(losses * weights)}

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Returns the best `tokens`, int32 `[n, capacity]`, or of served outputs `texts` `[n]`."""
        if "texts" in outputs:
            return {"texts": outputs["texts"][:, 0]}
        if "tokens" not in outputs:
            return {}
        return {"tokens": self._padded(outputs["tokens"][:, 0])}

    def predictions(self, outputs: Tensors) -> Tensors:
        """Returns `tokens`, int32 `[n, n_best, capacity]`, and `scores`."""
        return {"tokens": self._padded(outputs["tokens"]), "scores": outputs["scores"]}

    def _padded(self, tokens: tf.Tensor) -> tf.Tensor:
        """Pads tokens `[..., any]` to the capacity."""
        missing = self.capacity - tf.shape(tokens)[-1]
        paddings = [[0, 0]] * (len(tokens.shape) - 1) + [[0, missing]]
        tokens = tf.pad(tokens, paddings, constant_values=self.target.ids.pad)
        return tf.ensure_shape(tokens, [*tokens.shape[:-1], self.capacity])

    def check_metrics(self, references: Sequence[tuple[str, ...]] | None) -> list[str]:
        return text_metrics.check(self.config.metrics, self.config.bleu_tokenizer, references or ())

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Computes `loss` (nats per token), `perplexity`, `token_accuracy` and `config.metrics`.

        `signatures` states how each metric was computed. Without sums, as for an exported model,
        the result has only the metrics of texts.
        """
        metrics: dict[str, Any] = {}
        if metric_sums:
            weight = check_weight(metric_sums["weight"], "token")
            if "loss" in metric_sums:
                metrics["loss"] = float(metric_sums["loss"]) / weight
                # Larger exponents overflow.
                metrics["perplexity"] = float(np.exp(min(metrics["loss"], 700.0)))
            metrics["token_accuracy"] = float(metric_sums["correct"]) / weight
        if per_example:
            values, signatures = text_metrics.compute(
                self.config.metrics,
                _texts(self.target, per_example),
                per_example["reference"],
                self.config.bleu_tokenizer,
            )
            metrics |= values
            if signatures:
                metrics["signatures"] = signatures
        return metrics


class TextToTextServing(Serving):
    """Serves `texts` and `scores`."""

    def __init__(self, decoding: Decoding, target: BoundTextTarget):
        self.decoding = decoding
        self.target = target

    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns `texts` (string `[n, n_best]`, best first) and their `scores` (float32)."""
        tokens, scores = outputs["tokens"], outputs["scores"]
        texts = self.target.join(tf.reshape(tokens, [-1, tf.shape(tokens)[2]]))
        texts = tf.reshape(texts, [-1, self.decoding.n_best])
        return {"texts": texts, "scores": tf.cast(scores, tf.float32)}

    def from_serving(self, served: Tensors) -> Tensors:
        """Returns `texts`, without losses, which the texts do not determine."""
        return {"texts": served["texts"]}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Returns `text` and `score` of the best text; `top` lists the best texts, best first."""
        texts, scores = served["texts"].tolist(), served["scores"].tolist()
        # Sequences that the search did not find have no score.
        number = max(1, sum(score > -np.inf for score in scores))
        pairs = list(zip(texts, scores, strict=True))[:number]
        best = [{"text": text, "score": score} for text, score in pairs]
        if top is None:
            return best[0]
        self.check_top(top)
        return {**best[0], "top": best[:top]}

    def check_top(self, top: int, exported: bool = False) -> None:
        n_best = self.decoding.n_best
        if top <= n_best:
            return
        key = "--config.task.decoding"
        fields = f"{key}.beams={top} {key}.n_best={top}"
        raise UserError(
            f"--top must be at most config.task.decoding.n_best, {n_best}, got {top}: "
            + (f"export again with {fields}" if exported else f"add {fields}")
        )

    def texts(self, per_example: Mapping[str, Any]) -> list[str]:
        return _texts(self.target, per_example)


def _texts(target: BoundTextTarget, per_example: Mapping[str, Any]) -> list[str]:
    """Returns the generated texts of per-example arrays."""
    if "texts" in per_example:
        texts = per_example["texts"]
    else:
        texts = target.join(tf.constant(per_example["tokens"])).numpy()
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _weights(batch: Tensors, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(batch["label_mask"], dtype) * tf.cast(batch["weight"], dtype)[:, None]
