"""JSON that every parser reads."""

import json

import pytest

from modelzoo.fields.json_text import to_json


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_null(number):
    value = {"a": number, "b": [1.5, (number, {"c": number})], "d": "NaN", "e": True}
    expected = {"a": None, "b": [1.5, [None, {"c": None}]], "d": "NaN", "e": True}
    assert strict(to_json(value)) == strict(to_json(value, indent=2)) == expected


def test_other_values_are_as_json_writes_them():
    value = {"ä": [1, 0.1, None, "x"]}
    assert to_json(value, ensure_ascii=False) == json.dumps(value, ensure_ascii=False)
