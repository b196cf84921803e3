"""Annotations of config fields: parsing text, checking values and describing the type."""

import abc
import ast
import dataclasses
import math
import numbers
import types
import typing
from typing import Any, Literal, Union

# A union uses the first member that fits, so str, which fits every text, comes last.
_PRIORITY = (type(None), Literal, bool, int, float, tuple, dict, str)
_ANYTHING = Union[None, bool, int, float, tuple, dict, str]  # noqa: UP007
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "none",
}


def is_config(value: Any) -> bool:
    """Whether the value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def is_config_kind(kind: Any) -> bool:
    """Whether an annotation is a dataclass, a protocol or an abstract class."""
    return dataclasses.is_dataclass(kind) or isinstance(kind, abc.ABCMeta)


def _members(kind: Any) -> list[Any]:
    """Returns the members of a union, most specific first, or a list of the annotation itself."""
    if typing.get_origin(kind) not in (Union, types.UnionType):
        return [kind]
    rank = {member: k for k, member in enumerate(_PRIORITY)}
    return sorted(
        typing.get_args(kind),
        key=lambda member: rank.get(typing.get_origin(member) or member, rank[tuple] - 0.5),
    )


def literal_values(kind: Any) -> tuple[Any, ...]:
    """Returns the values of a Literal, and None if it is optional; () for other annotations."""
    members = _members(kind)
    literal = next((m for m in members if typing.get_origin(m) is Literal), None)
    if literal is None:
        return ()
    return (*typing.get_args(literal), *((None,) if type(None) in members else ()))


def item_kind(kind: Any) -> Any:
    """Returns the annotation of the values of a dict annotation; Any if it has none."""
    dicts = (member for member in _members(kind) if typing.get_origin(member) is dict)
    return next((typing.get_args(member)[1] for member in dicts), Any)


def _items(kind: Any, number: int) -> list[Any]:
    """Returns the annotations of `number` items of a tuple; ValueError if the number is wrong."""
    arguments = typing.get_args(kind)
    if not arguments:
        return [Any] * number
    if arguments[-1] is Ellipsis:
        return [arguments[0]] * number
    if len(arguments) != number:
        raise ValueError
    return list(arguments)


def fit(value: Any, kind: Any) -> Any:
    """Converts a value to the annotation `kind`: lists to tuples, 1 to 1.0 for a float.

    Raises:
        ValueError: The value does not fit.
        TypeError: Config fields do not support the annotation.
    """
    for member in _members(kind):
        try:
            return _fit_one(value, member)
        except ValueError:
            continue
    raise ValueError


def _fit_one(value: Any, kind: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if origin is Literal:
        for option in typing.get_args(kind):
            if value == option and type(value) is type(option):
                return option
    elif origin is bool or origin is str or origin is type(None):
        if isinstance(value, origin):
            return value
    elif origin is int:
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value)
    elif origin is float:
        is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if is_real and math.isfinite(value):
            return float(value)
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            kinds = _items(kind, len(value))
            return tuple(fit(item, k) for item, k in zip(value, kinds, strict=True))
    elif origin is dict:
        if isinstance(value, dict):
            key_kind, value_kind = typing.get_args(kind) or (str, Any)
            return {_fit_key(k, key_kind): fit(v, value_kind) for k, v in value.items()}
    elif is_config_kind(origin):
        if is_config(value) and isinstance(value, origin):
            return value
    elif origin is Any:
        return value if is_config(value) else fit(value, _ANYTHING)
    else:
        raise TypeError(f"a config field cannot be annotated {kind}")
    raise ValueError


def _fit_key(key: Any, kind: Any) -> Any:
    """Converts the key of a dict, which JSON saves as text."""
    try:
        return fit(key, kind)
    except ValueError:
        if isinstance(key, str):
            return parse(key, kind)
        raise


def parse(text: str, kind: Any) -> Any:
    """Parses command-line text as the annotation `kind`; ValueError if it does not fit."""
    for member in _members(_ANYTHING if kind is Any else kind):
        try:
            return _parse_one(text, member)
        except ValueError:
            continue
    raise ValueError


def _parse_one(text: str, kind: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if origin is str:
        return text
    word = text.strip()
    if origin is type(None):
        if word.lower() == "none":
            return None
    elif origin is Literal:
        for option in typing.get_args(kind):
            if word == str(option):
                return option
    elif origin is bool:
        if word.lower() in ("true", "false"):
            return word.lower() == "true"
    elif origin is int:
        return int(word)
    elif origin is float:
        return fit(float(word), float)
    elif origin is dict:
        return fit(_literal(word), kind)
    elif origin is tuple:
        try:
            return fit(_as_tuple(_literal(word)), kind)
        except ValueError:
            return _split(word, kind)
    raise ValueError


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError from None


def _as_tuple(value: Any) -> tuple:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _split(text: str, kind: Any) -> tuple:
    """Parses a tuple of words, `bias,gamma` or `(none, 3)`, or pairs, `logits=1,.*=0.1`."""
    if kind is tuple:  # Words need an annotation.
        raise ValueError
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    words = [word.strip().strip("'\"") for word in text.split(",")]
    if len(words) > 1 and not words[-1]:
        words.pop()
    if words == [""]:
        words = []
    kinds = _items(kind, len(words))
    return tuple(
        _parse_pair(word, k) if _is_pair(k) else parse(word, k)
        for word, k in zip(words, kinds, strict=True)
    )


def _is_pair(kind: Any) -> bool:
    """Whether the annotation is a tuple of two items."""
    arguments = typing.get_args(kind)
    return typing.get_origin(kind) is tuple and len(arguments) == 2 and arguments[1] is not Ellipsis


def _parse_pair(text: str, kind: Any) -> tuple:
    """Parses two values separated by the last equals sign."""
    first, sign, second = text.rpartition("=")
    if not sign:
        raise ValueError
    return tuple(
        parse(t.strip(), k) for t, k in zip((first, second), typing.get_args(kind), strict=True)
    )


def describe(kind: Any) -> str:
    """Returns the annotation in words, such as `a whole number or none`."""
    members = _members(kind)
    members.sort(key=lambda member: member is type(None))
    return " or ".join(_describe_one(member) for member in members)


def _describe_one(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        options = ", ".join(str(option) for option in arguments)
        return f"one of {options}" if len(arguments) > 1 else options
    if origin is tuple:
        if arguments and arguments[-1] is Ellipsis and _is_pair(arguments[0]):
            first, second = map(describe, typing.get_args(arguments[0]))
            return f"values separated by commas, each a pair A=B ({first}, {second})"
        if arguments and arguments[-1] is Ellipsis:
            return f"values separated by commas, each {describe(arguments[0])}"
        if arguments:
            each = ", ".join(describe(argument) for argument in arguments)
            return f"{len(arguments)} values separated by commas ({each})"
        return "values separated by commas"
    if origin is dict:
        pair = " to ".join(describe(argument) for argument in arguments)
        return "a dict in Python's notation" + (f" ({pair})" if pair else "")
    if is_config_kind(origin):
        return origin.__name__
    return _WORDS.get(origin, "a literal or a dataclass")
