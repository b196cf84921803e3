"""docs/quickstart.ipynb runs, and its stored outputs are those of the code."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text())
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]

# Runs the cells as a kernel does: in one namespace, a last expression shown.
RUN = """
import ast, contextlib, io, json, sys

namespace, shown = {"__name__": "__main__"}, []
for source in json.load(sys.stdin):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(tree, "cell", "exec"), namespace)
        value = last and eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    text = "" if value is None else repr(value)
    shown.append([out.getvalue(), text, getattr(value, "_repr_svg_", str)()])
with open("shown.json", "w") as file:
    json.dump(shown, file)
"""


def stored(cell):
    """The text a cell printed, its value as text, and as a picture."""
    printed = value = picture = ""
    for output in cell["outputs"]:
        assert output["output_type"] in ("stream", "execute_result")
        if output["output_type"] == "stream":
            assert output["name"] == "stdout", "".join(output["text"])
            printed += "".join(output["text"])
        else:
            value = "".join(output["data"]["text/plain"])
            picture = "".join(output["data"].get("image/svg+xml", ""))
    return printed, value, picture


def words(text):
    """The text without its numbers, which differ between machines, and how they are set."""
    return re.sub(r"[\d.\s]+", " ", text).strip()


def scores(printed):
    """What training prints of scores, without the summary at its start and the live line."""
    kept = [line for line in printed.splitlines() if re.match("step|validation|test|trained", line)]
    return "\n".join(line for line in kept if "data wait" not in line)


def test_it_was_executed_in_order_and_shows_no_wall_of_lines():
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    for cell in CELLS:
        assert stored(cell)[0].count("\n") < 20
        assert "\r" not in stored(cell)[0]
    assert "/root" not in json.dumps(NOTEBOOK) and "/opt" not in json.dumps(NOTEBOOK)


def test_it_runs_and_shows_what_is_stored(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(["".join(cell["source"]) for cell in CELLS]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads((tmp_path / "shown.json").read_text())
    for cell, (printed, value, picture) in zip(CELLS, shown, strict=True):
        was_printed, was_value, was_picture = stored(cell)
        if "modelzoo.train(" in "".join(cell["source"]):
            printed, was_printed = scores(printed), scores(was_printed)
        assert words(printed) == words(was_printed)
        assert words(value) == words(was_value)
        assert bool(picture) == bool(was_picture)
    accuracy = re.search(r"test accuracy ([\d.]+)", "".join(printed for printed, *_ in shown))
    assert float(accuracy[1]) > 0.97
    assert re.search(r"\b(35\d|360) of 360 test digits", shown[-1][0])
