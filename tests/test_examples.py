"""The examples in docstrings run and show what they say."""

import doctest
import importlib
import pathlib

import pytest

import modelzoo

ROOT = pathlib.Path(modelzoo.__file__).parent
FILES = [path for path in sorted(ROOT.rglob("*.py")) if ">>> " in path.read_text()]
MODULES = [
    ".".join(["modelzoo", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for path in FILES
]
MODULES.append("modelzoo.configs")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0, test.name
