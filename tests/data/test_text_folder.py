"""Folders of texts by class: what is read, in which order, and every bad file by its name."""

import numpy as np
import pytest

from modelzoo.data.text_folder import TextFolder
from modelzoo.fields.errors import UserError


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(root)


def rows_of(source):
    """Id to text and label."""
    raw = source.gather(np.arange(source.num_examples))
    texts = [text.decode() for text in raw["text"].numpy()]
    return dict(zip(source.ids, zip(texts, raw["label"].numpy(), strict=True), strict=True))


@pytest.fixture
def reviews(tmp_path):
    """Laid out as the IMDB reviews are."""
    files = {"README": "no", "imdb.vocab": "no", "train/urls_pos.txt": "no"}
    for split in ("train", "test"):
        for k, name in enumerate(("neg", "pos")):
            files |= {f"{split}/{name}/{n}_{k}.txt": f"{split} {name} {n}" for n in range(3)}
    files |= {"train/unsup/0_0.txt": "nothing", "train/neg/.hidden.txt": "", "test/pos/x.md": ""}
    return write(tmp_path, files)


@pytest.mark.field("TextFolder.data_dir", "TextFolder.classes")
def test_files_are_texts_of_the_classes_that_are_chosen(reviews):
    config = TextFolder(reviews, classes=("pos", "neg"))
    for split in ("train", "test"):
        source = config.open(split)
        assert source.spec.class_names == ("neg", "pos") and source.spec.targets == "class"
        assert rows_of(source) == {
            f"{split}/{name}/{n}_{k}.txt": (f"{split} {name} {n}", k)
            for k, name in enumerate(("neg", "pos"))
            for n in range(3)
        }
    assert TextFolder(reviews).open("train").spec.class_names == ("neg", "pos", "unsup")
    with pytest.raises(UserError, match=r"test.unsup is missing or has no texts \(\.txt\)"):
        TextFolder(reviews).open("test")
    with pytest.raises(UserError, match="no split 'dev'; it has test, train"):
        config.open("dev")


def test_slices_are_random_parts_that_no_text_is_in_twice(tmp_path):
    files = {f"{'ab'[k % 2]}/{k}.txt": f"text {k // 4}" for k in range(80)}
    config = TextFolder(write(tmp_path, files), train_split="train[:60%]", test_split="train[60%:]")
    train, test = (rows_of(config.open(role)) for role in ("train", "test"))
    assert {**train, **test}.keys() == files.keys() and len(train) + len(test) == 80
    assert (
        train
        and test
        and not {text for text, _ in train.values()} & {text for text, _ in test.values()}
    )


BAD = {"empty": (b" \n", "is empty"), "not UTF-8": (b"caf\xe9", "is not UTF-8")}


@pytest.mark.field("EncodedTextData.on_bad_text")
@pytest.mark.parametrize("data, reason", BAD.values(), ids=BAD)
def test_a_bad_file_is_named_or_skipped(tmp_path, data, reason):
    root = write(tmp_path, {"a/0.txt": "one", "b/0.TXT": "\ufefftwo", "a/1.txt": data})
    with pytest.raises(UserError, match=rf"the text a/1\.txt {reason}; .*data.on_bad_text='skip'"):
        TextFolder(root).open("train")
    source = TextFolder(root, on_bad_text="skip").open("train")
    assert rows_of(source) == {"a/0.txt": ("one", 0), "b/0.TXT": ("two", 1)}
    assert source.skipped == [("a/1.txt", reason)]


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="^classes must be None or"):
        TextFolder("x", classes=())
