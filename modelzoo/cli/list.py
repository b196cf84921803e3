"""List the shipped configs, the trained models and the classes for configs."""

import sys
from collections.abc import Mapping, Sequence

from modelzoo import configs, zoo
from modelzoo.cli.flags import Flags
from modelzoo.cli.main import run
from modelzoo.fields.introspection import public_classes

FLAGS = Flags()
USES_TENSORFLOW = False

# Title, package and folder of each list of classes.
_CLASSES = (
    ("models", "models", ""),
    ("tasks", "tasks", ""),
    ("data sources", "data", "sources"),
    ("data inputs", "data", "inputs"),
    ("data targets", "data", "targets"),
    ("optimizers", "optimizers", ""),
    ("schedules", "schedules", ""),
)


def main(argv: Sequence[str]) -> None:
    """Prints the lists: each name with the first line of its docstring or card."""
    del argv
    lists = {
        "configs (modelzoo train --config=NAME --workdir=FOLDER)": {
            name: configs.first_line(name) for name in configs.names()
        },
        "trained models (modelzoo predict --model=NAME FILE)": {
            name: zoo.first_line(name) for name in zoo.names()
        },
    }
    for title, package, folder in _CLASSES:
        if classes := public_classes(f"modelzoo.{package}", folder):
            lists[f"{title} (modelzoo.{package})"] = classes
    print("\n\n".join(_section(title, lines) for title, lines in lists.items()))


def _section(title: str, lines: Mapping[str, str]) -> str:
    width = max(map(len, lines), default=0) + 2
    items = [f"  {name:{width}}{line}".rstrip() for name, line in lines.items()]
    return "\n".join([f"{title}:", *(items or ["  (none)"])])


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
