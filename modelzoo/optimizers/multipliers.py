"""Factors for variables by regular expressions on their paths: the first that is found counts."""

import re
from collections.abc import Sequence

from modelzoo.fields.checks import check_patterns
from modelzoo.fields.errors import UserError

Multipliers = tuple[tuple[str, float], ...]
"""Pairs of a regular expression and the factor of the variables in whose path it is found."""

ALL_ONE: Multipliers = ((".*", 1.0),)


def check_multipliers(**fields: Multipliers) -> None:
    """Raises ValueError naming the first field whose patterns or factors are not possible."""
    for name, pairs in fields.items():
        check_patterns(**{name: [pattern for pattern, _ in pairs]})
        for pattern, factor in pairs:
            if not factor >= 0:
                raise ValueError(
                    f"{name} must hold factors of at least 0, got {factor!r} for {pattern!r}"
                )


def multipliers(key: str, pairs: Multipliers, paths: Sequence[str]) -> list[float]:
    """The factor of each variable, by its path.

    Raises UserError naming `key` where a variable matches no pattern, and where a pattern counts
    for no variable; one that matches every path may come last for nothing.
    """
    used = set()
    factors = []
    for path in paths:
        number = next((k for k, (p, _) in enumerate(pairs) if re.search(p, path)), None)
        if number is None:
            raise UserError(
                f"{key} has no pattern for the variable {path}: let the last be '.*', such as "
                "'logits=1,.*=0.1'"
            )
        used.add(number)
        factors.append(pairs[number][1])
    for number, (pattern, _) in enumerate(pairs):
        found = [path for path in paths if re.search(pattern, path)]
        if not found:
            some = ", ".join(paths[:1] + paths[-1:])
            raise UserError(f"{key}: {pattern!r} matches no variable; there are such as {some}")
        if number not in used and len(found) < len(paths):
            raise UserError(
                f"{key}: {pattern!r} comes too late, an earlier pattern matches {found[0]}: the "
                "first that matches counts"
            )
    return factors
