import json

import pytest

from modelzoo.data.spec import ImageSpec


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"^class_names must differ .*'cat' twice"):
        ImageSpec(4, 4, 1, ("cat", "dog", "cat"))


def test_a_spec_survives_json():
    spec = ImageSpec(4, 6, 3, ("a", "b"), "stretch")
    assert ImageSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_spec_of_before_there_were_targets_is_one_of_classes():
    spec = ImageSpec(4, 6, 3, ("a", "b"))
    old = {key: value for key, value in spec.to_dict().items() if key != "targets"}
    assert ImageSpec.from_dict(old) == spec and spec.targets == "class"


def test_labels_have_room_by_their_targets():
    kinds = {
        targets: ImageSpec(4, 6, 3, ("a", "b"), targets=targets) for targets in ("class", "tags")
    }
    assert kinds["class"].empty_labels(5).shape == (5,)
    assert kinds["tags"].empty_labels(5).shape == (5, 2)
