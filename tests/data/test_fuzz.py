"""Damaged files: each is read right, counted as bad or refused in one line, and none is lost.

Every file is a mutation of a good one, by a seed: bytes are flipped, cut and joined, quotes and
separators are inserted.
"""

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image as Picture

from modelzoo.data import (
    ClassFolders,
    ClassLabel,
    Dataset,
    Image,
    Npz,
    ParallelText,
    Series,
    Table,
    Text,
    Words,
)
from modelzoo.data.columns import Wanted
from modelzoo.data.requests import RequestReader
from modelzoo.data.sources.tabular import read_lines
from modelzoo.fields.errors import UserError

NUMBERS = {"table": 250, "series": 250, "lines": 250, "texts": 250, "images": 200, "archives": 250}
FILES_OF_A_FOLDER = 50

TOKENS = [b'"', b'""', b",", b"\t", b";", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3"]
TOKENS += [b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"}", b"[", b"\\", b'\\"', b"1e999"]
TOKENS += [b"nan", b"\x1f\x8b", b"PK\x03\x04", b" ", b"'", b'",', b'\n"']


def mutate(rng, data, other):
    """A damaged copy; `other` is a good file to join it with."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, way = int(rng.integers(0, len(data) + 1)), rng.integers(0, 6)
        end = at + int(rng.integers(1, 9))
        if way == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif way == 1:
            data[at:end] = rng.bytes(min(end, len(data)) - at)
        elif way == 2:
            del data[at : end if rng.integers(0, 2) else len(data)]
        elif way == 3:
            start = int(rng.integers(0, len(other)))
            data[at:at] = other[start : start + int(rng.integers(1, len(other)))]
        else:
            data[at:at] = TOKENS[rng.integers(0, len(TOKENS))]
    return bytes(data)


def mutations(kind, goods, number):
    rng = np.random.default_rng(list(kind.encode()))
    for k in range(number):
        yield mutate(rng, goods[k % len(goods)], goods[int(rng.integers(0, len(goods)))])


def refused(error):
    """Whether a UserError is a message of one line."""
    text = str(error)
    return len(text) > 10 and "\n" not in text and "Traceback" not in text and len(text) < 2000


def physical_lines(data):
    """The lines of a file, as its numbers count them."""
    found = re.split("\r\n|\r|\n", data.decode("utf-8-sig", "surrogateescape"))
    return found if found[-1] else found[:-1]


def delimited(delimiter, quote=""):
    rows = [
        ("text", "n"),
        *((f"text {k} of\nmany" if quote else f"text {k}", k) for k in range(20)),
    ]
    lines = (delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    return ("\n".join(lines) + "\n").encode()


TABLES = {
    "a.csv": [delimited(","), delimited(",", '"'), delimited(";"), delimited("|", '"')],
    "a.tsv": [delimited("\t")],
    "a.txt": [delimited(",").replace(b"\n", b"\r\n"), delimited("\t"), delimited(",")],
    "a.jsonl": ["".join(f'{{"text": "text {k}", "n": {k}}}\n' for k in range(20)).encode()],
}
NEEDED = {"text": "config.data.inputs.columns", "n": "config.data.target.columns"}
WANTED = [
    Wanted("inputs", ("text",), "text", ("text",)),
    Wanted("target", ("n",), "label", ("number",)),
]


@pytest.mark.parametrize("name", TABLES)
def test_damaged_tables(tmp_path, name):
    path, done = tmp_path / name, 0
    for data in mutations(name, TABLES[name], NUMBERS["table"]):
        path.write_bytes(data)
        try:
            lines = list(read_lines(str(path), NEEDED))
            rows = Table(str(path)).open().read(WANTED, ["train"])["train"]
        except UserError as error:
            assert refused(error), (data, error)
            continue
        done += 1
        stored = physical_lines(data)
        blank = [k for k, line in enumerate(stored, 1) if not (line.strip("\n\r"))]
        if name == "a.jsonl":
            blank = [k for k, line in enumerate(stored, 1) if not line.strip()]
        header = [] if name == "a.jsonl" else [next(k for k in range(1, 99) if k not in blank)]
        seen = []
        for number, cells, _ in lines:
            # Line ends in cells in quotes are lines of the row.
            inside = len(re.findall("\r\n|\r|\n", "".join(map(str, cells.values()))))
            seen += range(number, number + 1 + inside)
        if (header and header[0] + 1 in seen) or not header:
            assert sorted(seen) == sorted({*seen}), data
            missing = set(range(1, len(stored) + 1)) - {*seen, *blank, *header}
            assert not missing, (data, missing)
        assert len(rows) + len(rows.bad) == len(lines), data
        assert np.isfinite(rows.columns["target"][0].values).all()
    assert done > NUMBERS["table"] / 3


def test_damaged_series(tmp_path):
    good = ("x,y\n" + "".join(f"{k},{k * k}\n" for k in range(20))).encode()
    goods = [good, good.replace(b",", b", "), good.replace(b",", b";").replace(b"\n", b"\r\n")]
    path = tmp_path / "s.csv"
    path.write_bytes(good)
    data = Dataset(source=Table(str(path)), inputs=Series(columns=("x", "y"), length=3, horizon=1))
    reader, done = RequestReader(data, data.open().bound), 0
    for stored in mutations("series", goods, NUMBERS["series"]):
        path.write_bytes(stored)
        try:
            found = reader.from_table(str(path))
        except UserError as error:
            assert refused(error), (stored, error)
            continue
        # The last rows of the file, or a reason.
        assert len(found.places) + len(found.bad) == 1, stored
        if found.places:
            done += 1
            last = list(read_lines(str(path), {"x": "", "y": ""}))[-3:]
            expected = [[float(cells["x"]), float(cells["y"])] for _, cells, _ in last]
            series = found.split.gather([0])["series"].numpy()[0]
            np.testing.assert_array_equal(series, np.array(expected, np.float32))
            assert found.places[0]["line"] == last[-1].number
    assert done > NUMBERS["series"] / 3


def test_damaged_lines_of_texts(tmp_path):
    good = "".join(f"text {k} é\n" for k in range(20)).encode()
    goods, done = [good, good.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + good], 0
    paths = [str(tmp_path / name) for name in ("a.en", "a.de")]
    for path in paths:
        (tmp_path / path).write_bytes(good)
    data = Dataset(source=ParallelText(*paths), inputs=Text(tokenizer=Words(), lengths=(8,)))
    reader = RequestReader(data, data.open().bound)
    wanted = [Wanted("inputs", ("source",), "text", ("text",))]
    for stored in mutations("lines", goods, NUMBERS["lines"]):
        for path in paths:
            (tmp_path / path).write_bytes(stored)
        count = stored.count(b"\n") + (stored[-1:] not in (b"\n", b""))
        found = list(reader.from_files(paths[:1]))
        try:
            rows = data.source.open().read(wanted, ["train"])["train"]
        except UserError as error:
            assert refused(error) and [place for place, _ in found] == [{"file": paths[0]}]
            assert str(found[0][1]) in str(error)
            continue
        done += 1
        assert len(rows) + len(rows.bad) == count
        assert [place["line"] for place, _ in found] == list(range(1, count + 1))
        read = [value.decode().strip() for _, value in found if isinstance(value, bytes)]
        assert read == list(rows.columns["inputs"][0].values)
    assert done > NUMBERS["lines"] / 3


def folders(tmp_path, kind, goods):
    """Folders of damaged files of a kind, by suffix, with one good file in each class."""
    contents = list(mutations(kind, [data for _, data in goods], NUMBERS[kind]))
    for first in range(0, len(contents), FILES_OF_A_FOLDER):
        root = tmp_path / f"{kind}{first}"
        for k, data in enumerate(contents[first : first + FILES_OF_A_FOLDER]):
            suffix = goods[(first + k) % len(goods)][0]
            (root / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
            (root / "ab"[k % 2] / f"{k}.{suffix}").write_bytes(data)
        for name in "ab":  # No class is without an example.
            (root / name / f"good.{goods[0][0]}").write_bytes(goods[0][1])
        yield root, min(FILES_OF_A_FOLDER, len(contents) - first) + 2


def check_folders(found, inputs):
    for root, number in found:
        source = ClassFolders(str(root))
        fields = {"inputs": inputs, "target": ClassLabel()}
        split = Dataset(source=source, on_bad="skip", **fields).open().split("train")
        assert split.num_examples + len(split.skipped) == number
        for bad in split.skipped:
            assert bad.place.startswith(str(root)) and "\n" not in bad.reason
        assert split.skipped
        with pytest.raises(UserError) as error:
            one = Dataset(source=source, **fields).open().split("train")
            one.examine(np.arange(one.num_examples))
        assert refused(error.value)
        yield split


def test_damaged_files_of_texts(tmp_path):
    good = "A text of\nsome lines,\né.\n" * 5
    goods = [("txt", good.encode()), ("txt", good.encode("utf-16")), ("TXT", b"\xef\xbb\xbfone")]
    inputs = Text(tokenizer=Words(), lengths=(8,))
    assert (
        sum(s.num_examples for s in check_folders(folders(tmp_path, "texts", goods), inputs)) > 50
    )


def encoded(name, number):
    pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, name)
    return file.getvalue()


def test_damaged_images(tmp_path):
    # A file may have the suffix of another format, as messengers name WebP.
    names = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "WEBP": "jpg"}
    goods = [(suffix, encoded(name, k)) for k, (name, suffix) in enumerate(names.items())]
    inputs = Image(size=(8, 8), channels=3)
    for split in check_folders(folders(tmp_path, "images", goods), inputs):
        images = split.gather(np.arange(split.num_examples))["image"]
        assert images.shape == (split.num_examples, 8, 8, 3)


def archive(save):
    file = io.BytesIO()
    save(file, x_train=np.arange(24.0).reshape(6, 4), y_train=np.arange(6) % 2)
    return file.getvalue()


def test_damaged_archives(tmp_path):
    goods, path, done = [archive(np.savez), archive(np.savez_compressed)], tmp_path / "a.npz", 0
    wanted = [
        Wanted("inputs", ("x",), "x", ("array",)),
        Wanted("target", ("y",), "y", ("class",)),
    ]
    for data in mutations("archives", goods, NUMBERS["archives"]):
        path.write_bytes(data)
        try:
            source = Npz(str(path)).open()
            rows = source.read(wanted, source.split_names)
        except UserError as error:
            assert refused(error), (data, error)
            continue
        done += 1
        with zipfile.ZipFile(path) as file:
            members = {name.removesuffix(".npy") for name in file.namelist()}
        # Checksums protect the contents.
        if "x_train" in members:
            (x,), (y,) = rows["train"].columns["inputs"], rows["train"].columns["target"]
            np.testing.assert_array_equal(x.values, np.arange(24.0).reshape(6, 4))
            np.testing.assert_array_equal(y.values, np.arange(6) % 2)
        else:
            assert "train" not in rows
    assert done


def test_there_are_enough_damaged_files():
    assert sum(NUMBERS.values()) + (len(TABLES) - 1) * NUMBERS["table"] >= 2000
