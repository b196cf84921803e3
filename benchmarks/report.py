"""Regenerate everything that shows the records in `results/`.

    python benchmarks/report.py [--check]

These are the tables in README.md, the learning curves `docs/curves/NAME.svg`, the last paragraph of
each config's docstring and the cards of the trained models.
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
# The last paragraph of a config's docstring, if it describes results.
_RESULT = re.compile(r"\n\n\d[\d.]* (?:seconds|minutes|hours) on [^\"]*?\)\.(?=\n\"\"\")")


def generated_files() -> dict[Path, str]:
    """The text of each file that shows records, wholly or in part."""
    trained = recorded.records()
    files = {CURVES / f"{name}.svg": draw(name, r) for name, r in trained.items() if _curve(r)}
    for name, record in trained.items():
        path = ROOT / "configs" / f"{name}.py"
        if path.is_file():
            files[path] = update_docstring(path.read_text(), record)
    for name, folder in zoo.folders().items():
        files[folder / "card.md"] = cards.write_card(name, trained[name])
    readme = (ROOT / "README.md").read_text()
    table = metrics_table(trained, recorded.records("baseline_"))
    readme = replace_between(readme, "results", table)
    tables = speed_tables(recorded.records("speed_"))
    files[ROOT / "README.md"] = replace_between(readme, "speeds", tables)
    return files


def _curve(record: dict[str, Any]) -> dict[str, Any] | None:
    """The learning curve of the first seed; None if the record has none."""
    return record["runs"][0].get("curve")


def draw(name: str, record: dict[str, Any]) -> str:
    """The learning curve of the first seed, as SVG."""
    title = f"{name}: training and validation, seed {record['seeds'][0]}"
    return Curve(**_curve(record)).svg(title)


def update_docstring(text: str, record: dict[str, Any]) -> str:
    """The text of a config file whose docstring ends with the record's time and metric."""
    duration, machine = recorded.describe_duration(record), recorded.describe_machine(record)
    result = f"{recorded.main_split(record)} {recorded.describe_metric(record)}"
    paragraph = "\n\n" + textwrap.fill(f"{duration} on {machine}; {result}.", 100)
    head, quotes, rest = text.partition('\n"""\n')
    return _RESULT.sub("", head + quotes[:4]).removesuffix('\n"""') + paragraph + quotes + rest


def replace_between(text: str, name: str, content: str) -> str:
    """The text with new content between its markers `<!-- NAME:begin -->` and `:end`."""
    begin, end = (f"<!-- {name}:{word} -->" for word in ("begin", "end"))
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}"


def metrics_table(trained: dict[str, dict[str, Any]], baselines: dict[str, dict[str, Any]]) -> str:
    """A table with a row per trained config, followed by the rows of its baselines."""
    rows = [["config", "model", "parameters", "data", "metric", "time", "machine", "weights"]]
    for name, record in trained.items():
        experiment = config.from_dict(record["config"])
        link = f"[{name}](docs/curves/{name}.svg)" if _curve(record) else name
        model = recorded.describe_config(experiment.model)
        card = f"[card](modelzoo/zoo/{name}/card.md)" if name in zoo.folders() else ""
        shown = [(link, model, record, card)]
        shown += [
            ("its baseline", baseline["model"], baseline, "")
            for baseline in baselines.values()
            if baseline["beside"] == name
        ]
        rows += [
            [
                link,
                f"`{model}`",
                f"{values['parameters']:,}",
                recorded.data_name(experiment.data),
                f"{recorded.main_split(values)} {recorded.describe_metric(values)}",
                recorded.describe_duration(values),
                recorded.describe_machine(values),
                card,
            ]
            for link, model, values, card in shown
        ]
    return markdown_table(rows)


UNITS = {
    "images_per_second": ("images per second", "precision"),
    "tokens_per_second": ("tokens per second", "precision"),
    "target_tokens_per_second": ("target tokens per second", "precision"),
    "decoded_tokens_per_second": ("decoded tokens per second", "search"),
}
"""Titles of the first two columns by the key of the rates in a record."""


def speed_tables(records: dict[str, dict[str, Any]]) -> str:
    """A table per unit: the rates of modelzoo and of other libraries."""
    tables = []
    for key, titles in UNITS.items():
        rows = []
        for name, record in records.items():
            if key not in record:
                continue
            # The rates of decoding are recorded by kind of search.
            precision = record.get("precision")
            cases = {precision: record[key]} if precision else record[key]
            model = name.removeprefix("speed_").removesuffix(f"_{precision}")
            machine = recorded.describe_machine(record)
            rows += [(model, case, rates, machine) for case, rates in cases.items()]
        names = list(dict.fromkeys(name for _, _, rates, _ in rows for name in rates))
        cells = [
            [model, case, *(f"{rates[n]:,.0f}" if n in rates else "" for n in names), machine]
            for model, case, rates, machine in rows
        ]
        tables += [markdown_table([[*titles, *names, "machine"], *cells])] if rows else []
    return "\n\n".join(tables)


def markdown_table(rows: list[list[str]]) -> str:
    """The rows as a Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])


def update_files(check: bool = False) -> list[Path]:
    """Writes the files that are out of date, or only prints their names; returns their paths."""
    outdated = {
        path: text
        for path, text in generated_files().items()
        if not path.is_file() or path.read_text() != text
    }
    for path, text in outdated.items():
        print(f"{'out of date' if check else 'wrote'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return list(outdated)


def main() -> None:
    """Writes or checks the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is out of date"
    )
    check = parser.parse_args().check
    if update_files(check) and check:
        sys.exit("run: python benchmarks/report.py")


if __name__ == "__main__":
    main()
