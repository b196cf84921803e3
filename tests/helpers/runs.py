"""Runs of a few steps, and what they leave."""

import dataclasses
import io

import numpy as np

import modelzoo
from modelzoo.data import ClassLabel, Dataset, Image, Npz
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.progress import Progress


def stripes(path, numbers, classes=2, side=6):
    """Writes an archive that a tiny net learns: each class is bright in a stripe of its own.

    numbers: images of each split.
    """
    rng = np.random.default_rng(0)
    width = side // classes
    arrays = {}
    for split, number in numbers.items():
        labels = rng.integers(0, classes, number)
        images = rng.integers(0, 60, [number, side, side, 1])
        for image, label in zip(images, labels, strict=True):
            image[:, width * label : width * label + width] += 120
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels}
    np.savez(path, **arrays)
    return path


def image_archive(path, **fields):
    """The data of an archive of images and classes; `fields` of `Dataset`."""
    fields = {"inputs": Image(), "target": ClassLabel(), **fields}
    return Dataset(source=Npz(str(path)), **fields)


def change(experiment, **parts):
    """The experiment with other fields: `train={"steps": 5}` and the like."""
    new = {
        name: dataclasses.replace(getattr(experiment, name), **fields)
        if isinstance(fields, dict)
        else fields
        for name, fields in parts.items()
    }
    return dataclasses.replace(experiment, **new)


def train(experiment, workdir, **kwargs):
    """The result and what was printed."""
    stream = io.StringIO()
    result = modelzoo.train(experiment, workdir, progress=Progress(stream), **kwargs)
    return result, stream.getvalue()


def weights(workdir, which="last"):
    arrays = checkpoint.read(checkpoint.find(workdir, which))
    return {k: v for k, v in arrays.items() if k.startswith("model/")}


def differ(a, b):
    return any(not np.array_equal(a[k], b[k]) for k in a)


def steps_of(workdir, kind):
    return [r["step"] for r in run_folder.read_records(workdir) if r["kind"] == kind]


class Torn(io.StringIO):
    """A stream whose reader goes after some lines."""

    def __init__(self, lines):
        super().__init__()
        self.lines = lines

    def write(self, text):
        self.lines -= text.count("\n")
        if self.lines < 0:
            raise BrokenPipeError
        return super().write(text)
