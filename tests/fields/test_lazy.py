import ast
import pathlib
import subprocess
import sys
import textwrap

import pytest

import modelzoo
import modelzoo.optimizers
import modelzoo.schedules
from modelzoo.fields.lazy import TABLES, lazy_names


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a public class and a public module, and a module that cannot be imported."""
    folder = tmp_path / "toy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        textwrap.dedent("""
        from typing import TYPE_CHECKING
        from modelzoo.fields.lazy import lazy_names
        if TYPE_CHECKING:
            from toy_package import tools as tools
            from toy_package.net import Net as Net
            from toy_package.broken import Broken as Broken
        else:
            __getattr__, __dir__, __all__ = lazy_names(__name__, __file__, ("Net", "tools"))
        """)
    )
    (folder / "net.py").write_text("class Net: pass\nclass Private: pass\n")
    (folder / "tools.py").write_text("answer = 42\n")
    (folder / "broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    TABLES.pop("toy_package", None)
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_package"]:
        del sys.modules[name]


def test_names_are_imported_on_first_use(package):
    import toy_package

    assert "toy_package.net" not in sys.modules
    assert toy_package.__all__ == ["Broken", "Net", "tools"]
    assert {"Net", "tools", "Broken"} <= set(dir(toy_package))
    from toy_package import Net

    assert Net is sys.modules["toy_package.net"].Net
    assert toy_package.tools.answer == 42


def test_a_name_that_is_not_public_is_an_attribute_error(package):
    import toy_package

    with pytest.raises(AttributeError, match="'toy_package' has no attribute 'Private'"):
        _ = toy_package.Private
    with pytest.raises(ImportError, match="Private"):
        from toy_package import Private  # noqa: F401


def test_a_failing_import_is_shown_as_it_is(package):
    import toy_package

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = toy_package.Broken


@pytest.mark.parametrize("package", sorted(TABLES))
def test_every_public_name_exists_and_is_documented(package):
    module = sys.modules[package]
    for name in module.__all__:
        assert getattr(module, name).__doc__


def test_public_names():
    assert {"Experiment", "TrainConfig", "EvalConfig", "DistributeConfig", "ExportConfig"} <= set(
        modelzoo.__all__
    )
    assert {"train", "load", "curve", "configs", "UserError"} <= set(modelzoo.__all__)
    assert {"SGD", "AdamW", "Optimizer"} <= set(modelzoo.optimizers.__all__)
    assert {"Cosine", "Schedule"} <= set(modelzoo.schedules.__all__)


def test_packages_cost_nothing_until_a_name_is_used():
    code = """
        import sys
        import modelzoo, modelzoo.optimizers, modelzoo.schedules
        from modelzoo import UserError, configs
        assert "digits_cnn" in configs.names()
        assert not {"tensorflow", "keras", "numpy"} & set(sys.modules)
        from modelzoo.optimizers import SGD
        assert "tensorflow" in sys.modules and "modelzoo.optimizers.lion" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_type_checkers_see_the_names():
    """They are imports under TYPE_CHECKING, marked as exports by `X as X`."""
    for package, table in TABLES.items():
        source = pathlib.Path(sys.modules[package].__file__).read_text()
        aliases = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.alias)]
        exported = {alias.name for alias in aliases if alias.asname == alias.name}
        assert exported == set(table)


def test_a_package_without_the_block_has_no_names(tmp_path):
    (tmp_path / "__init__.py").write_text("if DEBUG:\n    from a.b import C as C\n")
    get_name, _, names = lazy_names("nothing", str(tmp_path / "__init__.py"))
    assert names == [] and TABLES.pop("nothing") == {}
    with pytest.raises(AttributeError):
        get_name("C")
