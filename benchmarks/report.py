"""Writes what is told of the results from `results/`, everywhere at once.

    python benchmarks/report.py [--check]

README.md's tables, the pictures `docs/curves/NAME.svg`, the last line of each config's docstring
and the cards of the trained models. With `--check` nothing is written, and what differs is named.
"""

import argparse
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import cards
import recorded
from recorded import ROOT

from modelzoo import config, zoo
from modelzoo.training.curve import Curve

CURVES = ROOT / "docs" / "curves"
# The last paragraph of a config's docstring, once there are results.
_LINE = re.compile(r"\n\n\d[\d.]* (?:seconds|minutes|hours) on [^\"]*?\)\.(?=\n\"\"\")")


def generated() -> dict[Path, str]:
    """Every file that is made from the results or has a part that is, with what it should hold."""
    trained = recorded.records()
    files = {CURVES / f"{name}.svg": curve(name, r) for name, r in trained.items() if _curve(r)}
    for name, record in trained.items():
        path = ROOT / "configs" / f"{name}.py"
        if path.is_file():
            files[path] = docstring(path.read_text(), record)
    for name, folder in zoo.folders().items():
        files[folder / "card.md"] = cards.card(name, trained[name])
    readme = (ROOT / "README.md").read_text()
    readme = between(readme, "results", scores(trained, recorded.records("baseline_")))
    files[ROOT / "README.md"] = between(readme, "speeds", speeds(recorded.records("speed_")))
    return files


def _curve(record: dict[str, Any]) -> dict[str, Any] | None:
    """The curve of the first seed; None in a record without any."""
    return record["runs"][0].get("curve")


def curve(name: str, record: dict[str, Any]) -> str:
    """The picture of a record's first run."""
    return Curve(**_curve(record)).svg(
        f"{name}: training and validation, seed {record['seeds'][0]}"
    )


def docstring(text: str, record: dict[str, Any]) -> str:
    """A config file's text with its docstring ending in the time taken and the score reached."""
    line = f"{recorded.duration(record)} on {recorded.machine(record)}; {recorded.split(record)} "
    said = "\n\n" + textwrap.fill(f"{line}{recorded.score(record)}.", 100)
    head, quotes, rest = text.partition('\n"""\n')
    return _LINE.sub("", head + quotes[:4]).removesuffix('\n"""') + said + quotes + rest


def between(text: str, name: str, table: str) -> str:
    """The text with the table between the two markers of that name."""
    begin, end = (f"<!-- {name}:{word} -->" for word in ("begin", "end"))
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"


def scores(trained: dict[str, dict[str, Any]], baselines: dict[str, dict[str, Any]]) -> str:
    """A row for each training: what was trained, what it scored, how long it took and where.

    Under it one for each baseline that was scored beside it, on the same splits.
    """
    rows = [["config", "model", "parameters", "data", "score", "time", "machine", "weights"]]
    for name, record in trained.items():
        experiment = config.from_dict(record["config"])
        picture = f"[{name}](docs/curves/{name}.svg)" if _curve(record) else name
        card = f"[card](modelzoo/zoo/{name}/card.md)" if name in zoo.folders() else ""
        rows.append(
            [
                picture,
                f"`{recorded.short(experiment.model)}`",
                f"{record['parameters']:,}",
                recorded.data_name(experiment.data),
                f"{recorded.split(record)} {recorded.score(record)}",
                recorded.duration(record),
                recorded.machine(record),
                card,
            ]
        )
        for baseline in baselines.values():
            if baseline["beside"] == name:
                rows.append(
                    [
                        "its baseline",
                        f"`{baseline['model']}`",
                        f"{baseline['parameters']:,}",
                        recorded.data_name(experiment.data),
                        f"{recorded.split(baseline)} {recorded.score(baseline)}",
                        recorded.duration(baseline),
                        recorded.machine(baseline),
                        "",
                    ]
                )
    return markdown(rows)


UNITS = {
    "images_per_second": ("images a second", "precision"),
    "tokens_per_second": ("tokens a second", "precision"),
    "target_tokens_per_second": ("target tokens a second", "precision"),
    "decoded_tokens_per_second": ("decoded tokens a second", "search"),
}
"""Heads of the first two columns by the key of a record that holds the rates."""


def speeds(records: dict[str, dict[str, Any]]) -> str:
    """A table for each unit: of what each contestant trains on, or gives, how much in a second."""
    tables = []
    for key, heads in UNITS.items():
        rows = []
        for name, record in records.items():
            if key not in record:
                continue
            # Of a search the rates are by its kind.
            precision = record.get("precision")
            cases = {precision: record[key]} if precision else record[key]
            model = name.removeprefix("speed_").removesuffix(f"_{precision}")
            rows += [
                (model, case, rates, recorded.machine(record)) for case, rates in cases.items()
            ]
        names = list(dict.fromkeys(name for _, _, rates, _ in rows for name in rates))
        cells = [
            [model, case, *(f"{rates[n]:,.0f}" if n in rates else "" for n in names), where]
            for model, case, rates, where in rows
        ]
        tables += [markdown([[*heads, *names, "machine"], *cells])] if rows else []
    return "\n\n".join(tables)


def markdown(rows: list[list[str]]) -> str:
    """The rows as a Markdown table, the first its head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def write(check: bool = False) -> list[Path]:
    """Writes the files that differ from what they should hold, or only names them."""
    differing = {
        path: text
        for path, text in generated().items()
        if not path.is_file() or path.read_text() != text
    }
    for path, text in differing.items():
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return list(differing)


def main() -> None:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    check = parser.parse_args().check
    if write(check) and check:
        sys.exit("run: python benchmarks/report.py")


if __name__ == "__main__":
    main()
