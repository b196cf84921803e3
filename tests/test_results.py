"""What README and configs say of scores and speeds is what `results/` holds."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "results").glob("*.json")}
CONFIGS = {path.stem: path.read_text() for path in (ROOT / "configs").glob("[a-z]*.py")}


def test_speeds():
    readme = (ROOT / "README.md").read_text()
    names = ("modelzoo", "plain Keras loop", "Keras fit")
    for precision in ("float32", "bfloat16"):
        record = RESULTS[f"speed_resnet20_{precision}"]
        cells = [precision, *(str(record["images_per_second"][name]) for name in names)]
        assert f"| {' | '.join(cells)} |" in readme


@pytest.mark.parametrize("name", [n for n, text in CONFIGS.items() if "accuracy" in text])
def test_scores(name):
    record = RESULTS[name]
    accuracy = record["scores"]["test"]["accuracy"]
    expected = (
        f"{record['seconds']['mean']:.0f} seconds on {record['machine'].split(',')[0]}; "
        f"test accuracy {accuracy['mean']:.4f} (mean of {len(record['seeds'])} seeds, "
        f"lowest {accuracy['min']:.4f})."
    )
    assert expected in CONFIGS[name]


@pytest.mark.parametrize("name", [n for n in RESULTS if not n.startswith("speed_")])
def test_a_record_is_of_the_config_as_it_is(name):
    from modelzoo import config, configs

    recorded = RESULTS[name]["config"]
    assert all(
        re.match(r"(seed|data\.data_dir):", line)
        for line in config.difference(recorded, configs.get(name))
    )
