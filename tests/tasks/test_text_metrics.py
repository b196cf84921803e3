import builtins

import pytest
import sacrebleu

from modelzoo.fields.errors import UserError
from modelzoo.tasks import text_metrics

OUTPUTS = ["The cat sat on the mat.", "a dog", "", "Ein Haus am See"]
ONE = [("The cat sat on a mat.",), ("two dogs",), ("nothing at all",), ("Ein Haus am See",)]
SEVERAL = [*ONE[:1], ("two dogs", "a dog", "the dog barks"), *ONE[2:]]


def test_bleu_and_chrf_are_the_values_of_sacrebleu():
    streams = [[row[0] for row in ONE]]
    values, signatures = text_metrics.compute(["bleu", "bleu_tokenized", "chrf"], OUTPUTS, ONE)
    assert values == {
        "bleu": sacrebleu.corpus_bleu(OUTPUTS, streams).score,
        "bleu_tokenized": sacrebleu.corpus_bleu(OUTPUTS, streams, tokenize="none").score,
        "chrf": sacrebleu.corpus_chrf(OUTPUTS, streams).score,
    }
    assert values["bleu"] != values["bleu_tokenized"]
    version = f"version:{sacrebleu.__version__}"
    assert signatures["bleu"] == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|{version}"
    assert "tok:none" in signatures["bleu_tokenized"]
    assert signatures["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no")


def test_rows_may_have_different_numbers_of_references():
    values, signatures = text_metrics.compute(["bleu", "chrf"], OUTPUTS, SEVERAL)
    before, _ = text_metrics.compute(["bleu", "chrf"], OUTPUTS, ONE)
    assert signatures["bleu"].startswith("nrefs:var|")
    for name, found in values.items():
        assert found > before[name] > 0


def test_exact_match_takes_any_reference_and_ignores_white_space_only():
    outputs = ["a dog", "  two   dogs\n", "Two dogs", ""]
    references = [("a cat", "a dog"), ("two dogs",), ("two dogs",), ("x",)]
    assert text_metrics.compute(["exact_match"], outputs, references) == ({"exact_match": 0.5}, {})


@pytest.mark.parametrize(
    ("output", "references", "f1", "same"),
    [
        ("the Cat sat!", ("a cat, sat",), 1, 1),
        ("cat sat down", ("cat sat",), 0.8, 0),
        ("cat cat", ("cat",), 2 / 3, 0),
        ("dog", ("cat",), 0, 0),
        ("dog", ("cat", "big dog"), 2 / 3, 0),
        ("", ("cat",), 0, 0),
        # As the script of version 1.1; in version 2.0, the F1 of these is 1.
        ("The.", ("",), 0, 1),
        ("a", ("A!",), 0, 1),
        ("", ("cat", "the"), 0, 1),
        ("there, then", ("re n",), 0, 0),  # Articles are words, not the letters of others.
    ],
)
def test_f1_counts_words_as_squad_does(output, references, f1, same):
    values, _ = text_metrics.compute(["f1"], [output], [references])
    assert values == {"f1": pytest.approx(f1), "squad_exact_match": same}


def test_f1_is_a_mean_over_examples():
    values, _ = text_metrics.compute(["f1"], ["cat", "dog"], [("cat",), ("cat",)])
    assert values == {"f1": 0.5, "squad_exact_match": 0.5}


def test_rouge_of_hand_counted_summaries():
    # Of "cats running far" and "the cat runs": two stems of three each, the pair of them not; the
    # better reference counts for each.
    values, signatures = text_metrics.compute(
        ["rouge"], ["cats running far"], [("x", "the cat runs")]
    )
    assert values == {
        "rouge1": pytest.approx(2 / 3),
        "rouge2": pytest.approx(1 / 2),
        "rougeL": pytest.approx(2 / 3),
    }
    assert signatures["rouge"].startswith("rouge-score:")


def test_rouge_without_its_package_names_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("rouge_score"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    text_metrics.check(["bleu", "f1"], None, ONE)
    with pytest.raises(UserError, match=r"pip install 'modelzoo\[rouge\]'"):
        text_metrics.check(["bleu", "rouge"], None, ONE)


def test_values_have_the_names_that_are_known_beforehand():
    metrics = ("bleu", "bleu_tokenized", "chrf", "rouge", "exact_match", "f1")
    values, _ = text_metrics.compute(metrics, OUTPUTS, ONE)
    assert list(values) == [name for metric in metrics for name in text_metrics.names(metric)]


GERMAN, RUSSIAN = "Wie schön: ein Haus am See!", "Как дела? Очень хорошо."
CHINESE, SEGMENTED = "我们今天去公园，你呢？用TensorFlow。", "我们 今天 去 公园 ， 你 呢 ？"  # noqa: RUF001
JAPANESE, KOREAN = "今日は東京でラーメンを食べました。", "오늘은 서울에서 라면을 먹었습니다."
THAI, KHMER = "วันนี้เรากินข้าวที่กรุงเทพ", "ថ្ងៃនេះយើងញ៉ាំបាយ"


@pytest.mark.parametrize("mecab", [True, False])
@pytest.mark.parametrize(
    "text, with_mecab, without",
    [
        (GERMAN, "13a", "13a"),
        (RUSSIAN, "13a", "13a"),
        ("שלום עולם", "13a", "13a"),
        ("नमस्ते दुनिया", "13a", "13a"),
        ("12 + 3 = 15", "13a", "13a"),
        ("", "13a", "13a"),
        (CHINESE, "zh", "zh"),
        (SEGMENTED, "zh", "zh"),
        ("他说：“东京タワー很高。”我们都去过那里看风景。", "zh", "zh"),  # noqa: RUF001
        (JAPANESE, "ja-mecab", "char"),
        (KOREAN, "ko-mecab", "13a"),
        (THAI, "char", "char"),
        (KHMER, "char", "char"),
    ],
)
def test_bleu_is_that_of_sacrebleu_with_the_tokenizer_of_the_script(
    text, with_mecab, without, mecab, monkeypatch
):
    monkeypatch.setattr(text_metrics, "_has_mecab", lambda tokenizer: mecab)
    references, fitting = [(text, "another")], with_mecab if mecab else without
    assert text_metrics.choose_bleu_tokenizer(references) == fitting
    explained = text_metrics.check(["bleu"], None, references)
    assert bool(explained) == (fitting == "char" and text == JAPANESE)
    if "mecab" not in fitting:
        values, signatures = text_metrics.compute(["bleu"], [text], references)
        streams = [[text], ["another"]]
        score = sacrebleu.corpus_bleu([text], streams, tokenize=fitting, force=True).score
        assert values == {"bleu": score} and f"|tok:{fitting}|" in signatures["bleu"]
        assert text_metrics.check(["bleu"], fitting, references) == []


@pytest.mark.parametrize(
    "metric, tokenizer, text, remark",
    [
        ("bleu", "13a", CHINESE, "bleu_tokenizer=zh"),
        ("bleu", "intl", CHINESE, "bleu_tokenizer=zh"),
        ("bleu", "13a", JAPANESE, "bleu_tokenizer=char"),
        ("bleu", "13a", THAI, "bleu_tokenizer=char"),
        ("bleu", "13a", SEGMENTED, None),
        ("bleu", "13a", KOREAN, None),
        ("bleu", "zh", GERMAN, "of another script: use 13a"),
        ("bleu", "zh", JAPANESE, "of another script: use char"),
        ("bleu", "char", GERMAN, None),
        ("bleu_tokenized", None, CHINESE, "bleu_tokenized splits words at spaces"),
        ("bleu_tokenized", None, SEGMENTED, None),
        ("f1", None, THAI, "f1 splits words at spaces"),
        ("f1", None, RUSSIAN, None),
        ("rouge", None, RUSSIAN, "rouge knows only words of the letters a to z"),
        ("rouge", None, CHINESE, "rouge knows only words of the letters a to z"),
        ("rouge", None, GERMAN, None),
        ("chrf", "13a", CHINESE, None),
    ],
)
def test_a_metric_that_does_not_fit_the_script_is_remarked(metric, tokenizer, text, remark):
    remarks = text_metrics.check([metric], tokenizer, [(text,)])
    assert [remark in one for one in remarks] == [True] if remark else remarks == []
    # Where it cannot fit, outputs that equal the references get about 0.
    if metric == "bleu" and tokenizer == "13a":
        score = text_metrics.bleu([text], [(text,)], tokenizer)[0]["bleu"]
        assert (score < 1) == bool(remark)


def test_a_tokenizer_without_its_package_names_what_to_install(monkeypatch):
    monkeypatch.setattr(text_metrics, "_has_mecab", lambda tokenizer: False)
    with pytest.raises(UserError, match=r"ja-mecab needs MeCab: pip install 'sacrebleu\[ja\]'"):
        text_metrics.check(["bleu"], "ja-mecab", ONE)
    assert text_metrics.check(["chrf"], "ja-mecab", ONE) == []
