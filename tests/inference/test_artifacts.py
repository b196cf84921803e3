import pytest

from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts as stored


def test_the_newest_version_stands_for_a_folder_of_versions(tmp_path):
    for version in ("2", "9", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    assert stored.exported(tmp_path) == tmp_path / "10"
    assert stored.exported(tmp_path / "2") == tmp_path / "2"
    assert stored.is_export(tmp_path)


def test_a_folder_without_a_graph_is_no_export(tmp_path):
    (tmp_path / "1").mkdir()
    assert not stored.is_export(tmp_path)
    with pytest.raises(UserError, match="no exported model in"):
        stored.read_export(tmp_path)


def test_changes_of_the_decoding_are_overrides():
    assert stored.decoding_pairs("beams=5, n_best=2") == [
        ("task.decoding.beams", "5"),
        ("task.decoding.n_best", "2"),
    ]
    for text in ("beams", "beams=", "=5", "beams=5,", "a.b=1"):
        with pytest.raises(UserError, match="--decoding must be like beams=5,length_penalty=1"):
            stored.decoding_pairs(text)


def test_a_model_is_named_in_one_way():
    for workdir, model in ((None, None), ("a", "b")):
        with pytest.raises(UserError, match="give either --workdir"):
            stored.find_model(workdir, model)
    with pytest.raises(UserError, match="--model=digits_resnet"):
        stored.find_model("digits_resnet", None)
