import subprocess
import sys

import pytest
from named_inputs import image, pair, text

from modelzoo.fields.input_specs import (
    ArraySpec,
    MaskSpec,
    TokenSpec,
    describe,
    only_array,
    only_tokens,
    source_and_target,
    take,
)


def test_specs_know_their_kind_shape_and_dtype():
    specs = (ArraySpec("series", (None, 3)), TokenSpec(9, "mask"), MaskSpec())
    assert [(s.kind, s.shape, s.dtype) for s in specs] == [
        ("series", (None, 3), "float32"),
        ("tokens", (None,), "int32"),
        ("mask", (None,), "bool"),
    ]


def test_inputs_are_selected_by_kind_whatever_their_names():
    inputs = image(8, 8, 1)
    assert only_array(inputs, "image") == ("image", inputs["image"])
    assert only_array(inputs, "series", "image") == ("image", inputs["image"])
    inputs = {"mask": MaskSpec(), "review/tokens": TokenSpec(9, "mask")}
    assert only_tokens(inputs) == ("review/tokens", inputs["review/tokens"])
    inputs = dict(reversed(pair(9, 7).items()))
    names = [name for name, _ in source_and_target(inputs)]
    assert names == ["tokens", "decoder/tokens"]


@pytest.mark.parametrize("inputs", [{}, image(8, 8, 1) | text(9), text(9) | pair(9), pair(9)])
def test_inputs_that_do_not_fit_are_described(inputs):
    for select, kinds in ((only_array, ["image"]), (only_tokens, [])):
        with pytest.raises(ValueError) as error:
            select(inputs, *kinds)
        assert str(error.value).startswith("inputs must be one of kind ")
        assert f", got {describe(inputs)}: choose another model" in str(error.value)
    if len(inputs) != 4:
        with pytest.raises(ValueError, match="^inputs must be tokens for an encoder, "):
            source_and_target(inputs)


def test_tokens_need_a_mask_and_two_of_them_two_roles():
    for inputs in ({"t": TokenSpec(9, "mask")}, {"t": TokenSpec(9, "u"), "u": ArraySpec("a", ())}):
        with pytest.raises(
            ValueError, match="^inputs must be one of kind tokens and its mask, got"
        ):
            only_tokens(inputs)
    two = {"a": TokenSpec(9, "m"), "b": TokenSpec(9, "m"), "m": MaskSpec()}
    with pytest.raises(ValueError, match="^inputs must be tokens for an encoder"):
        source_and_target(two)


def test_take_wants_exactly_these_names():
    assert take({"a": 1, "b": 2}, "b", "a") == [2, 1]
    for tensors, got in (({"a": 1}, r"\['a'\]"), ({"a": 1, "b": 2, "c": 3}, ".*'c'"), (1, "int")):
        with pytest.raises(ValueError, match=rf"^inputs must be a dict of \['a', 'b'\], got {got}"):
            take(tensors, "a", "b")


def test_specs_and_public_names_of_models_need_no_tensorflow():
    code = (
        "import sys, modelzoo.fields.input_specs, modelzoo.models as m; print(*m.__all__); "
        "assert set(m.__all__) <= set(dir(m)); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = "CNN Encoder LSTM LSTMSeq2Seq RecurrentCNN ResNet Transformer"
    assert done.stdout.split() == expected.split()
