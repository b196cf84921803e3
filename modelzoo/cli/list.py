"""Shows the shipped configs, the trained models, and what a config can be composed of."""

import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence

import modelzoo
from modelzoo import configs, zoo
from modelzoo.cli.flags import Flags
from modelzoo.cli.main import run
from modelzoo.fields import introspection as modules

FLAGS = Flags()
USES_TENSORFLOW = False


def main(argv: Sequence[str]) -> None:
    """Prints the lists, each name with the first line of its docstring or card."""
    del argv
    models = modules.files(str(pathlib.Path(folder) / "models") for folder in modelzoo.__path__)
    _print(
        "configs (modelzoo train --config=NAME --workdir=FOLDER)",
        configs.names(),
        configs.first_line,
    )
    print()
    _print("trained models (modelzoo predict --model=NAME FILE)", zoo.names(), zoo.first_line)
    print()
    _print("models (modelzoo.models)", models, lambda name: modules.first_line(models[name]))
    for kind in ("optimizer", "schedule"):
        package = pathlib.Path(modelzoo.__file__).parent / f"{kind}s"
        classes = modules.classes(package / f"{kind}.py")
        print()
        _print(f"{kind}s (modelzoo.{kind}s)", classes, classes.get)


def _print(title: str, names: Iterable[str], first_line: Callable[[str], str]) -> None:
    names = list(names)
    width = max(map(len, names), default=0) + 2
    print(f"{title}:")
    for name in names:
        print(f"  {name:{width}}{first_line(name)}".rstrip())
    if not names:
        print("  (none)")


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
