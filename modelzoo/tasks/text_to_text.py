"""Text to text: translation, summaries, answers, and whatever else one text can be made into."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.spec import PairSpec
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import PairTokens
from modelzoo.tasks import text_scores
from modelzoo.tasks.base import BoundTask, TaskConfig
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.text_scores import Metric


class TextToTextTask(BoundTask):
    """`TextToText` on given data: a `modelzoo.tasks.task.Task`."""

    targets = "text"
    things = "texts"
    lower_is_better = ("loss", "perplexity")
    kind = "pair"
    feed = "source"
    arguments = "TEXT_FILE"

    def __init__(self, config: "TextToText", spec: PairSpec):
        super().__init__(config, spec)
        decoding, room = config.decoding, spec.target_lengths[-1] - 1
        if decoding.max_length is None and decoding.min_length > room:
            raise UserError(
                f"config.task.decoding.min_length must be at most {room}, which is what "
                "config.data.target_lengths has room for where config.task.decoding.max_length is "
                f"none; got {decoding.min_length}"
            )
        self.capacity = 1 + (room if decoding.max_length is None else decoding.max_length)
        self.headline = ("loss", "token_accuracy", *self._score_names())

    def _score_names(self) -> list[str]:
        return [name for metric in self.config.metrics for name in text_scores.names(metric)]

    def describe(self) -> str:
        """Such as `texts of up to 64 tokens to ones of up to 64, 8000 subwords for both`."""
        spec = self.spec
        source, target = spec.tokenizer.describe(), spec.target_tokenizer.describe()
        words = f"{source} for both" if spec.shared else f"{source} to {target}"
        return (
            f"texts of up to {spec.lengths[-1]} tokens to ones of up to {spec.target_lengths[-1]}, "
            f"{words}"
        )

    @property
    def num_outputs(self) -> int:
        """The target's vocabulary with the end token."""
        return self.spec.target_end + 1

    def model_inputs(self) -> PairTokens:
        """Vocabularies with their end tokens, and the longest lengths."""
        spec = self.spec
        return PairTokens(
            source_vocab=spec.source_end + 1,
            target_vocab=spec.target_end + 1,
            shared=spec.shared,
            source_length=spec.lengths[-1],
            target_length=spec.target_lengths[-1],
        )

    def build_model(self, model_config: Any) -> keras.Model:
        """As of all tasks; a UserError too where the model has no room for `max_length` tokens."""
        model = super().build_model(model_config)
        if self.capacity > self.spec.target_lengths[-1]:
            try:
                model.start(tf.ones([1, 1], tf.int32), rows=1, capacity=self.capacity)
            except ValueError as error:
                raise UserError(
                    f"config.task.decoding.max_length is {self.capacity - 1}: config.model.{error}"
                ) from None
        return model

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """`source` int32 `[n, Ls]`, and of what has a target also `target` and `label` `[n, Lt]`.

        `label` are the tokens with the end token, 0 in the padding; `target` is what the decoder
        reads: the end token, then the label without its last. `raw` holds `source` and `target` as
        a source gives them, or `text` (string `[n]`) alone, which is cut to the longest of the
        spec's lengths and padded to the longest of its texts. The rest passes through.
        """
        rest = {k: v for k, v in raw.items() if k not in ("text", "source", "target")}
        source = raw["source"] if "source" in raw else self._tokens(raw["text"])
        if "target" not in raw:
            return {"source": source, **rest}
        label = raw["target"]
        shifted = tf.pad(label, [[0, 0], [1, 0]], constant_values=self.spec.target_end)[:, :-1]
        target = tf.where(label != 0, shifted, 0)
        return {"source": source, "target": target, "label": label, **rest}

    def _tokens(self, texts: tf.Tensor) -> tf.Tensor:
        ids = self.spec.tokenizer.ids(texts)[:, : self.spec.lengths[-1] - 1]
        end = tf.fill([tf.shape(texts)[0], 1], self.spec.source_end)
        tokens = tf.concat([ids, end], axis=1).to_tensor()
        # Of no text at all the longest has one of padding.
        return tf.pad(tokens, [[0, 0], [0, tf.maximum(1 - tf.shape(tokens)[1], 0)]])

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`losses` and `hits` of the tokens `[n, Lt]`, where a target is; and what is decoded.

        The losses are smoothed in training. Otherwise, unless nothing is scored by it, also
        `tokens` int32 `[n, n_best, any]` without padding in front, ended by the end token and then
        0, and their `scores` float32 `[n, n_best]`, minus infinity where there are fewer.
        """
        found = {}
        if "label" in batch:
            given = {name: batch[name] for name in ("source", "target")}
            smoothing = self.config.label_smoothing if training else 0.0
            logits = model(given, training=training)
            losses, hits = cross_entropy(logits, batch["label"], smoothing)
            found = {"losses": losses, "hits": hits}
        if not training and (self.config.metrics or "label" not in batch):
            found |= self._decoded(model, batch["source"])
        return found

    def _decoded(self, model: keras.Model, source: tf.Tensor) -> Tensors:
        decoding, end = self.config.decoding, self.spec.target_end
        covers = decoding.coverage_penalty > 0
        rows, capacity = decoding.beams, self.capacity
        state = model.start(source, rows=rows, capacity=capacity, coverage=covers)
        found = search(
            model, state, decoding, start=end, end=end, capacity=capacity, source_real=source != 0
        )
        return {"tokens": found.tokens, "scores": found.scores}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The smoothed cross-entropy of the tokens; each weighs what its example does."""
        losses = outputs["losses"]
        weights = self._weights(batch, losses.dtype)
        return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Of tokens, weighted: `weight`, `correct` and, not in training, `loss`, not smoothed.

        Nothing where there is no target to compare with, as of what is served.
        """
        if "losses" not in outputs:
            return {}
        losses = outputs["losses"]
        weights = self._weights(batch, losses.dtype)
        found = {
            "weight": tf.reduce_sum(weights),
            "correct": tf.reduce_sum(outputs["hits"] * weights),
        }
        return found if training else {**found, "loss": tf.reduce_sum(losses * weights)}

    def _weights(self, batch: Tensors, dtype: tf.DType) -> tf.Tensor:
        real = tf.cast(batch["label"] != 0, dtype)
        return real * tf.cast(batch["weight"], dtype)[:, None]

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """The best `tokens`, int32 `[n, capacity]`; of what was served the best `texts` `[n]`."""
        if "texts" in outputs:
            return {"texts": outputs["texts"][:, 0]}
        if "tokens" not in outputs:
            return {}
        tokens = outputs["tokens"][:, 0]
        missing = self.capacity - tf.shape(tokens)[1]
        tokens = tf.pad(tokens, [[0, 0], [0, missing]])
        return {"tokens": tf.ensure_shape(tokens, [None, self.capacity])}

    def texts(self, collected: dict[str, Any]) -> list[str]:
        """What was made of each example, from what was collected of it."""
        if "texts" in collected:
            found = collected["texts"]
        else:
            found = self._joined(tf.constant(collected["tokens"])).numpy()
        return [text.decode() if isinstance(text, bytes) else str(text) for text in found]

    def _joined(self, tokens: tf.Tensor) -> tf.Tensor:
        """Texts `[n]` of tokens `[n, any]`."""
        return self.spec.target_tokenizer.join(tf.RaggedTensor.from_tensor(tokens, padding=0))

    def check_metrics(self) -> None:
        """Raises UserError where a package is missing that a score needs."""
        text_scores.check(self.config.metrics)

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`loss` (nats a token), `perplexity`, `token_accuracy`, the config's metrics.

        With `signatures`, by metric, which say how these were counted. Of each example `collected`
        holds `reference` too, a tuple of texts. Without sums, as of an exported model, only the
        metrics. Raises UserError where no token had a weight.
        """
        found: dict[str, Any] = {}
        if sums:
            weight = float(sums["weight"])
            if not weight > 0:
                raise UserError(
                    "no token with a positive weight was evaluated: there is nothing to score"
                )
            if "loss" in sums:
                found["loss"] = float(sums["loss"]) / weight
                # Beyond what can be represented the perplexity says no more than that.
                found["perplexity"] = float(np.exp(min(found["loss"], 700.0)))
            found["token_accuracy"] = float(sums["correct"]) / weight
        if collected:
            values, signatures = text_scores.score(
                self.config.metrics, self.texts(collected), collected["reference"]
            )
            found |= values
            if signatures:
                found["signatures"] = signatures
        return found

    def align(self, spec: PairSpec) -> Callable[[Tensors], Tensors]:
        """Batches of other pairs as they are. Raises UserError for data of other targets."""
        if spec.targets != self.targets:
            raise UserError(
                f"the model learned targets 'text', but those of the data are {spec.targets!r}"
            )
        return lambda raw: raw

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default` (`text`: string `[n]`); bytes that are not UTF-8 are U+FFFD."""
        return {"text": ("serving_default", tf.TensorSpec([None], tf.string, name="text"))}

    def served(self, outputs: Tensors) -> Tensors:
        """`texts` (string `[n, n_best]`, the best first) and their `scores` (float32)."""
        tokens, scores = outputs["tokens"], outputs["scores"]
        n_best = self.config.decoding.n_best
        texts = self._joined(tf.reshape(tokens, [-1, tf.shape(tokens)[2]]))
        return {"texts": tf.reshape(texts, [-1, n_best]), "scores": tf.cast(scores, tf.float32)}

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """`texts`: of teacher forcing nothing can be told from them."""
        return {"texts": tf.constant(served["texts"], tf.string)}

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`text` and `score` of the best; `top` is a list of these, the best first."""
        texts, scores = served["texts"].tolist(), served["scores"].tolist()
        # What the search has not found has no score.
        number = max(1, sum(score > -np.inf for score in scores))
        best = list(zip(texts, scores, strict=True))[:number]
        found = [{"text": text, "score": score} for text, score in best]
        if top is None:
            return found[0]
        self.check_top(top)
        return {**found[0], "top": found[:top]}

    def check_top(self, top: int, exported: bool = False) -> None:
        """Raises UserError where the search does not find so many."""
        n_best = self.config.decoding.n_best
        if top <= n_best:
            return
        find = f"--decoding=beams={top},n_best={top}"
        raise UserError(
            f"--top={top} is more than the {n_best} best that config.task.decoding.n_best finds: "
            + (f"export again with {find}" if exported else f"{find} finds them")
        )


@dataclasses.dataclass(frozen=True)
class TextToText(TaskConfig):
    """Learns to make a text of another.

    label_smoothing: share of the target that is spread evenly over the vocabulary, in training
        only.
    decoding: how a text is searched for where there is only its source: in evaluation, prediction
        and what is exported.
    metrics: scores of the texts that are found: "bleu" and "chrf" by sacreBLEU, "bleu_tokenized"
        for texts whose tokens are parted by spaces already, "rouge", "exact_match", and SQuAD's
        "f1". Without any, evaluation decodes nothing.
    """

    bound = TextToTextTask

    label_smoothing: float = 0.0
    decoding: Decoding = Decoding()
    metrics: tuple[Metric, ...] = ("bleu", "chrf")

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
