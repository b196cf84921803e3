"""Trains a config with several seeds and records the runs in `results/NAME.json`.

    python benchmarks/record.py --config=digits_resnet --seeds=0,1,2 [--config.KEY=VALUE ...]
    python benchmarks/record.py --config=splice_lstm --folds=10

What it records: the command, the commit, the machine, the resolved config of the first seed, each
seed's scores, seconds and learning curve, and the mean, lowest and highest of each score. With
`--keep=DIR` the runs stay in `DIR/NAME_seedK`, and the same command goes on with an unfinished one.
"""

import argparse
import contextlib
import dataclasses
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from modelzoo.data.splits import split_name
from modelzoo.training import run_folder
from modelzoo.training.curve import curve

ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    """Processor and number of cores in words."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    return f"{os.cpu_count()} cores of {model}, Linux {platform.machine()}"


def commit() -> str:
    """The commit of this checkout, marked where files differ from it."""
    words = ["git", "-C", str(ROOT)]
    name = subprocess.check_output([*words, "rev-parse", "--short=12", "HEAD"], text=True).strip()
    clean = not subprocess.check_output([*words, "status", "--porcelain", "-uno"]).strip()
    return name if clean else f"{name} with changes"


def scalars(scores: dict) -> dict[str, float]:
    """The single numbers among a split's scores."""
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def summary(values: list[float]) -> dict[str, float]:
    """Mean, lowest and highest, to five digits."""
    mean = statistics.mean(values)
    return {
        k: round(v, 5) for k, v in {"mean": mean, "min": min(values), "max": max(values)}.items()
    }


def train(words: list[str], workdir: Path, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains with one seed in a folder; the run's resolved config, and what is recorded of it."""
    command = [sys.executable, "-m", "modelzoo.cli.train", *words]
    subprocess.run([*command, f"--workdir={workdir}", f"--config.seed={seed}"], check=True)
    result = run_folder.read_json(workdir / "result.json")
    config = run_folder.read_json(workdir / "config.json")
    about = {"seed": seed, "seconds": result["seconds"]}
    if "folds" in result:
        about |= {
            "scores": {"held-out": scalars(result["pooled"])},
            "intervals": result["pooled_intervals"],
            "over_folds": result["over_folds"],
            "folds": len(result["folds"]),
        }
    else:
        # By the name that the data has for it, such as "dev".
        names = {"test": split_name(config["data"].get("test_split") or "test")}
        about |= {
            "steps": result["steps"],
            "scores": {names.get(k, k): scalars(scores) for k, scores in result["eval"].items()},
            "curve": dataclasses.asdict(curve(workdir)),
        }
    known = {name: result[name] for name in ("versions", "parameters")}
    return known | {"config": config}, about


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--seeds", default="0", type=lambda text: [int(s) for s in text.split(",")])
    parser.add_argument("--name", help="of the file in results/, where it is not the config's")
    parser.add_argument("--keep", type=Path, help="folder in which the runs stay")
    args, overrides = parser.parse_known_args()
    name = args.name or Path(args.config).stem
    words = [word for word in sys.argv[1:] if not word.startswith("--keep=")]
    record = {
        "command": shlex.join(["python", "benchmarks/record.py", *words]),
        "commit": commit(),  # Now: the checkout may move on while the runs go.
        "machine": machine(),
    }
    runs = []
    for seed in args.seeds:
        with contextlib.ExitStack() as stack:
            folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            workdir = folder.expanduser() / f"{name}_seed{seed}"
            about, run = train([f"--config={args.config}", *overrides], workdir, seed)
            record = record | about if not runs else record
            runs.append(run)
    config = record.pop("config")
    record |= {
        "seeds": args.seeds,
        "seconds": summary([run["seconds"] for run in runs]),
        "scores": {
            split: {
                score: summary([run["scores"][split][score] for run in runs]) for score in scores
            }
            for split, scores in runs[0]["scores"].items()
        },
        "runs": runs,
        "config": config,
    }
    target = ROOT / "results" / f"{name}.json"
    run_folder.write_json(target, record)
    print(f"recorded in {target}")


if __name__ == "__main__":
    main()
