import json

import pytest

from modelzoo.data.spec import ImageSpec


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"^class_names must differ .*'cat' twice"):
        ImageSpec(4, 4, 1, ("cat", "dog", "cat"))


def test_a_spec_survives_json():
    spec = ImageSpec(4, 6, 3, ("a", "b"), "stretch")
    assert ImageSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
