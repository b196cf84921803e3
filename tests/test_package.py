import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SHOW = "import modelzoo, modelzoo.configs as c; print(modelzoo.__file__, c.__file__, *c.names())"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is packaged: a build leaves its traces there, and no stale ones go in."""
    copy = tmp_path_factory.mktemp("source")
    for path in ROOT.iterdir():
        if path.name in ("modelzoo", "configs"):
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy(path, copy)
    return copy


def pip(*words, python=sys.executable):
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", words[0], *offline, *words[1:]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def run(python, code, folder, *options):
    """What `code` prints in a folder that holds neither `modelzoo` nor `configs`."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    done = subprocess.run(
        [python, *options, "-c", code], cwd=elsewhere, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def modules(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


@pytest.fixture(scope="module")
def names():
    return sorted(path.stem for path in (ROOT / "configs").glob("[!_]*.py"))


def test_the_wheel_holds_modules_configs_trained_models_and_the_licence(source, names, tmp_path):
    pip("wheel", "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("modelzoo-*.whl")
    with zipfile.ZipFile(wheel) as file:
        inside = set(file.namelist())
        target = tmp_path / "installed"
        file.extractall(target)
    expected = {f"modelzoo/{name}" for name in modules(ROOT / "modelzoo")}
    expected |= {f"modelzoo/configs/{name}" for name in modules(ROOT / "configs")}
    assert {name for name in inside if name.endswith(".py")} == expected
    assert any(name.endswith("/LICENSE") for name in inside)
    found = (ROOT / "modelzoo" / "zoo").glob("[!_]*/**/*")
    models = {path.relative_to(ROOT) for path in found if path.is_file()}
    assert len(models) >= 4 and {path.as_posix() for path in models} <= inside
    assert not any(name.startswith(("tests", "configs", "build")) for name in inside)

    first = f"import sys; sys.path.insert(0, {str(target)!r}); "
    package, configs, *shown = run(sys.executable, first + SHOW, tmp_path)
    assert package == str(target / "modelzoo" / "__init__.py")
    assert configs == str(target / "modelzoo" / "configs" / "__init__.py")
    assert shown == names
    trained = first + "from modelzoo import zoo; print(*zoo.names())"
    assert run(sys.executable, trained, tmp_path) == sorted({path.parts[2] for path in models})
    console = first + "from modelzoo.cli.main import dispatch; dispatch(['--version'])"
    version = wheel.name.split("-")[1]
    assert run(sys.executable, console, tmp_path) == ["modelzoo", version]


def test_an_editable_install_has_the_configs_and_the_console_script(source, names, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    # pip, setuptools and the dependencies are those of the environment that runs the tests.
    purelib = sysconfig.get_path("purelib", vars={"base": str(environment)})
    shared = [path for path in sys.path if path.endswith("site-packages")]
    pathlib.Path(purelib, "shared.pth").write_text("\n".join(shared))
    pip("install", "--ignore-installed", "--editable", str(source), python=python)

    package, configs, *shown = run(python, SHOW, tmp_path)
    assert package == str(source / "modelzoo" / "__init__.py")
    assert configs == str(source / "configs" / "__init__.py")
    assert shown == names
    (source / "configs" / "just_added.py").write_text('"""Not there at the install."""\n')
    assert run(python, SHOW, tmp_path)[2:] == sorted([*names, "just_added"])
    script = (environment / "bin" / "modelzoo").read_text()
    assert "modelzoo.cli.main" in script
    listed = subprocess.run(
        [environment / "bin" / "modelzoo", "list"], cwd=tmp_path, capture_output=True, text=True
    )
    shown = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    assert ["just_added", "Not there at the install."] in shown, listed.stderr
