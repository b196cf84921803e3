"""Train a config with several seeds and record the runs in `results/NAME.json`.

    python benchmarks/record.py --config=digits_resnet --seeds=0,1,2 [--config.KEY=VALUE ...]
    DATA=~/data python benchmarks/record.py --config=cifar10_resnet20 \\
        --config.data.source.data_dir=~/data/tfds
    python benchmarks/record.py --config=splice_lstm --folds=10

A record holds the command, the commit, the machine, the resolved config of the first seed, the
metrics, seconds and learning curve of each seed, and the mean, minimum and maximum of each metric.

No record names a folder of this machine. Data that are not in the working directory must be in the
folder that the environment variable DATA names; the record has `$DATA` in its place, in the command
and in the config.

With `--keep=DIR` the runs stay in `DIR/NAME_seedK`, and the same command resumes an unfinished run.
"""

import argparse
import contextlib
import dataclasses
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelzoo import config as configs
from modelzoo.cli.flags import split_overrides
from modelzoo.data.slices import split_parts
from modelzoo.training import run_folder
from modelzoo.training.curve import curve

ROOT = Path(__file__).resolve().parents[1]


def machine() -> str:
    """Describes the processor and its number of cores."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    return f"{os.cpu_count()} cores of {model}, Linux {platform.machine()}"


def commit() -> str:
    """The commit of this checkout, with a remark if files differ from it."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()
    clean = not subprocess.check_output([*git, "status", "--porcelain", "-uno"]).strip()
    return name if clean else f"{name} with changes"


def without_data_folder(value: Any) -> Any:
    """JSON values with `$DATA` in place of the folder that the environment variable DATA names."""
    folder = os.environ.get("DATA", "").rstrip("/")
    if isinstance(value, dict):
        return {name: without_data_folder(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_data_folder(item) for item in value]
    if isinstance(value, str) and folder:
        names = {folder, os.path.expanduser(folder), os.path.realpath(os.path.expanduser(folder))}
        longest_first = sorted(names, key=len, reverse=True)
        pattern = rf"(^|=)(?:{'|'.join(map(re.escape, longest_first))})(?=/|$)"
        return re.sub(pattern, r"\1$DATA", value)
    return value


def portable_values(saved: Any) -> Any:
    """A config as JSON values, with `$DATA` in place of the folder of the data.

    Ends the program if a value names another folder of this machine.
    """
    short = without_data_folder(saved)
    if isinstance(short, dict | list):
        for value in short.values() if isinstance(short, dict) else short:
            portable_values(value)
    elif isinstance(short, str) and re.match(r"[/~]", short):
        sys.exit(
            f"the config names {short}, a folder of this machine: set the environment variable "
            "DATA to the folder of the data, or use a relative path"
        )
    return short


def command_line(script: str, words: Sequence[str]) -> str:
    """The command of a record, for a shell, with `$DATA` in place of the folder of the data.

    Ends the program if a word names another folder of this machine.
    """
    quoted = []
    for word in words:
        short = without_data_folder(word)
        if re.search(r"(^|=)[/~]", short):
            sys.exit(
                f"{word} names a folder of this machine: set the environment variable DATA to the "
                "folder of the data, or use a relative path"
            )
        if short == word or shlex.quote(word) == word:
            quoted.append(short if short != word else shlex.quote(word))
        else:
            quoted.append(f'"{short}"')  # A shell expands $DATA in double quotes only.
    return " ".join(["python", f"benchmarks/{Path(script).name}", *quoted])


def only_numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics of a split that are one number each."""
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def summarize(values: list[float]) -> dict[str, float]:
    """Mean, minimum and maximum, rounded to five decimal places."""
    found = {"mean": statistics.mean(values), "min": min(values), "max": max(values)}
    return {name: round(value, 5) for name, value in found.items()}


def train(words: list[str], workdir: Path, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains with one seed.

    Returns:
        What the record holds once (versions, parameters, config), and what it holds per run.
    """
    command = [sys.executable, "-m", "modelzoo.cli.train", *words]
    subprocess.run([*command, f"--workdir={workdir}", f"--config.seed={seed}"], check=True)
    result = run_folder.read_json(workdir / "result.json")
    config = run_folder.read_json(workdir / "config.json")
    run = {"seed": seed, "seconds": result["seconds"]}
    if "folds" in result:
        run |= {
            "scores": {"held-out": only_numbers(result["pooled"])},
            "intervals": result["pooled_intervals"],
            "over_folds": result["over_folds"],
            "folds": len(result["folds"]),
        }
    else:
        # The test split is recorded by its name in the data, such as "dev".
        test = config["data"]["test_split"]
        names = {} if test in (None, "auto") else {"test": "+".join(dict(split_parts(test)))}
        run |= {
            "steps": result["steps"],
            "scores": {names.get(k, k): only_numbers(v) for k, v in result["eval"].items()},
            "curve": dataclasses.asdict(curve(workdir)),
        }
    shared = {name: result[name] for name in ("versions", "parameters")}
    return shared | {"config": portable_values(config)}, run


def main() -> None:
    """Trains, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--config", required=True, help="a shipped config or a .py file")
    parser.add_argument("--seeds", help="seeds of the runs, separated by commas; 0 if not given")
    parser.add_argument("--name", help="name of the record, the config's if not given")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the runs")
    args, overrides = parser.parse_known_args()
    name = args.name or Path(args.config).stem
    seeds = [int(seed) for seed in (args.seeds or "0").split(",")]
    given = {"config": args.config, "seeds": args.seeds, "name": args.name}
    words = [f"--{flag}={value}" for flag, value in given.items() if value is not None]
    record = {
        "command": command_line(__file__, [*words, *overrides]),
        "commit": commit(),  # Before the runs, since the checkout may change during them.
        "machine": machine(),
    }
    pairs, _ = split_overrides(overrides)
    portable_values(configs.to_dict(configs.load(args.config, pairs)))  # Before hours of training.
    runs = []
    for seed in seeds:
        with contextlib.ExitStack() as stack:
            folder = args.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            workdir = folder.expanduser() / f"{name}_seed{seed}"
            shared, run = train([f"--config={args.config}", *overrides], workdir, seed)
            record = record if runs else record | shared
            runs.append(run)
    config = record.pop("config")
    record |= {
        "seeds": seeds,
        "seconds": summarize([run["seconds"] for run in runs]),
        "scores": {
            split: {
                metric: summarize([run["scores"][split][metric] for run in runs])
                for metric in metrics
            }
            for split, metrics in runs[0]["scores"].items()
        },
        "runs": runs,
        "config": config,
    }
    target = ROOT / "results" / f"{name}.json"
    run_folder.write_json(target, record)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
