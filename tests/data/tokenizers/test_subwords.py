import subprocess
import sys

import pytest
import sentencepiece
import tensorflow as tf

from modelzoo.data.tokenizers import Subwords
from modelzoo.fields.errors import UserError

TEXTS = [
    "the lowest of the lower towers was newer than the newest",
    "she saw the widest river, wider than ever; the sea saw her",
    "naïve cafés serve café au lait — naïvely",
    "low, lower, lowest; new, newer, newest; wide, wider, widest",
]
NEW = ["the slowest newt", "cafés,\twidely  seen\n", "naïve 🙂 lait", "", "lowlowlow" * 20]


def restored(trained, text):
    return trained.join(trained.ids(tf.constant([text]))).numpy()[0].decode()


def tokens(trained, text):
    return [trained.vocabulary[k] for k in trained.ids(tf.constant([text])).to_list()[0]]


@pytest.mark.field("Subwords.kind", "Subwords.size")
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_those_of_sentencepiece_itself(kind):
    trained = Subwords(kind=kind, size=70).train(TEXTS)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=trained.model)
    assert trained.vocab_size == theirs.vocab_size() <= 70
    for text in TEXTS + NEW:
        plain = " ".join(text.split())
        assert trained.ids(tf.constant([text])).to_list() == [theirs.encode(plain)]
        if "🙂" not in text:
            assert restored(trained, text) == plain
    assert trained.describe() == f"{trained.vocab_size} {kind} pieces"


def slow_word_pieces(words, vocabulary):
    """Greedy longest match: the longest piece first."""
    found = []
    for word in words:
        start, pieces = 0, []
        while start < len(word):
            ends = range(len(word), start, -1)
            named = ["##" * (start > 0) + word[start:end] for end in ends]
            piece = next((name for name in named if name in vocabulary), None)
            if piece is None:
                pieces = ["<unk>"]
                break
            pieces.append(piece)
            start += len(piece) - 2 * (start > 0)
        found += pieces
    return found


@pytest.mark.field("Subwords.kind", "Subwords.size")
def test_word_pieces_are_the_longest_first():
    trained = Subwords(kind="wordpiece", size=110).train(TEXTS)
    assert trained.vocab_size == 110 and "##est" in trained.vocabulary
    for text in TEXTS + NEW[:4]:
        words = [word.decode() for word in trained.config.words(tf.constant([text])).to_list()[0]]
        assert tokens(trained, text) == slow_word_pieces(words, set(trained.vocabulary))
    # Every word of known characters has pieces, except one of more than 100 bytes.
    assert "<unk>" not in tokens(trained, "wtsohl xyz".replace("xyz", "reve"))
    assert tokens(trained, NEW[4]) == ["<unk>"]
    assert restored(trained, "slow, naïver") == "slow , naïver"


@pytest.mark.field("Subwords.byte_fallback")
def test_unknown_characters_fall_back_to_their_bytes():
    trained = Subwords(size=330, byte_fallback=True).train(TEXTS)
    assert tokens(trained, "é🙂")[-4:] == ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    assert restored(trained, "naïve 🙂 שלום") == "naïve 🙂 שלום"
    assert tokens(Subwords(size=70).train(TEXTS), "é🙂")[-1] == "<unk>"


@pytest.mark.field("Subwords.character_coverage")
def test_the_rarest_characters_have_no_id_below_full_coverage():
    texts = [*TEXTS, "ж"]
    known = {}
    for share in (1.0, 0.99):
        known[share] = {
            *"".join(Subwords(size=80, character_coverage=share).train(texts).vocabulary)
        }
    assert "ж" in known[1.0] - known[0.99] and "e" in known[0.99]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_a_size_below_the_number_of_characters_is_an_error(kind):
    with pytest.raises(
        UserError,
        match=rf"cannot train {kind} pieces with size=20: single characters need",
    ):
        Subwords(kind=kind, size=20).train(TEXTS)


def test_long_texts_are_learned_from_completely():
    # By default SentencePiece drops lines of more than 4,192 bytes.
    trained = Subwords(size=60).train(["the cat sat " * 1000 + "zebra " * 100])
    assert "z" in "".join(trained.vocabulary)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_model_without_normalization_logs_nothing_and_names_no_file(kind, tmp_path):
    trained = [Subwords(kind=kind, size=70, normalize="none").train(TEXTS) for _ in range(2)]
    assert trained[0] == trained[1]  # Though each was trained with another file of rules.
    assert b".tsv" not in trained[0].model
    # Without rules, a process that reads the model and trains none logs a line.
    code = "import sentencepiece, sys; sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])"
    path = tmp_path / "model"
    path.write_bytes(trained[0].model)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert done.stdout + done.stderr == b""
    assert restored(trained[0], "ﬁ²\u3000 the\tlow") == "\u2047 the low"
