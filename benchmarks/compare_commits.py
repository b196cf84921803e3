"""Compares the weights and outputs of two commits bit for bit.

    python benchmarks/compare_commits.py --before=REV [--after=REV] [--steps=50]
    python benchmarks/compare_commits.py --before=REV --configs digits_cnn --models

Without `--after` it compares with the working tree as it is. Each commit gets a worktree and an
environment of its own in a temporary folder, with the packages of this interpreter. Both train each
config with embedded data for `--steps` steps, with the config's seed, and all arrays of the last
checkpoints must have the same names and the same bits. Then both predict with each shipped model:
on its test split, or on random images if its data are not embedded.

Prints one row per config and model. The exit code is 1 if anything differs or a command fails.
Needs no network.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ("digits_resnet", "digits_cnn", "cldr_language_lstm", "cldr_dates_transformer")
EMBEDDED = ("digits_resnet", "cldr_language_lstm", "cldr_dates_transformer")
IMAGES = {"cifar10_resnet20": (32, 32, 3), "fashion_mnist_cnn6": (28, 28, 1)}
"""Sizes of the images of shipped models whose data are not embedded."""

RENAMED_KEYS: dict[str, str] = {}
"""Config keys by their names in the commit before, to their names in the commit after."""
RENAMED_FIELDS: dict[str, str] = {}
"""Fields of a prediction by their names in the commit before, to those in the commit after."""

SERVE = """
import sys, numpy as np, tensorflow as tf
folder, images, target = sys.argv[1:]
serve = tf.saved_model.load(folder).signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
outputs = serve(**{name: tf.constant(np.load(images))})
arrays = {name: value.numpy() for name, value in outputs.items()}
strings = {name: v.astype(bytes) for name, v in arrays.items() if v.dtype == object}
np.savez(target, **{**arrays, **strings})
"""


class Tree:
    """A checkout of one commit with an environment of its own."""

    def __init__(self, path: Path, folder: Path, after: bool):
        """folder: where its environment and the files of its runs lie."""
        self.folder, self.after = folder, after
        self._bin = folder / "env" / "bin"
        # TFDS keeps what it prepares apart for each commit.
        self._environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TFDS_DATA_DIR": str(folder / "tfds"),
        }
        run([sys.executable, "-m", "venv", "--without-pip", folder / "env"])
        (site,) = (folder / "env" / "lib").glob("python*/site-packages")
        packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (site / "base.pth").write_text("\n".join(packages) + "\n")
        install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", path]
        self.run("python", *install)

    def run(self, program: str, *words: Any) -> None:
        """Runs a program of the environment, such as "python"."""
        run([self._bin / program, *words], self._environment, self.folder)

    def train(self, config: str, steps: int) -> dict[str, np.ndarray]:
        """The arrays of the last checkpoint of a run."""
        workdir = self.folder / "runs" / config
        keys = {"train.steps": steps, "train.log_every": 10, "eval.test_at_end": "false"}
        if self.after:
            keys = {RENAMED_KEYS.get(key, key): value for key, value in keys.items()}
        flags = [f"--config.{key}={value}" for key, value in keys.items()]
        self.run("modelzoo", "train", f"--config={config}", f"--workdir={workdir}", *flags)
        return load(max(workdir.glob("checkpoints/*/state.npz")))

    def evaluate(self, model: str) -> dict[str, Any]:
        """The fields of all predictions on the test split, each a list over the examples."""
        file = self.folder / f"{model}.jsonl"
        self.run("modelzoo", "evaluate", f"--model={model}", f"--predictions={file}")
        fields: dict[str, list[Any]] = {}
        for line in file.read_text().splitlines():
            for name, value in json.loads(line).items():
                if not self.after:
                    name = RENAMED_FIELDS.get(name, name)
                fields.setdefault(name, []).append(value)
        return fields

    def serve(self, model: str, images: Path) -> dict[str, np.ndarray]:
        """The outputs of the exported model."""
        folder, target = self.folder / "export" / model, self.folder / f"{model}.npz"
        self.run("modelzoo", "export", f"--model={model}", f"--export_dir={folder}")
        (version,) = folder.iterdir()
        self.run("python", "-c", SERVE, version, images, target)
        return load(target)


def run(
    words: Iterable[Any], environment: dict[str, str] | None = None, folder: Path | None = None
) -> None:
    """Runs a command; ends the program with the command's output if it fails."""
    words = list(map(str, words))
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"failed: {shlex.join(words)}\n{done.stdout}{done.stderr}")


def load(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file."""
    with np.load(file) as arrays:
        return dict(arrays)


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs between named arrays or lists; "" if all are equal."""
    names = sorted(set(before) ^ set(after))
    if names:
        only = "before" if names[0] in before else "after"
        return f"{len(names)} names differ, {names[0]} is only {only}"
    wrong = [name for name in before if not same(before[name], after[name])]
    if not wrong:
        return ""
    return f"{len(wrong)} differ, {wrong[0]} {distance(before[wrong[0]], after[wrong[0]])}"


def same(one: Any, other: Any) -> bool:
    """Whether type, shape and bits are equal."""
    if isinstance(one, list):
        return one == other
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def distance(one: Any, other: Any) -> str:
    """How far two unequal values are apart."""
    if isinstance(one, list):
        if len(one) != len(other):
            return f"has {len(one)} and {len(other)} examples"
        first = next(k for k, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
        return f"in example {first}: {one[first]} and {other[first]}"
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"is {one.dtype}{list(one.shape)} and {other.dtype}{list(other.shape)}"
    if not np.issubdtype(one.dtype, np.number):
        return "in its values"
    return f"by up to {np.abs(one.astype(np.float64) - other.astype(np.float64)).max():.3g}"


def checkout(revision: str, folder: Path) -> Path:
    """A worktree of a commit."""
    run(["git", "-C", ROOT, "worktree", "add", "--detach", folder, revision])
    return folder


def compare(trees: Sequence[Tree], configs: Sequence[str], models: Sequence[str], steps: int):
    """Yields the name of each comparison, its number of arrays and the difference."""
    for config in configs:
        before, after = (tree.train(config, steps) for tree in trees)
        yield f"{config}, {steps} steps", len(before), difference(before, after)
    for model in models:
        if model in EMBEDDED:
            before, after = (tree.evaluate(model) for tree in trees)
            about = f"{model}, {len(next(iter(before.values())))} test examples"
        else:
            images = trees[0].folder / f"{model}.npy"
            pixels = np.random.default_rng(0).integers(0, 256, (64, *IMAGES[model]), np.uint8)
            np.save(images, pixels)
            before, after = (tree.serve(model, images) for tree in trees)
            about = f"{model}, {len(pixels)} random images"
        yield about, len(before), difference(before, after)


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--after", help="commit to be compared; the working tree without it")
    parser.add_argument("--steps", type=int, default=50, help="steps of training")
    parser.add_argument("--configs", nargs="*", choices=CONFIGS, default=CONFIGS)
    models = (*EMBEDDED, *IMAGES)
    parser.add_argument("--models", nargs="*", choices=models, default=models)
    args = parser.parse_args()
    differs = False
    with tempfile.TemporaryDirectory() as name:
        folder, sources = Path(name), []
        try:
            trees = []
            for part, revision in (("before", args.before), ("after", args.after)):
                source = ROOT
                if revision is not None:
                    source = folder / f"{part}_source"
                    sources.append(source)
                    checkout(revision, source)
                (folder / part).mkdir()
                trees.append(Tree(source, folder / part, after=part == "after"))
            print(f"{'':50}{'arrays':>7}  {args.before} and {args.after or 'the working tree'}")
            for about, count, found in compare(trees, args.configs, args.models, args.steps):
                print(f"{about:50}{count:7}  {found or 'equal'}", flush=True)
                differs |= bool(found)
        finally:
            for source in sources:
                run(["git", "-C", ROOT, "worktree", "remove", "--force", source])
    sys.exit(differs)


if __name__ == "__main__":
    main()
