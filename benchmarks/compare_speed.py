"""Compare the throughput of two source trees, such as before and after a change.

    python benchmarks/compare_speed.py --before=TREE --before_python=PYTHON [--data=DATA]

Measures what modelzoo does in the other benchmarks: training ResNet-20 on CIFAR-10, an LSTM of two
layers of 256 and a Transformer of 4 + 4 layers of 256, and decoding with that Transformer. Per
benchmark, each tree has one process, which its own interpreter runs and which calls the function
`ours` of the script in its own folder `benchmarks`. Both processes live through all rounds and run
in turns, so that a slow phase of the machine hits both trees.

`--data` is a folder with `tfds/cifar10` and `raw/multi30k`; random data of the same sizes replace
what is missing. Prints JSON: the median rates over the rounds, and the ratio of after to before,
its median, minimum and maximum over the rounds. `cpu_ratio` is the ratio of the rates per CPU
second, which other programs on the machine disturb less. With the default sizes it takes less than
six minutes on two idle cores.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TREE = Path(__file__).resolve().parents[1]
IMAGES_STEPS, TEXT_STEPS = 24, 8
SENTENCES, DECODINGS, BEAMS = 64, 3, (1, 4)
SHAPES = ((336, 12), (168, 24), (80, 48))
"""Shapes of random batches for translation: those of 4,096 tokens."""


def start_images(data: str, precision: str) -> dict[str, Callable[[], Any]]:
    """ResNet-20 on prepared TFDS data sets in the folder `data`."""
    import train_images

    run = train_images.ours(data, precision)
    return {"training ResNet-20, images per second": lambda: run(IMAGES_STEPS)}


def start_text(data: str, precision: str) -> dict[str, Callable[[], Any]]:
    """The LSTM on random tokens."""
    import train_text

    run = train_text.ours(precision)
    return {"training an LSTM, tokens per second": lambda: run(TEXT_STEPS)}


def start_translation(data: str, precision: str) -> dict[str, Callable[[], Any]]:
    """The Transformer on the batches in the file `data`."""
    import train_translation

    run = train_translation.ours(*train_translation.load_batches(data), precision)
    return {"training a Transformer, target tokens per second": run}


def start_decoding(data: str, precision: str) -> dict[str, Callable[[], Any]]:
    """Decoding, always in float32."""
    import decode_translation

    runs = {beams: decode_translation.ours(SENTENCES, beams) for beams in BEAMS}
    return {
        f"decoding with {beams} beam{'s'[: beams - 1]}, tokens per second": lambda run=run: [
            run() for _ in range(DECODINGS)
        ]
        for beams, run in runs.items()
    }


def answer_requests(runs: dict[str, Callable[[], Any]]) -> None:
    """Answers null with the names of the runs, and a name with its seconds and CPU seconds."""
    for line in sys.stdin:
        name = json.loads(line)
        start, cpu_start = time.perf_counter(), time.process_time()
        if name is not None:
            runs[name]()
        seconds = time.perf_counter() - start, time.process_time() - cpu_start
        print("answer " + json.dumps(list(runs) if name is None else seconds), flush=True)


def prepare_images(data: Path | None, folder: Path) -> tuple[str, int]:
    """The TFDS folder with CIFAR-10, of random images if need be, and the images of a run."""
    import train_images

    found = data / "tfds" if data else folder
    if not (found / "cifar10").is_dir():
        import tensorflow_datasets as tfds

        rng = np.random.default_rng(0)
        splits = {
            name: [
                (k, {"id": f"{k}", "image": images[k], "label": k % 10})
                for images in [rng.integers(0, 256, (count, 32, 32, 3), np.uint8)]
                for k in range(count)
            ]
            for name, count in (("train", 5000), ("test", 500))
        }
        builder = tfds.builder_cls("cifar10")
        found = folder
        tfds.dataset_builders.store_as_tfds_dataset(
            name="cifar10",
            version=str(builder.VERSION),
            data_dir=found,
            split_datasets=splits,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )
    return str(found), IMAGES_STEPS * train_images.BATCH


def prepare_text(data: Path | None, folder: Path) -> tuple[str, int]:
    """Nothing, and the tokens of a run."""
    import train_text

    return "", TEXT_STEPS * train_text.BATCH * train_text.LENGTH


def prepare_translation(data: Path | None, folder: Path) -> tuple[str, int]:
    """The file of the batches, of random tokens if need be, and the target tokens of a run."""
    import train_translation

    target = folder / "batches.npz"
    if data and (data / "raw" / "multi30k").is_dir():
        train_translation.write_batches(str(data / "raw" / "multi30k"), len(SHAPES), target)
    else:
        rng = np.random.default_rng(0)
        arrays = {"vocabulary": np.array(train_translation.VOCABULARY + 1)}
        for k, shape in enumerate(SHAPES):
            for part in ("source", "target", "label"):
                tokens = rng.integers(2, train_translation.VOCABULARY, shape, np.int32)
                tokens[::2, shape[1] * 3 // 4 :] = 0  # Padding.
                arrays[f"{part}{k}"] = tokens
        np.savez(target, **arrays)
    batches, _ = train_translation.load_batches(target)
    return str(target), int(sum(np.count_nonzero(batch["label"]) for batch in batches))


def prepare_decoding(data: Path | None, folder: Path) -> tuple[str, int]:
    """Nothing, and the tokens of a run."""
    import decode_translation

    return "", DECODINGS * SENTENCES * decode_translation.LENGTH


BENCHMARKS = {
    "images": (prepare_images, start_images),
    "text": (prepare_text, start_text),
    "translation": (prepare_translation, start_translation),
    "decoding": (prepare_decoding, start_decoding),
}


def compare(
    benchmark: str, trees: dict[str, tuple[Path, str]], data: Path | None, options: Any
) -> dict[str, dict[str, float]]:
    """The rates and ratios of one benchmark, by the name of the run.

    Args:
        benchmark: a key of BENCHMARKS.
        trees: folder and interpreter of "before" and "after".
        data: the folder of the data.
        options: has `rounds` and `precision`.
    """
    import interleaved

    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        prepared, amount = BENCHMARKS[benchmark][0](data, Path(folder))
        workers = {}
        try:
            for name, (tree, python) in trees.items():
                words = [f"--worker={benchmark}", f"--before={tree}", f"--data={prepared}"]
                words.append(f"--precision={options.precision}")
                command = [python, __file__, *words]
                workers[name] = interleaved.Worker(name, command, environment)
            _, names = (worker.ask() for worker in workers.values())  # Once both have started.
            for run in names:
                for worker in workers.values():
                    worker.ask(run)  # Traces the functions, and fills caches and buffers.
            found = {run: {name: [] for name in workers} for run in names}
            for round_ in range(options.rounds):
                order = list(workers)[:: -1 if round_ % 2 else 1]
                for run in names:
                    for name in order:
                        found[run][name].append(amount / np.array(workers[name].ask(run)))
        finally:
            for worker in workers.values():
                worker.close()
    return {run: summarize(**rates) for run, rates in found.items()}


def summarize(before: list[np.ndarray], after: list[np.ndarray]) -> dict[str, float]:
    """Medians and ratios of rates: `[rate, rate per CPU second]` of each round."""
    ratios = np.array(after) / np.array(before)
    return {
        "before": round(float(np.median(before, axis=0)[0]), 1),
        "after": round(float(np.median(after, axis=0)[0]), 1),
        "ratio": round(float(np.median(ratios[:, 0])), 3),
        "lowest_ratio": round(float(ratios[:, 0].min()), 3),
        "highest_ratio": round(float(ratios[:, 0].max()), 3),
        "cpu_ratio": round(float(np.median(ratios[:, 1])), 3),
    }


def main() -> None:
    """Measures and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--before", required=True, type=Path, help="source tree to compare with")
    parser.add_argument("--before_python", help="its interpreter; this one if not given")
    parser.add_argument("--after", type=Path, default=TREE, help="this source tree if not given")
    parser.add_argument("--after_python", help="its interpreter; this one if not given")
    parser.add_argument("--data", help="folder of prepared data; random data if not given")
    parser.add_argument("--benchmarks", nargs="*", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=BENCHMARKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        # The scripts of the worker's tree, in place of those beside this file.
        sys.path[0] = str(args.before / "benchmarks")
        return answer_requests(BENCHMARKS[args.worker][1](args.data, args.precision))
    from record import machine

    trees = {
        "before": (args.before, args.before_python or sys.executable),
        "after": (args.after, args.after_python or sys.executable),
    }
    data = Path(args.data).expanduser() if args.data else None
    start = time.perf_counter()
    rates = {}
    for benchmark in args.benchmarks:
        rates |= compare(benchmark, trees, data, args)
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "precision": args.precision,
        "rounds": args.rounds,
        "seconds": round(time.perf_counter() - start),
        "rates": rates,
    }
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
