"""The flags of a command, and those that several commands share."""

import difflib
import os
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

OVERRIDES_HELP = """\
Any field of the config by --config.KEY=VALUE, such as
  --config.train.steps=200            a length in steps
  --config.train.steps="5 epochs"     or in epochs or examples
  --config.optimizer.learning_rate=0.05
  --config.train.ema_decay=none       no value
  --config.data.inputs.size=32,32     several values"""


class FlagError(Exception):
    """A command line that cannot be parsed, told in one line."""


class Flags(flags.FlagValues):
    """The flags of one command: absl's, apart from the flags that libraries define.

    A command defines its own with absl's `DEFINE_*(..., flag_values=FLAGS)` and takes shared ones
    by the functions of this module. `arguments` names the words it takes besides, such as
    "PATH [PATH ...]"; without it a word that is no flag is a mistake.
    """

    def __init__(self, arguments: str = ""):
        super().__init__()
        # FlagValues keeps every ordinary attribute for a flag.
        self.__dict__["arguments"] = arguments
        self.__dict__["takes_overrides"] = False
        self.__dict__["overrides_help"] = ""
        self.__dict__["overrides"] = []
        self.set_gnu_getopt(True)

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Sets the flags and overrides from `argv[1:]`; returns `argv[0]` and the other words.

        Raises FlagError.
        """
        for name in self:
            self[name].unparse()
        words = list(argv[1:])
        if self.takes_overrides:
            self.__dict__["overrides"], words = split_overrides(words)
        try:
            left = self([argv[0], *words])
        except flags.UnrecognizedFlagError as error:
            raise FlagError(self._unknown(error.flagname)) from None
        except (flags.Error, ValueError) as error:
            raise FlagError(_one_line(error)) from None
        if len(left) > 1 and not self.arguments:
            raise FlagError(self._unexpected(left[1]))
        try:
            super().validate_all_flags()
        except flags.Error as error:
            raise FlagError(_one_line(error)) from None
        return left

    def validate_all_flags(self) -> None:
        """Does nothing: `parse` validates, once it has told of a stray word."""

    def _unexpected(self, word: str) -> str:
        key, assigned, _ = word.removeprefix("config.").partition("=")
        unset = [name for name in ("config", "workdir") if name in self and not self[name].present]
        hint = ""
        if assigned and self.takes_overrides and all(map(str.isidentifier, key.split("."))):
            hint = f"; a config field is set by --config.{key}=VALUE"
        elif unset:
            hint = f", did you mean --{unset[0]}={word}?"
        return f"unexpected word {word!r}: this command takes flags only{hint}"

    def _unknown(self, name: str) -> str:
        if self.takes_overrides and "." in name:
            return f"unknown flag --{name}, nearest is --config.{name}"
        # Any flag is nearer than none where no field of a config can be meant.
        cutoff = 0.6 if self.takes_overrides else 0.0
        near = difflib.get_close_matches(name, list(self), n=1, cutoff=cutoff)
        if self.takes_overrides and not near:
            example = re.findall(r"--config\.[a-z]\S+", self.overrides_help)[0]
            return (
                f"unknown flag --{name}; a config field is set by --config.KEY=VALUE, "
                f"such as {example}"
            )
        hint = f"nearest is --{near[0]}" if near else "this command has none"
        return f"unknown flag --{name}, {hint}"


def split_overrides(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Takes `--config.KEY=VALUE` and `--config.KEY VALUE` out of a command line.

    Returns the `(KEY, VALUE)` pairs and the other words. Raises FlagError.
    """
    pairs, others = [], []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += [word, *rest]
            break
        match = re.fullmatch(r"--?config\.([^=]*)(?:=(.*))?", word, re.DOTALL)
        if not match:
            others.append(word)
            continue
        key, value = match.groups()
        if value is None:
            value = next(rest, None)
        if value is None or (match[2] is None and value.startswith("--")):
            raise FlagError(f"--config.{key} has no value: write --config.{key}=VALUE")
        if not all(part.isidentifier() for part in key.split(".")):
            raise FlagError(f"--config.{key} is no key: write --config.train.steps=100, say")
        pairs.append((key, value))
    return pairs, others


def _one_line(error: Exception) -> str:
    """An absl message without its repetitions."""
    message = " ".join(str(error).split())
    if missing := re.search(r"Flag --(\S+) must have a value other than None", message):
        return f"--{missing[1]} is missing; --help says what it is"
    if valueless := re.fullmatch(r"Missing value for flag (\S+)", message):
        return f"{valueless[1]} has no value"
    if wrong := re.fullmatch(r"flag --([^=]+)=(.*?): (.*)", message):
        return f"--{wrong[1]} cannot be {wrong[2]!r}: {wrong[3]}"
    return message


class _PathParser(flags.ArgumentParser):
    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        # A shell leaves the ~ of --flag=~/folder to the program.
        return os.path.expanduser(argument)


def path(command: Flags, name: str, description: str, required: bool = False) -> None:
    """Defines a flag that holds a path; a `~` at its start is the home folder."""
    flags.DEFINE(_PathParser(), name, None, description, flag_values=command, required=required)


def config(command: Flags, required: bool = True) -> None:
    """Defines `--config`, and has the command take `--config.KEY=VALUE` too."""
    path(
        command,
        "config",
        "Name of a shipped config (modelzoo list shows them), or a .py file with get_config().",
        required,
    )
    overrides(command)


def overrides(command: Flags, description: str = OVERRIDES_HELP) -> None:
    """Has the command take `--config.KEY=VALUE` (of a run's own config, where no --config is).

    `description` shows examples in the command's help.
    """
    command.__dict__["takes_overrides"] = True
    command.__dict__["overrides_help"] = description


def workdir(command: Flags, required: bool = True, or_export: bool = False) -> None:
    """Defines `--workdir`; `or_export` has its help name exported folders too."""
    also = " Or an exported folder: of one version, or of several for the newest." * or_export
    text = f"Folder of the run: its config, metrics and checkpoints.{also}"
    path(command, "workdir", text, required)
    # An unset variable of a shell's would be the working directory.
    flags.register_validator(
        "workdir", lambda name: name != "", message="name a folder", flag_values=command
    )


def checkpoint(command: Flags) -> None:
    """Defines `--checkpoint` and `--weights`, which choose in a `--workdir`."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "last, best, a step, or mean:N for the mean of the last N; without it the one that the run "
        "scored at its end.",
        flag_values=command,
    )
    flags.DEFINE_enum(
        "weights",
        None,
        ["ema", "raw"],
        "The moving average of the weights or the weights themselves; without it the set that "
        "the run evaluates.",
        flag_values=command,
    )


def trained_model(command: Flags, description: str) -> None:
    """Defines `--workdir`, `--model`, `checkpoint`'s flags, and `--config.KEY=VALUE`.

    `description` shows examples of the latter in the command's help.
    """
    workdir(command, required=False, or_export=True)
    path(
        command,
        "model",
        "Name of a shipped model (modelzoo list shows them), or an exported folder.",
    )
    checkpoint(command)
    overrides(command, description)


def chosen_model(command: Flags) -> dict[str, Any]:
    """The values of `trained_model`'s flags, by the names of `open_model`'s arguments."""
    names = ("workdir", "model", "checkpoint", "weights")
    chosen = {name: command[name].value for name in names}
    return {**chosen, "overrides": config_overrides(command)}


def distribute(command: Flags) -> None:
    """Defines `--strategy` and `--devices`, short for `--config.distribute.*`."""
    flags.DEFINE_string(
        "strategy",
        None,
        "auto, one_device or mirrored; short for --config.distribute.strategy.",
        flag_values=command,
    )
    flags.DEFINE_string(
        "devices",
        None,
        "Devices such as cpu:2 or gpu:8; short for --config.distribute.devices.",
        flag_values=command,
    )


def config_overrides(command: Flags) -> list[tuple[str, str]]:
    """The parsed overrides as `(key, text)` pairs, those of the short flags among them."""
    keys = ("distribute.strategy", "distribute.devices")
    named = [(key, key.partition(".")[2]) for key in keys]
    short = [
        (key, command[name].value)
        for key, name in named
        if name in command and command[name].value is not None
    ]
    return command.overrides + short
