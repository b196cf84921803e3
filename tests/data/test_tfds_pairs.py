"""Pairs of TFDS: translations, features by name, and sequences of references."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from modelzoo.data.tfds_pairs import TfdsPairs
from modelzoo.data.tokenizers import Words
from modelzoo.fields.errors import UserError

COUNT = 11


class TinyTranslate(tfds.core.GeneratorBasedBuilder):
    """Laid out as the WMT sets are, and as SQuAD is."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name) for name in ("translate", "bad", "questions")
    ]

    def _info(self):
        if self.builder_config.name != "questions":
            features = tfds.features.Translation(languages=("de", "en"))
            return self.dataset_info_from_configs(features=features, supervised_keys=("de", "en"))
        answers = {"text": tfds.features.Text(), "answer_start": tfds.features.Scalar(np.int32)}
        features = {
            "context": tfds.features.Text(),
            "question": tfds.features.Text(),
            "answers": tfds.features.Sequence(answers),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples("train"), "test": self._generate_examples("test")}

    def _generate_examples(self, split):
        for k in range(COUNT):
            pair = {"de": f"{split} Satz {k} ü\n", "en": f"{split} sentence {k}"}
            if self.builder_config.name == "bad" and k in (2, 5):
                pair |= {"de": b"caf\xe9"} if k == 2 else {"en": " "}
            if self.builder_config.name == "questions":
                answers = [{"text": f"answer {n} of {k}", "answer_start": n} for n in range(k % 4)]
                pair = {"context": f"context {k}", "question": f"{k}?", "answers": answers}
            yield k, pair


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    for config in TinyTranslate.BUILDER_CONFIGS:
        TinyTranslate(data_dir=path, config=config.name).download_and_prepare()
    return path


def pairs(data_dir, config="translate", **fields):
    fields = {"tokenizer": Words()} | fields
    return TfdsPairs(f"tiny_translate/{config}", data_dir=data_dir, **fields)


def rows_of(source):
    texts = [t.decode() for t in source.gather(range(source.num_examples))["text"].numpy()]
    return list(zip(texts, source.references, strict=True))


@pytest.mark.parametrize("split", ["train", "test", "train[3:7]"])
def test_translations_are_those_of_tfds_in_its_order(data_dir, split, monkeypatch):
    monkeypatch.setattr("modelzoo.data.tfds_pairs._PIECE", 4)
    source = pairs(data_dir).open(split)
    theirs = tfds.load("tiny_translate/translate", split=split, data_dir=data_dir, download=False)
    expected = [
        (x["de"].decode().strip(), (x["en"].decode().strip(),)) for x in theirs.as_numpy_iterator()
    ]
    assert rows_of(source) == expected and source.ids[0].startswith(split[:4])
    turned = pairs(data_dir, source_features=("en",), target="de").open(split)
    assert rows_of(turned) == [(en, (de,)) for de, (en,) in expected]


@pytest.mark.field("TfdsPairs.source_features", "Tfds.target")
def test_features_are_joined_and_a_sequence_holds_the_references(data_dir):
    fields = {"source_features": ("question", "context"), "target": "answers/text"}
    source = pairs(data_dir, "questions", **fields, on_bad_pair="skip").open("train")
    rows = rows_of(source)
    # Those without an answer are bad pairs.
    assert len(rows) == COUNT - 3
    assert [reason for _, reason in source.skipped] == ["is missing"] * 3
    for text, references in rows:
        question, context = text.split("\n")
        k = int(question[:-1])
        assert context == f"context {k}"
        assert references == tuple(f"answer {n} of {k}" for n in range(k % 4))
    with pytest.raises(UserError, match=r"answers/text of train/\d+ is missing; .*on_bad_pair="):
        pairs(data_dir, "questions", **fields).open("train")


@pytest.mark.field("EncodedPairData.on_bad_pair")
def test_a_bad_pair_is_named_or_skipped(data_dir):
    with pytest.raises(UserError, match=r"bad: (de|en) of train/\d+ is .*data.on_bad_pair='skip'"):
        pairs(data_dir, "bad").open("train")
    source = pairs(data_dir, "bad", on_bad_pair="skip").open("train")
    assert sorted(reason for _, reason in source.skipped) == ["is empty", "is not UTF-8"]
    numbers = [int(text.split()[2]) for text, _ in rows_of(source)]
    assert sorted(numbers) == [k for k in range(COUNT) if k not in (2, 5)]


@pytest.mark.parametrize(
    "config, fields, message",
    [
        ("questions", {}, "does not say what is source and target; name them .*, of .*question"),
        ("questions", {"source_features": ("question",)}, "does not say what is source and target"),
        ("translate", {"target": "fr"}, "no feature 'fr' for config.data.target; .* de, en"),
        ("translate", {"source_features": ("x",)}, "no feature 'x' for config.data.source_featur"),
        (
            "questions",
            {"source_features": ("question",), "target": "answers/answer_start"},
            "target=answers/answer_start .* is no text, it is a sequence of Scalar",
        ),
        (
            "questions",
            {"source_features": ("answers/text",), "target": "context"},
            "source_features=answers/text .* is no text, it is a sequence of Text",
        ),
    ],
)
def test_features_that_are_no_texts_are_refused(data_dir, config, fields, message):
    with pytest.raises(UserError, match=message):
        pairs(data_dir, config, **fields).open("train")
