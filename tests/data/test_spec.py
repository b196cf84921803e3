import json

import pytest

from modelzoo.data.spec import ImageSpec, load


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"^class_names must differ .*'cat' twice"):
        ImageSpec(4, 4, 1, ("cat", "dog", "cat"))


def test_a_spec_survives_json(tmp_path):
    spec = ImageSpec(4, 6, 3, ("a", "b"), "stretch")
    assert load(json.loads(json.dumps(spec.to_dict())), tmp_path) == spec


def test_a_spec_of_before_there_were_kinds_and_targets_is_one_of_images_and_classes(tmp_path):
    spec = ImageSpec(4, 6, 3, ("a", "b"))
    old = {key: value for key, value in spec.to_dict().items() if key not in ("kind", "targets")}
    assert load(old, tmp_path) == spec and spec.targets == "class"


def test_labels_have_room_by_their_targets():
    kinds = {
        targets: ImageSpec(4, 6, 3, ("a", "b"), targets=targets) for targets in ("class", "tags")
    }
    assert kinds["class"].empty_labels(5).shape == (5,)
    assert kinds["tags"].empty_labels(5).shape == (5, 2)
