"""Overrides of config fields by dotted keys, and checks of the types of a config."""

import contextlib
import dataclasses
import difflib
import functools
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelzoo.fields import field_types
from modelzoo.fields.errors import FieldError, UserError


def field_kinds(cls: type) -> dict[str, Any]:
    """Returns the resolved annotations of a dataclass's fields."""
    return _field_kinds(cls)


@functools.cache
def _field_kinds(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def nearest(key: str, keys: Iterable[str]) -> str:
    """Returns the key whose last name is most similar, with a preference for the same parent."""
    parent, _, leaf = key.rpartition(".")

    def likeness(other: str) -> tuple[float, float]:
        other_parent, _, other_leaf = other.rpartition(".")
        same = difflib.SequenceMatcher(None, leaf, other_leaf).ratio()
        whole = difflib.SequenceMatcher(None, key, other).ratio()
        return same + 0.2 * (parent == other_parent), whole

    return max(keys, key=likeness, default="")


def _members(value: Any) -> dict[str, Any] | None:
    """Returns the fields of a dataclass or the items of a dict of dataclasses, else None."""
    if field_types.is_config(value):
        return {name: getattr(value, name) for name in field_kinds(type(value))}
    named = isinstance(value, dict) and value and all(map(field_types.is_config, value.values()))
    return dict(value) if named else None


def leaf_keys(config: Any, prefix: str) -> list[str]:
    """Returns the dotted keys of all fields, without those that hold dataclasses."""
    members = _members(config)
    if members is None:
        return [prefix]
    return [key for name, value in members.items() for key in leaf_keys(value, f"{prefix}.{name}")]


def construct(cls: type, key: str, build: Callable[[], Any]) -> Any:
    """Calls `build`; converts an error of `cls.__post_init__` to a UserError with the full key."""
    try:
        return build()
    except FieldError as error:
        raise UserError(f"{key}.{' '.join(str(error).split())}") from error
    except ValueError as error:
        raise UserError(f"{key}: {' '.join(str(error).split())}") from error


def wrong_value(key: str, kind: Any, got: Any) -> UserError:
    """Returns the error for a value that does not fit the annotation of its field."""
    return UserError(f"{key} must be {field_types.describe(kind)}, got {got!r}")


def check(config: Any, key: str) -> Any:
    """Returns the config with each value converted to its field's annotation.

    Raises:
        UserError: A value does not fit.
    """
    changes = {}
    for name, kind in field_kinds(type(config)).items():
        value = getattr(config, name)
        try:
            fitted = field_types.fit(value, kind)
        except ValueError:
            raise wrong_value(f"{key}.{name}", kind, value) from None
        changes[name] = _checked(fitted, f"{key}.{name}")
    return construct(type(config), key, lambda: dataclasses.replace(config, **changes))


def _checked(value: Any, key: str) -> Any:
    if field_types.is_config(value):
        return check(value, key)
    named = _members(value)
    return value if named is None else {k: check(v, f"{key}.{k}") for k, v in named.items()}


def apply(config: Any, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]], key: str) -> Any:
    """Returns the config with fields replaced.

    The classes validate their fields again after all replacements.

    Args:
        config: A dataclass; it stays as it is.
        pairs: Dotted keys and values; of equal keys the last one applies. Text is parsed by the
            field's annotation; any other value is used as it is, if it fits.
        key: Prefix of the full keys in messages, such as `config`.

    Raises:
        UserError: An unknown key, a wrong type or an impossible value.
    """
    texts = dict(pairs)
    for dotted in texts:
        inner = next((k for k in texts if k.startswith(dotted + ".")), None)
        if inner:
            raise UserError(f"{key}.{dotted} and {key}.{inner} cannot be combined: omit one")
    all_keys = functools.partial(leaf_keys, config, key)
    return _apply(config, type(config), texts, key, all_keys)


def _apply(config: Any, kind: Any, texts: dict[str, Any], key: str, all_keys: Callable) -> Any:
    """Replaces fields of a dataclass, or of a dict of dataclasses annotated `kind`."""
    members, named = _members(config) or {}, isinstance(config, dict)
    kinds = (
        dict.fromkeys(members, field_types.item_kind(kind)) if named else field_kinds(type(config))
    )
    inner: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for dotted, text in texts.items():
        name, _, rest = dotted.partition(".")
        full = f"{key}.{name}"
        if name not in members:
            unknown = f"{key}.{dotted}"
            raise UserError(
                f"unknown key {unknown}, nearest is {nearest(unknown, all_keys())}; "
                f"{key} has {', '.join(members) or 'no fields'}"
            )
        value = members[name]
        if rest and _members(value) is None:
            raise UserError(
                f"unknown key {full}.{rest}: {full} has no fields, it holds {value!r}; "
                "to use another class, edit the config file"
            )
        if rest:
            inner.setdefault(name, {})[rest] = text
        else:
            changes[name] = _parse(text, kinds[name], value, full)
    for name, pairs in inner.items():
        changes[name] = _apply(members[name], kinds[name], pairs, f"{key}.{name}", all_keys)
    if named:
        return {**config, **changes}
    return construct(type(config), key, lambda: dataclasses.replace(config, **changes))


def _parse(text: Any, kind: Any, current: Any, key: str) -> Any:
    """Returns the new value of a field, whose value is `current`."""
    fields = _members(current)
    if fields is None or _members(text) is not None:
        return _checked(_fit(text, kind, key), key)
    if kind is not Any:
        with contextlib.suppress(ValueError):
            return _converted(text, kind)
    shown = type(current).__name__ if field_types.is_config(current) else ", ".join(fields)
    keys = ", ".join(f"{key}.{name}" for name in fields)
    others = f", or set its fields ({keys})" if fields else " to use another class"
    raise UserError(f"{key} is {shown} and cannot be {text!r}: edit the config file{others}")


def _fit(value: Any, kind: Any, key: str) -> Any:
    """Converts a value to the annotation; parses text."""
    try:
        return _converted(value, kind)
    except ValueError:
        raise wrong_value(key, kind, value) from None


def _converted(value: Any, kind: Any) -> Any:
    return (field_types.parse if isinstance(value, str) else field_types.fit)(value, kind)
