"""Trains a config with several seeds and records the runs in `results/NAME.json`.

    python benchmarks/record.py --config=digits_resnet --seeds=0,1,2 [--config.KEY=VALUE ...]

What it records: the command, the commit, the machine, the resolved config of the first seed, each
seed's scores and seconds, and the mean, lowest and highest of each score.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    """Trains and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--seeds", default="0", type=lambda text: [int(s) for s in text.split(",")])
    parser.add_argument("--name", help="of the file in results/, where it is not the config's")
    args, overrides = parser.parse_known_args()
    runs = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as workdir:
            command = [sys.executable, "-m", "modelzoo.cli.train", f"--config={args.config}"]
            command += [f"--workdir={workdir}", f"--config.seed={seed}", *overrides]
            subprocess.run(command, check=True)
            config = json.loads((Path(workdir) / "config.json").read_text())
            runs.append((config, json.loads((Path(workdir) / "result.json").read_text())))
    (config, first), results = runs[0], [result for _, result in runs]
    record = {
        "command": " ".join(["python benchmarks/record.py", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "versions": first["versions"],
        "parameters": first["parameters"],
        "seeds": args.seeds,
        "seconds": summary([result["seconds"] for result in results]),
        "scores": {
            split: {
                name: summary([result["eval"][split][name] for result in results])
                for name in scalars(scores)
            }
            for split, scores in first["eval"].items()
        },
        "runs": [
            {
                "seed": seed,
                "steps": result["steps"],
                "seconds": result["seconds"],
                "scores": {split: scalars(scores) for split, scores in result["eval"].items()},
            }
            for seed, result in zip(args.seeds, results, strict=True)
        ],
        "config": config,
    }
    target = ROOT / "results" / f"{args.name or Path(args.config).stem}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=2) + "\n")
    print(f"recorded in {target}")


if __name__ == "__main__":
    main()
