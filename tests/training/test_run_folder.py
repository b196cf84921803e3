import pytest

from modelzoo.fields.errors import UserError
from modelzoo.training import run_folder


def test_a_folder_that_stays_empty_is_taken_away(tmp_path):
    with pytest.raises(UserError), run_folder.ensure_workdir(tmp_path / "a" / "b"):
        raise UserError("nothing was done")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError), run_folder.ensure_workdir(tmp_path / "a" / "b") as folder:
        (folder / "file").touch()
        raise UserError("something was done")
    assert (tmp_path / "a" / "b" / "file").exists()


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError), run_folder.ensure_workdir(tmp_path / "empty" / "run"):
        raise UserError("nothing was done")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    with pytest.raises(UserError), run_folder.ensure_workdir(tmp_path / "empty"):
        raise UserError("nothing was done")
    assert (tmp_path / "empty").exists()
