"""Texts as pieces of words, learned by SentencePiece: BPE, unigram and WordPiece."""

import dataclasses
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modelzoo.data.tokenizers.tokenizer import Tokenizer, TokenizerConfig, chunks, extra
from modelzoo.data.tokenizers.words import split_punctuation, split_space
from modelzoo.fields.errors import FieldError, UserError

MODEL = "sentencepiece.model"
_SPACE, _INNER = "\u2581", "##"
_FIELD = descriptor_pb2.FieldDescriptorProto
_BYTE = re.compile("<0x([0-9A-F]{2})>")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subwords(TokenizerConfig):
    """Pieces of words are tokens, so that only rare characters are unknown.

    Attributes:
        kind: "bpe" (Sennrich et al., 2016) and "unigram" (Kudo, 2018) split at spaces, then words
            into pieces. "wordpiece" (as in BERT, Devlin et al., 2019) splits words and punctuation,
            each into the longest pieces from its start; its pieces are learned as those of "bpe".
        size: largest size of the vocabulary, with the special tokens; small data gives fewer.
        normalize: as in `TokenizerConfig`; None is "nfkc", or "none" if a model generates texts
            with the vocabulary.
        character_coverage: share of all characters that get an id; the rarest get none.
        byte_fallback: whether a character without an id becomes its bytes, 256 ids of the
            vocabulary, in place of the unknown token; not for "wordpiece".

    Example:
        >>> config = Subwords(kind="wordpiece", unknown="[UNK]", pad="[PAD]")
        >>> tokenizer = config.load(("[UNK]", "un", "##able", "[PAD]"), folder=None)
        >>> tokenizer.ids(tf.constant(["unable un"])).to_list()
        [[1, 2, 1]]
    """

    kind: Literal["bpe", "unigram", "wordpiece"] = "bpe"
    size: int = 8_000
    normalize: Literal["none", "nfc", "nfkc"] | None = None
    character_coverage: float = 1.0
    byte_fallback: bool = False

    default_form = "nfkc"

    def __post_init__(self):
        super().__post_init__()
        if not 0.98 <= self.character_coverage <= 1.0:
            raise FieldError(
                "character_coverage", f"must be from 0.98 to 1, got {self.character_coverage}"
            )
        if self.byte_fallback and self.kind == "wordpiece":
            raise FieldError("byte_fallback", "must be false for kind='wordpiece', got True")

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Words `[n, None]` of texts `[n]`; no piece is longer than a word."""
        texts = self.normalised(texts)
        if self.kind == "wordpiece":
            return split_punctuation(self.spaced(texts), as_written=self.normalize == "none")
        return split_space(texts)

    def train(self, texts: Iterable[str | bytes]) -> "Tokenizer":
        extra("tensorflow_text")  # An error should come before the training.
        model = _learn(self, texts)
        read = extra("sentencepiece").SentencePieceProcessor(model_proto=model)
        learned = [read.id_to_piece(k) for k in range(len(self.first), read.vocab_size())]
        if self.kind == "wordpiece":
            return WordPiece(self, (*self.first, *_word_pieces(self, learned)))
        return SentencePiece(self, (*self.first, *learned), model)

    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "Tokenizer":
        if self.kind == "wordpiece":
            return WordPiece(self, vocabulary)
        return SentencePiece(self, vocabulary, (folder / MODEL).read_bytes())

    def read(self, path: str | Path) -> "Tokenizer":
        """As in `TokenizerConfig`; of the kinds "bpe" and "unigram" a model of SentencePiece."""
        if self.kind == "wordpiece":
            return super().read(path)
        sentencepiece = extra("sentencepiece")
        try:
            model = Path(path).read_bytes()
            pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
            vocabulary = tuple(pieces.id_to_piece(k) for k in range(pieces.vocab_size()))
            if self.special:
                raise FieldError("special", f"must be (), as it has its own, got {self.special}")
            if vocabulary[pieces.unk_id()] != self.unknown:
                raise ValueError(f"set unknown to {vocabulary[pieces.unk_id()]!r}, its name there")
            return SentencePiece(self, vocabulary, model)
        except OSError as error:
            raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from None
        except (RuntimeError, ValueError) as error:
            raise UserError(f"the vocabulary {path}: {' '.join(str(error).split())}") from None


class _Pieces(Tokenizer):
    """Splits each different word once."""

    config: Subwords
    graph_module = "tensorflow_text"
    _split: Callable[[tf.Tensor], tf.RaggedTensor]

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        words = self.config.words(texts)
        each, places = tf.unique(words.flat_values)
        pieces = tf.gather(self._split(each), places)
        return words.with_flat_values(pieces).merge_dims(1, 2)

    def describe(self) -> str:
        return f"{self.vocab_size} {self.config.kind} pieces"


class SentencePiece(_Pieces):
    """Pieces of a SentencePiece model, kept in its own format."""

    _space = ""

    def __init__(self, config: Subwords, vocabulary: tuple[str, ...], model: bytes):
        super().__init__(config, vocabulary)
        self.model = model
        extra("tensorflow_text")

    def _split(self, words: tf.Tensor) -> tf.RaggedTensor:
        # Created anew for each graph, the model is a part of it. Shared, it would be a resource
        # that a SavedModel must track and that `tf.random.set_seed` destroys.
        return extra("tensorflow_text").SentencepieceTokenizer(self.model).tokenize(words)

    def _key(self) -> tuple:
        return (self.config, self.model)

    def _surface(self, token: str) -> str | bytes:
        if self.config.byte_fallback and (byte := _BYTE.fullmatch(token)):
            return bytes.fromhex(byte[1])
        return token.replace(_SPACE, " ")

    def _cleaned(self, joined: tf.Tensor) -> tf.Tensor:
        # Bytes can come in any order, which may not be UTF-8.
        return super()._cleaned(tf.strings.unicode_transcode(joined, "UTF-8", "UTF-8"))

    def save(self, folder: str | Path) -> None:
        super().save(folder)
        Path(folder, MODEL).write_bytes(self.model)


class WordPiece(_Pieces):
    """Splits a word into the longest pieces from its start."""

    def __init__(self, config: Subwords, vocabulary: tuple[str, ...]):
        super().__init__(config, vocabulary)
        tokenizer = extra("tensorflow_text").FastWordpieceTokenizer(
            list(self.split_tokens),
            suffix_indicator=_INNER,
            token_out_type=tf.int32,
            unknown_token=config.unknown,
            no_pretokenization=True,
        )
        self._split = tokenizer.tokenize

    def _surface(self, token: str) -> str:
        return token.removeprefix(_INNER) if token.startswith(_INNER) else f" {token}"


def _learn(config: Subwords, texts: Iterable[str | bytes]) -> bytes:
    """Trains a SentencePiece model on words as `config` splits them."""

    def lines():
        for chunk in chunks(texts):
            yield from tf.strings.reduce_join(config.words(chunk), -1, separator=" ").numpy()

    model = io.BytesIO()
    named: dict[str, Any] = {"pad_id": -1}
    if config.pad is not None:
        named = {"pad_id": config.first.index(config.pad), "pad_piece": config.pad}
    controls = [token for token in config.named if token not in (config.pad, config.unknown)]
    if controls:
        named["control_symbols"] = controls
    try:
        with tempfile.NamedTemporaryFile(suffix=".tsv") as rules:
            rules.write(b"9\t20\n")
            rules.flush()
            if config.form == "nfkc":
                named["normalization_rule_name"] = "nfkc"
            else:
                # Its input is normalised, and has no tab, which this rule replaces. Without a rule,
                # each reader of the model logs a line.
                named["normalization_rule_tsv"] = rules.name
            extra("sentencepiece").SentencePieceTrainer.train(
                sentence_iterator=lines(),
                model_writer=model,
                model_type="unigram" if config.kind == "unigram" else "bpe",
                vocab_size=config.size,
                hard_vocab_limit=False,
                unk_id=config.first.index(config.unknown),
                bos_id=-1,
                eos_id=-1,
                unk_piece=config.unknown,
                **named,
                user_defined_symbols=list(config.stand_ins),
                character_coverage=config.character_coverage,
                byte_fallback=config.byte_fallback,
                max_sentence_length=2**30,
                num_threads=4,  # Fixed: sums depend on it.
                minloglevel=2,
            )
    except RuntimeError as error:
        # The message is: place in its source [condition] reason.
        reason = str(error).rpartition("]")[2].strip()
        if "required_chars" in reason:
            reason = "single characters need more: raise it, or lower character_coverage"
        raise _failed(config, reason or "the texts are empty") from None
    if config.form == "nfkc":
        return model.getvalue()
    return _without_rule_path(model.getvalue())


def _without_rule_path(model: bytes) -> bytes:
    """A SentencePiece model without the path of the file that its rules are from.

    The classes that sentencepiece brings for its models need a newer protobuf than TensorFlow 2.19
    allows. Fields that are not declared here are kept.
    """
    file = descriptor_pb2.FileDescriptorProto(name="modelzoo/sentencepiece.proto", syntax="proto2")
    rules = file.message_type.add(name="Rules")
    rules.field.add(name="path", number=6, type=_FIELD.TYPE_STRING)
    outer = file.message_type.add(name="Model")
    outer.field.add(name="rules", number=3, type=_FIELD.TYPE_MESSAGE, type_name=f".{rules.name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    saved = message_factory.GetMessageClass(pool.FindMessageTypeByName(outer.name))()
    saved.ParseFromString(model)
    saved.rules.ClearField("path")
    return saved.SerializeToString(deterministic=True)


def _word_pieces(config: Subwords, learned: Sequence[str]) -> list[str]:
    """SentencePiece's pieces, the most useful first, as those of WordPiece."""
    found = [
        piece.removeprefix(_SPACE) if piece.startswith(_SPACE) else _INNER + piece
        for piece in learned
        if piece != _SPACE
    ]
    # A word with a character that is no piece would be unknown.
    single = sorted({c for piece in found for c in piece.removeprefix(_INNER)})
    least = len(config.first) + 2 * len(single)
    if least > config.size:
        raise _failed(config, f"single characters need {least}")
    kept = [*single, *(_INNER + c for c in single), *found]
    return list(dict.fromkeys(kept))[: config.size - len(config.first)]


def _failed(config: Subwords, reason: str) -> UserError:
    return UserError(
        f"cannot train {config.kind} pieces with size={config.size}: {' '.join(reason.split())}"
    )
