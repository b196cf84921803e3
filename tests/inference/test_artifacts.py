import pytest

from modelzoo import configs
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


def test_an_export_in_the_folder_of_a_run_does_not_hide_the_run(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/saved_model.pb").touch()
    assert artifacts.is_export(tmp_path)
    (tmp_path / "assets").mkdir()
    for name in ("config.json", "assets/data.json"):
        (tmp_path / name).touch()
    assert not artifacts.is_export(tmp_path) and artifacts.is_export(tmp_path / "1")


@pytest.mark.parametrize("name", ["run/export", "run/new/export", "exported", "new/exported"])
def test_an_export_may_lie_beside_what_a_run_and_other_exports_own(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("run/assets", "exported/1"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("run/config.json", "run/assets/data.json", "exported/1/saved_model.pb"):
        (tmp_path / path).touch()
    artifacts.check_export_dir(name, configs.get("digits_cnn").data)
