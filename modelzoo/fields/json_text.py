"""JSON as the standard defines it, without NaN and infinity."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, **options: Any) -> str:
    """Returns a value as JSON, with null for numbers that are not finite.

    `options` are those of `json.dumps`.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_with_null(value), allow_nan=False, **options)


def _with_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
