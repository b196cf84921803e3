"""Texts of TFDS: as it gives them, whichever feature is text and whichever is learned."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from modelzoo.data.tfds_images import TfdsImages
from modelzoo.data.tfds_text import TfdsText
from modelzoo.fields.errors import UserError

COUNT = 11


class TinyReviews(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name) for name in ("plain", "pair", "bad", "unlabelled")
    ]

    def _info(self):
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["neg", "pos"]),
            "stars": np.float32,
        }
        if self.builder_config.name == "pair":
            features["title"] = tfds.features.Text()
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples("train"), "test": self._generate_examples("test")}

    def _generate_examples(self, split):
        kind = self.builder_config.name
        for k in range(COUNT):
            text = f"{split} {k} é\n"
            if kind == "bad" and k in (2, 5):
                text = b"caf\xe9" if k == 2 else "  "
            label = -1 if kind == "unlabelled" else k % 2
            pair = {"title": f"title {k}"} if kind == "pair" else {}
            yield k, {"text": text, "label": label, "stars": k / 2, **pair}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    for config in TinyReviews.BUILDER_CONFIGS:
        TinyReviews(data_dir=path, config=config.name).download_and_prepare()
    return path


def reviews(data_dir, config="plain", **fields):
    return TfdsText(f"tiny_reviews/{config}", data_dir=data_dir, **fields)


def rows_of(source):
    raw = source.gather(np.arange(source.num_examples))
    texts = [text.decode() for text in raw["text"].numpy()]
    return list(zip(source.ids, texts, raw["label"].numpy().tolist(), strict=True))


@pytest.mark.parametrize("split", ["train", "test", "train[3:7]", "train[-30%:]"])
def test_rows_are_those_of_tfds_in_its_order(data_dir, split, monkeypatch):
    monkeypatch.setattr("modelzoo.data.tfds_text._PIECE", 4)
    source = reviews(data_dir).open(split)
    theirs = tfds.load("tiny_reviews/plain", split=split, data_dir=data_dir, download=False)
    expected = [(x["text"].decode().strip(), x["label"]) for x in theirs.as_numpy_iterator()]
    rows = rows_of(source)
    assert [row[1:] for row in rows] == expected and rows[0][0].startswith(split[:4])
    assert source.spec.class_names == ("neg", "pos") and source.spec.targets == "class"


def test_the_target_may_be_numbers(data_dir):
    source = reviews(data_dir, target="stars").open("train")
    assert source.spec.targets == "values" and source.spec.class_names == ("stars",)
    assert all(label == [int(text.split()[1]) / 2] for _, text, label in rows_of(source))


@pytest.mark.field("TfdsText.text_features")
def test_several_features_are_joined_in_the_order_of_their_names(data_dir):
    source = reviews(data_dir, "pair", text_features=("title", "text")).open("train")
    for _, text, _ in rows_of(source):
        title, body, *rest = text.split("\n")
        assert title.split()[1] == body.split()[1] and body.startswith("train") and not rest
    with pytest.raises(UserError, match="has 2 features that are text; .*text_features, of .*titl"):
        reviews(data_dir, "pair").open("train")
    with pytest.raises(UserError, match="no text 'stars' for .*text_features; .* are text"):
        reviews(data_dir, text_features=("stars",)).open("train")


@pytest.mark.field("EncodedTextData.on_bad_text")
def test_a_bad_text_is_named_or_skipped(data_dir):
    config = reviews(data_dir, "bad")
    with pytest.raises(UserError, match=r"bad: the text train/\d+ is .*data.on_bad_text='skip'"):
        config.open("train")
    source = reviews(data_dir, "bad", on_bad_text="skip").open("train")
    numbers = [int(text.split()[1]) for _, text, _ in rows_of(source)]
    assert sorted(numbers) == [k for k in range(COUNT) if k not in (2, 5)]
    assert [label for _, _, label in rows_of(source)] == [k % 2 for k in numbers]
    assert sorted(reason for _, reason in source.skipped) == ["is empty", "is not UTF-8"]
    assert {name for name, _ in source.skipped} | set(source.ids) == {
        f"train/{row}" for row in range(COUNT)
    }


def test_data_without_labels_or_without_texts_is_refused(data_dir):
    with pytest.raises(UserError, match="the split 'train' of tiny_reviews/unlabelled has no labe"):
        reviews(data_dir, "unlabelled").open("train")
    with pytest.raises(UserError, match="not one of one image in each example"):
        TfdsImages("tiny_reviews/plain", data_dir=data_dir).open("train")
    with pytest.raises(UserError, match="'imdb_reviews' is not prepared .*download_and_prepare"):
        TfdsText("imdb_reviews", data_dir=data_dir).open("train")
