import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import types

import pytest
from absl import flags as absl_flags

import modelzoo
import modelzoo.models
import modelzoo.optimizers
import modelzoo.schedules
from modelzoo.cli import evaluate, flags, main
from modelzoo.fields.errors import UserError


def command(work=lambda argv: None, arguments="", **attributes):
    """A command module `toy` with every shared flag; `work` is its `main`."""
    module = types.ModuleType("modelzoo.cli.toy", "Does a toy's work.\n\nMore about it.")
    module.__file__ = "/somewhere/toy.py"
    module.FLAGS = flags.Flags(arguments)
    flags.config(module.FLAGS)
    flags.workdir(module.FLAGS, required=False)
    flags.distribute(module.FLAGS)
    absl_flags.DEFINE_integer("number", 3, "How many.", flag_values=module.FLAGS)
    absl_flags.DEFINE_enum("kind", "a", ["a", "b"], "Which.", flag_values=module.FLAGS)
    absl_flags.DEFINE_bool("fast", False, "Whether.", flag_values=module.FLAGS)
    module.USES_TENSORFLOW = False
    module.main = work
    vars(module).update(attributes)
    return module


def run(capfd, module, *words):
    code = main.run(module, words)
    return code, *capfd.readouterr()


def test_flags_overrides_and_words_reach_the_command():
    seen = []
    module = command(lambda argv: seen.append(argv), arguments="PATH...")
    words = ["one", "--config=c", "--config.a.b=x=y", "--nofast", "two", "--number", "5"]
    words += ["--config.train.steps", "10 epochs", "--config.low", "-1", "--devices=cpu:2"]
    assert main.run(module, [*words, "--", "--config.kept=1"]) == 0
    assert seen == [["modelzoo toy", "one", "two", "--config.kept=1"]]
    assert (module.FLAGS.config, module.FLAGS.number, module.FLAGS.fast) == ("c", 5, False)
    assert flags.config_overrides(module.FLAGS) == [
        ("a.b", "x=y"),
        ("train.steps", "10 epochs"),
        ("low", "-1"),
        ("distribute.devices", "cpu:2"),
    ]
    # A second run in the same process starts from the defaults again.
    assert main.run(module, ["--config=d"]) == 0
    assert (module.FLAGS.config, module.FLAGS.number) == ("d", 3)
    assert flags.config_overrides(module.FLAGS) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--config is missing"),
        (["--config=c", "--wokdir=w"], "unknown flag --wokdir, nearest is --workdir"),
        (
            ["--config=c", "--train.steps=1"],
            "unknown flag --train.steps, nearest is --config.train",
        ),
        (["--config=c", "--number=x"], "--number cannot be 'x': "),
        (["--config=c", "--kind=c"], "--kind cannot be 'c': value should be one of <a|b>"),
        (["--config=c", "--workdir"], "--workdir has no value"),
        (["--config=c", "--config.train.steps"], "--config.train.steps has no value"),
        (["--config=c", "--config.train.steps", "--fast"], "--config.train.steps has no value"),
        (["--config=c", "--config.=1"], "--config. is not a valid key"),
        (["--config=c", "--config.a..b=1"], "--config.a..b is not a valid key"),
        (
            ["--config=c", "word"],
            "unexpected word 'word': this command accepts only flags, did you mean --workdir=word?",
        ),
        (
            ["digits_cnn", "runs/x"],
            "this command accepts only flags, did you mean --config=digits_cnn?",
        ),
        (
            ["--config=c", "--steps=1"],
            "unknown flag --steps; set a config field by --config.KEY=VALUE, such as --config."
            "train.steps=200",
        ),
        (["--config=c", "--workdir=w", "a.b/x=1"], "accepts only flags\n"),
        (["--config=c", "train.steps=1"], "set a config field by --config.train.steps=VALUE"),
        (["--config=c", "--nofast=1"], "--nofast=1 does not take an argument"),
    ],
)
def test_wrong_flags_are_one_line(capfd, words, message):
    code, out, err = run(capfd, command(), *words)
    assert code == 2
    assert out == ""
    assert err.startswith("modelzoo toy: ")
    assert message in err
    assert err.count("\n") == 1


def raising(error):
    def work(argv):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no\n  such thing"), 1, "modelzoo toy: no such thing\n"),
        (KeyboardInterrupt(), 130, "modelzoo toy: interrupted\n"),
        (OSError(errno.ENOSPC, "No space", "/a"), 1, "modelzoo toy: No space: /a\n"),
        (OSError(errno.EFBIG, "File too large"), 1, "modelzoo toy: File too large\n"),
    ],
)
def test_an_error_of_the_user_or_the_machine_is_one_line(capfd, error, code, message):
    assert run(capfd, command(raising(error)), "--config=c") == (code, "", message)


def test_a_bug_keeps_its_traceback():
    for error in (ValueError("ours"), FileNotFoundError(errno.ENOENT, "ours")):
        with pytest.raises(type(error), match="ours"):
            main.run(command(raising(error)), ["--config=c"])


def test_exit_code_of_a_command_is_passed_on():
    assert main.run(command(lambda argv: 7), ["--config=c"]) == 7


def test_help_shows_the_flags_of_the_command_alone(capfd):
    code, out, err = run(capfd, command(raising(AssertionError), arguments="PATH"), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(
        "Does a toy's work.\n\nMore about it.\n\nusage: modelzoo toy [flags] PATH"
    )
    for shown in (
        "--config=CONFIG",
        "--workdir=",
        "--strategy=",
        "--devices=",
        "--kind=a|b\n      Which.",
    ):
        assert shown in out
    assert out.count("(required)") == 1
    assert "--number=NUMBER\n      How many. (default: 3)" in out
    assert "--[no]fast" in out
    assert "--config.train.steps=200" in out
    assert "--config.train" not in main._help(evaluate, "modelzoo evaluate")
    assert "verbosity" not in out and "logtostderr" not in out


def python(*arguments, code=None, **options):
    words = [sys.executable, *(["-c", textwrap.dedent(code)] if code else []), *arguments]
    return subprocess.run(words, capture_output=True, text=True, **options)


def test_modelzoo_and_help_show_the_commands(capfd):
    shown = set()
    for words in ([], ["help"], ["--help"], ["-h"]):
        assert main.dispatch(words) == 0
        shown.add(capfd.readouterr().out)
    (text,) = shown
    assert "  list " in text
    assert "List the shipped configs, the trained models" in text
    assert "\n  main" not in text and "\n  flags" not in text
    assert main.dispatch(["--version"]) == 0
    assert capfd.readouterr().out == f"modelzoo {modelzoo.__version__}\n"


def test_an_unknown_command_is_one_line(capfd):
    assert main.dispatch(["lsit"]) == 2
    assert capfd.readouterr().err == (
        "modelzoo: there is no command 'lsit', nearest is list; `modelzoo help` shows all\n"
    )


TOY = '''
"""Print a word."""

from absl import flags

from modelzoo.cli.flags import Flags

FLAGS = Flags()
USES_TENSORFLOW = False
flags.DEFINE_string("word", "none", "The word.", flag_values=FLAGS)


def main(argv):
    """Prints it."""
    print(FLAGS.word)
'''


def test_a_command_is_a_file_of_its_package(capfd, tmp_path, monkeypatch):
    (tmp_path / "toy_command.py").write_text(TOY)
    monkeypatch.setattr(modelzoo.cli, "__path__", [*modelzoo.cli.__path__, str(tmp_path)])
    assert main.dispatch([]) == 0
    assert "  toy_command  Print a word.\n" in capfd.readouterr().out
    assert main.dispatch(["toy_command", "--word=ant"]) == 0
    assert capfd.readouterr() == ("ant\n", "")
    assert main.dispatch(["toy_command", "--wrd=ant"]) == 2
    assert "unknown flag --wrd, nearest is --word" in capfd.readouterr().err
    assert main.dispatch(["help", "toy_command"]) == 0
    assert "--word=WORD\n      The word. (default: none)" in capfd.readouterr().out


def test_every_command_has_help(capfd):
    for name in main.commands():
        assert main.dispatch(["help", name]) == 0
        out = capfd.readouterr().out
        assert f"usage: modelzoo {name}" in out
        assert len(out.splitlines()[0]) > 10
        assert main.dispatch([name, "--no_such_flag"]) == 2
        err = capfd.readouterr().err
        assert err.startswith(f"modelzoo {name}: unknown flag --no_such_flag")
        assert err.count("\n") == 1


def test_help_and_list_import_no_tensorflow():
    done = python(
        code="""
        import sys
        from modelzoo.cli import main
        for words in ([], ["--version"], ["list"], *([n, "--help"] for n in main.commands())):
            assert main.dispatch(words) == 0, words
        heavy = {"tensorflow", "keras", "numpy", "sklearn"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
        """
    )
    assert done.returncode == 0, done.stderr


def test_list_shows_configs_and_models(capfd, tmp_path, monkeypatch):
    (tmp_path / "toy_net.py").write_text('"""Toy: 99 %.\n\nMore."""\nimport no_such_module\n')
    (tmp_path / "_private.py").write_text('"""Hidden."""\n')
    monkeypatch.setattr(modelzoo.configs, "__path__", [str(tmp_path)])
    assert main.dispatch(["list"]) == 0
    out = capfd.readouterr().out
    assert "  toy_net  Toy: 99 %.\n" in out
    assert "Hidden" not in out
    assert re.search("  Lion +Sign of an interpolation between gradient and momentum", out)
    assert "  OneCycle           A rise to the peak and a longer fall" in out
    for package in (modelzoo.models, modelzoo.optimizers, modelzoo.schedules):
        for name in getattr(package, "__all__", ()):
            is_base = getattr(package, name).__doc__.startswith("Base of")
            assert (f"\n  {name}  " in out) is not is_base


def test_module_entry_equals_the_subcommand():
    done = python("-m", "modelzoo.cli.list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == python("-m", "modelzoo.cli.main", "list").stdout != ""
    wrong = python("-m", "modelzoo.cli.list", "--x")
    assert (wrong.returncode, wrong.stderr.split(",")[0]) == (
        2,
        "modelzoo list: unknown flag --x",
    )


def test_a_closed_pipe_is_no_error():
    code = """
        import sys, types
        from modelzoo.cli import flags, main
        toy = types.ModuleType("toy", "Toy.")
        toy.__file__, toy.FLAGS, toy.USES_TENSORFLOW = "toy.py", flags.Flags(), False
        toy.main = lambda argv: [print("x" * 1000) for _ in range(1000)] and None
        sys.exit(main.run(toy, []))
    """
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_closed_output_is_no_error():
    words = [sys.executable, "-m", "modelzoo.cli.main", "list"]
    done = subprocess.run(words, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def tensorflow_start(**environment):
    code = """
        import sys
        from modelzoo.cli import main
        main.import_tensorflow()
        print("ours", file=sys.stderr)
        import tensorflow as tf
        tf.constant(1) + 1
    """
    kept = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return python(code=code, env={**kept, **environment})


def test_tensorflow_starts_in_silence():
    done = tensorflow_start()
    assert (done.returncode, done.stderr) == (0, "ours\n")


@pytest.fixture
def loud(tmp_path):
    """The environment in which `tensorflow` is a module that writes as the libraries do."""
    text = "import os\nos.write(2, b'from the library\\n')\nconstant = int\n"
    (tmp_path / "tensorflow.py").write_text(text)
    return {"PYTHONPATH": str(tmp_path)}


def test_the_log_of_tensorflow_is_hidden_unless_asked_for(loud):
    assert tensorflow_start(**loud).stderr == "ours\n"
    asked = tensorflow_start(**loud, TF_CPP_MIN_LOG_LEVEL="0")
    assert asked.stderr == "ours\nfrom the library\n"


def test_the_log_of_tensorflow_is_shown_if_its_import_fails(loud, tmp_path):
    with open(tmp_path / "tensorflow.py", "a") as file:
        file.write("raise ImportError('broken')\n")
    done = tensorflow_start(**loud)
    assert done.returncode == 1
    assert done.stderr.startswith("from the library\n")
    assert "ImportError: broken" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_gets_escapes_of_json_for_what_it_cannot_show(monkeypatch, encoding):
    text = json.dumps({"text": 'é "猫" 😀', "file": "caf\udce9.png"}, ensure_ascii=False)

    def work(argv):
        print(text)
        print(text, file=sys.stderr)
        raise UserError(text)

    streams = {}
    for name in ("stdout", "stderr"):
        streams[name] = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
        monkeypatch.setattr(sys, name, streams[name])
    assert main.run(command(work), ["--config=c"]) == 1
    for stream in streams.values():
        stream.flush()
        first, *rest = stream.buffer.getvalue().decode(encoding).splitlines()
        assert json.loads(first) == json.loads(text)
        assert encoding == "ascii" or "é" in first
    assert rest[0].startswith("modelzoo toy: ") and len(rest) == 1
