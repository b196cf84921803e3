"""Factors of variables, chosen by regular expressions on their paths; the first match applies."""

import re
from collections.abc import Sequence

from modelzoo.fields.checks import check_patterns
from modelzoo.fields.errors import FieldError, UserError

Multipliers = tuple[tuple[str, float], ...]
"""Pairs of a regular expression and the factor of the variables whose path matches it."""

ALL_ONE: Multipliers = ((".*", 1.0),)


def check_multipliers(**fields: Multipliers) -> None:
    """Requires each field to hold regular expressions with factors of at least 0."""
    for name, pairs in fields.items():
        check_patterns(**{name: [pattern for pattern, _ in pairs]})
        for pattern, factor in pairs:
            if not factor >= 0:
                raise FieldError(
                    name, f"must hold factors of at least 0, got {factor!r} for {pattern!r}"
                )


def multipliers(key: str, pairs: Multipliers, paths: Sequence[str]) -> list[float]:
    """Returns the factor of each variable, by its path.

    A last pattern that matches every path may be unused.

    Args:
        key: Full key of the field, for messages.
        pairs: Patterns and factors.
        paths: Paths of the variables.

    Raises:
        UserError: A variable matches no pattern, or a pattern applies to no variable.
    """
    used = set()
    factors = []
    for path in paths:
        number = next((k for k, (p, _) in enumerate(pairs) if re.search(p, path)), None)
        if number is None:
            raise UserError(
                f"{key} has no pattern for the variable {path}: end with '.*', such as "
                "'logits=1,.*=0.1'"
            )
        used.add(number)
        factors.append(pairs[number][1])
    for number, (pattern, _) in enumerate(pairs):
        matches = [path for path in paths if re.search(pattern, path)]
        if not matches:
            some = ", ".join([*paths[:1], *paths[-1:]])
            raise UserError(f"{key}: {pattern!r} matches no variable; some paths are {some}")
        if number not in used and len(matches) < len(paths):
            raise UserError(
                f"{key}: {pattern!r} has no effect, an earlier pattern matches {matches[0]}: put "
                "the more specific pattern first"
            )
    return factors
