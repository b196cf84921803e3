import pytest

from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts


def test_the_newest_version_of_a_folder_of_versions_is_chosen(tmp_path):
    for version in ("2", "9", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    assert artifacts.find_graph(tmp_path) == tmp_path / "10"
    assert artifacts.find_graph(tmp_path / "2") == tmp_path / "2"
    assert artifacts.is_export(tmp_path)


def test_a_folder_without_a_graph_is_no_export(tmp_path):
    (tmp_path / "1").mkdir()
    assert not artifacts.is_export(tmp_path)
    with pytest.raises(UserError, match="no exported model in"):
        artifacts.read_export(tmp_path)


def test_a_model_is_named_in_one_way():
    for workdir, model in ((None, None), ("a", "b")):
        with pytest.raises(UserError, match="give either --workdir"):
            artifacts.find_model(workdir, model)
    with pytest.raises(UserError, match="--model=digits_resnet"):
        artifacts.find_model("digits_resnet", None)
