"""The `modelzoo` command, which runs its subcommands."""

import codecs
import contextlib
import difflib
import errno
import importlib
import io
import json
import os
import pathlib
import sys
import types
from collections.abc import Sequence

from absl import flags as absl_flags

import modelzoo
from modelzoo import cli
from modelzoo.cli.flags import FlagError
from modelzoo.fields import introspection
from modelzoo.fields.errors import UserError
from modelzoo.fields.tf_import import import_tensorflow

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it.
_BROKEN_PIPE = 141  # 128 + SIGPIPE.
# Errors of the machine, such as a full disk, which are reported without a traceback.
_MACHINE = {
    getattr(errno, name)
    for name in ("EACCES", "EDQUOT", "EFBIG", "EIO", "ENOSPC", "ENOTDIR", "EPERM", "EROFS")
}


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Writes what a terminal cannot show as JSON does: "é" as "\u00e9"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_escaped.__name__, _escaped)


def commands() -> dict[str, pathlib.Path]:
    """Returns the commands: the name of each and the file of its module."""
    files = introspection.module_files(cli.__path__)
    return {name: path for name, path in files.items() if name not in ("main", "flags")}


def console() -> None:
    """Runs the console script."""
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(words: Sequence[str]) -> int:
    """Runs `modelzoo WORDS`; returns the exit code."""
    words = list(words)
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in ("help", "--help", "-h", "-help", "--helpfull"):
        return _guarded("modelzoo", lambda: print(_usage()))
    if words[0] in ("--version", "-version", "version"):
        return _guarded("modelzoo", lambda: print(f"modelzoo {modelzoo.__version__}"))
    if words[0] not in commands():
        near = difflib.get_close_matches(words[0], list(commands()), n=1, cutoff=0.0)
        print(
            f"modelzoo: there is no command {words[0]!r}, nearest is {near[0]}; "
            "`modelzoo help` shows all",
            file=sys.stderr,
        )
        return 2
    return run(importlib.import_module(f"modelzoo.cli.{words[0]}"), words[1:])


def _usage() -> str:
    width = max(map(len, commands())) + 2
    lines = [
        f"  {name:{width}}{introspection.first_line(path)}" for name, path in commands().items()
    ]
    return "\n".join(
        [
            "usage: modelzoo COMMAND [flags]",
            "",
            *lines,
            "",
            "modelzoo COMMAND --help shows a command's flags.",
        ]
    )


def run(module: types.ModuleType, words: Sequence[str] | None = None) -> int:
    """Runs a command module (`FLAGS`, `main(argv)`) with its words; returns the exit code.

    A UserError or an error of the machine is one line on stderr. A module whose `USES_TENSORFLOW`
    is False starts without TensorFlow.
    """
    name = pathlib.Path(module.__file__ or "").stem
    program = f"modelzoo {name}"
    # absl's own flags keep their defaults; libraries may read them without an error.
    absl_flags.FLAGS.mark_as_parsed()
    words = sys.argv[1:] if words is None else list(words)
    asked = words[: words.index("--")] if "--" in words else words
    if any(word in ("--help", "-h", "-help", "--helpfull", "--helpshort") for word in asked):
        return _guarded(program, lambda: print(_help(module, program)))
    try:
        argv = module.FLAGS.parse([program, *words])
    except FlagError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2

    def work() -> int | None:
        if getattr(module, "USES_TENSORFLOW", True):
            import_tensorflow()
        return module.main(argv)

    return _guarded(program, work)


def _guarded(program: str, work) -> int:
    """Calls `work`; turns errors of the user and the machine into one line and an exit code."""
    # There is no stdout after `>&-`; open a file, so that no other file gets its descriptor.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_escaped.__name__)
    try:
        code = work()
        sys.stdout.flush()
        return code or 0
    except UserError as error:
        message, code = str(error), 1
    except BrokenPipeError:
        # The reader has closed the pipe, as in `modelzoo list | head -1`: do not flush at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        where = f": {error.filename}" if error.filename else ""
        message, code = f"{error.strerror}{where}", 1
    except MemoryError as error:
        message, code = f"out of memory: {error}", 1
    except KeyboardInterrupt:
        message, code = "interrupted", _INTERRUPTED
    print(f"{program}: {message}", file=sys.stderr)
    return code


def _help(module: types.ModuleType, program: str) -> str:
    flags = module.FLAGS
    usage = [program, "[flags]" if len(flags) else "", flags.arguments]
    lines = [(module.__doc__ or "").strip(), "", f"usage: {' '.join(filter(None, usage))}", ""]
    for name in sorted(flags):
        flag = flags[name]
        options = getattr(flag.parser, "enum_values", None)
        value = "|".join(options) if options else name.upper()
        lines += [f"  --[no]{name}" if flag.boolean else f"  --{name}={value}"]
        # absl begins the help of an enumeration with its values, and quotes a default.
        text = flag.help.removeprefix(f"<{value}>: ")
        default = (flag.default_as_str or "").strip("'")
        required = any("other than None" in validator.message for validator in flag.validators)
        lines += [
            f"      {text}{' (required)' * required}" + f" (default: {default})" * bool(default)
        ]
    if flags.takes_overrides:
        lines += ["", flags.overrides_help]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    console()
