"""Flags of commands, and the definitions of shared flags."""

import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

OVERRIDES_HELP = """\
Set any field of the config by --config.KEY=VALUE, such as
  --config.train.steps=200            a duration in steps
  --config.train.steps="5 epochs"     or in epochs or examples
  --config.optimizer.learning_rate=0.05
  --config.train.ema_decay=none       no value
  --config.data.inputs.size=32,32     several values"""


class FlagError(Exception):
    """A command line that cannot be parsed; the message is one line."""


class Flags(flags.FlagValues):
    """The flags of one command, separate from the flags that libraries define with absl.

    A command defines its own flags with absl's `DEFINE_*(..., flag_values=FLAGS)`, and shared flags
    with the functions of this module. `arguments` describes its positional arguments, such as "PATH
    [PATH ...]"; without it, the command accepts only flags.
    """

    def __init__(self, arguments: str = ""):
        super().__init__()
        # FlagValues treats ordinary attributes as flags.
        self.__dict__["arguments"] = arguments
        self.__dict__["takes_overrides"] = False
        self.__dict__["overrides_help"] = ""
        self.__dict__["overrides"] = []
        self.set_gnu_getopt(True)

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Sets the flags and overrides from `argv[1:]`; returns `argv[0]` and the other words.

        Raises:
            FlagError: the command line cannot be parsed.
        """
        for name in self:
            self[name].unparse()
        words = list(argv[1:])
        if self.takes_overrides:
            self.__dict__["overrides"], words = split_overrides(words)
        try:
            remaining = self([argv[0], *words])
        except flags.UnrecognizedFlagError as error:
            raise FlagError(self._unknown(error.flagname)) from None
        except (flags.Error, ValueError) as error:
            raise FlagError(_one_line(error)) from None
        if len(remaining) > 1 and not self.arguments:
            raise FlagError(self._unexpected(remaining[1]))
        try:
            super().validate_all_flags()
        except flags.Error as error:
            raise FlagError(_one_line(error)) from None
        return remaining

    def validate_all_flags(self) -> None:
        """Does nothing: `parse` validates after it has checked for unexpected words."""

    def _unexpected(self, word: str) -> str:
        key, assigned, _ = word.removeprefix("config.").partition("=")
        unset = [name for name in ("config", "workdir") if name in self and not self[name].present]
        hint = ""
        if assigned and self.takes_overrides and all(map(str.isidentifier, key.split("."))):
            hint = f"; set a config field by --config.{key}=VALUE"
        elif unset:
            hint = f", did you mean --{unset[0]}={word}?"
        return f"unexpected word {word!r}: this command accepts only flags{hint}"

    def _unknown(self, name: str) -> str:
        if self.takes_overrides and "." in name:
            return f"unknown flag --{name}, nearest is --config.{name}"
        # Without overrides, the message always suggests a flag.
        cutoff = 0.6 if self.takes_overrides else 0.0
        near = difflib.get_close_matches(name, list(self), n=1, cutoff=cutoff)
        if self.takes_overrides and not near:
            example = re.findall(r"--config\.[a-z]\S+", self.overrides_help)[0]
            return (
                f"unknown flag --{name}; set a config field by --config.KEY=VALUE, such as "
                f"{example}"
            )
        hint = f"nearest is --{near[0]}" if near else "this command has no flags"
        return f"unknown flag --{name}, {hint}"


def split_overrides(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Removes `--config.KEY=VALUE` and `--config.KEY VALUE` from a command line.

    Returns:
        The `(KEY, VALUE)` pairs and the other words.

    Raises:
        FlagError: a key is not valid or has no value.
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
            raise FlagError(
                f"--config.{key} is not a valid key: write for example --config.train.steps=100"
            )
        pairs.append((key, value))
    return pairs, others


def _one_line(error: Exception) -> str:
    """Returns an absl message as one line, without its repetitions."""
    message = " ".join(str(error).split())
    if missing := re.search(r"Flag --(\S+) must have a value other than None", message):
        return f"--{missing[1]} is missing; see --help"
    if valueless := re.fullmatch(r"Missing value for flag (\S+)", message):
        return f"{valueless[1]} has no value"
    if wrong := re.fullmatch(r"flag --([^=]+)=(.*?): (.*)", message):
        return f"--{wrong[1]} cannot be {wrong[2]!r}: {wrong[3]}"
    return message


class _PathParser(flags.ArgumentParser):
    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        # Shells do not expand the ~ of --flag=~/folder.
        return os.path.expanduser(argument)


def path(command: Flags, name: str, description: str, required: bool = False) -> None:
    """Defines a flag for a path, which expands a leading `~`."""
    flags.DEFINE(_PathParser(), name, None, description, flag_values=command, required=required)


def config(command: Flags, required: bool = True) -> None:
    """Defines `--config` and `--config.KEY=VALUE`."""
    path(
        command,
        "config",
        "Name of a shipped config (modelzoo list shows them), or a .py file with get_config().",
        required,
    )
    overrides(command)


def overrides(command: Flags, description: str = OVERRIDES_HELP) -> None:
    """Defines `--config.KEY=VALUE`, of the config of a run if there is no `--config`.

    `description` is the text with examples in the command's help.
    """
    command.__dict__["takes_overrides"] = True
    command.__dict__["overrides_help"] = description


def workdir(command: Flags, required: bool = True, or_export: bool = False) -> None:
    """Defines `--workdir`; with `or_export`, its help mentions exported folders."""
    also = (
        " Or an exported folder: a version, or the folder of versions for the newest." * or_export
    )
    text = f"Folder of the run: its config, metrics and checkpoints.{also}"
    path(command, "workdir", text, required)
    # An empty value, as of an unset shell variable, would be the working directory.
    flags.register_validator(
        "workdir", lambda name: name != "", message="must be a folder", flag_values=command
    )


def checkpoint(command: Flags) -> None:
    """Defines `--checkpoint` and `--weights`, which select within a `--workdir`."""
    flags.DEFINE_string(
        "checkpoint",
        None,
        "last, best, a step, or mean:N for the mean of the last N; by default the checkpoint that "
        "the run evaluated at its end.",
        flag_values=command,
    )
    flags.DEFINE_enum(
        "weights",
        None,
        ["ema", "raw"],
        "The moving average of the weights, or the weights themselves; by default the set that the "
        "run evaluates.",
        flag_values=command,
    )


def trained_model(command: Flags, description: str) -> None:
    """Defines `--workdir`, `--model`, `--checkpoint`, `--weights` and `--config.KEY=VALUE`.

    `description` is the text with examples of overrides in the command's help.
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
    """Returns the values of `trained_model`'s flags, as arguments of `open_model`."""
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
    """Returns the overrides as `(key, text)` pairs, including those of the short flags."""
    keys = ("distribute.strategy", "distribute.devices")
    named = [(key, key.partition(".")[2]) for key in keys]
    short = [
        (key, command[name].value)
        for key, name in named
        if name in command and command[name].value is not None
    ]
    return command.overrides + short


def json_line(value: Any) -> str:
    """A value as one line of JSON, with escapes where the standard output has no such character."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
