"""Files are whole under their name, whatever happens while they are written."""

import os

import pytest

from orbitlite.files import beside, put, remove, replacing


@pytest.mark.parametrize("folder", [False, True])
def test_the_old_one_stays_until_the_new_one_is_whole(tmp_path, folder):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        assert partial.parent == tmp_path
        assert partial.name.startswith(".a.txt.partial")
        if folder:
            partial.mkdir()
            (partial / "inside").write_text("new")
        else:
            partial.write_text("new")
        assert path.read_text() == "old"
    assert (path / "inside" if folder else path).read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(NotADirectoryError), replacing(path) as partial:
        partial.write_text((partial / "nothing").read_text() if partial.write_text("half") else "")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_kill_has_left_is_no_hindrance(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as partial:
        partial.mkdir()
        (partial / "of before").touch()
        os.replace(partial, tmp_path / "kept")
        partial.write_text("new")
    (tmp_path / "kept").replace(partial)  # as a kill would leave it
    beside(path, "old").mkdir()
    with replacing(path) as partial:
        partial.mkdir()
    assert path.is_dir()
    assert not list(path.iterdir())
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_makes_way_and_is_gone(tmp_path):
    for name, text in (("a", "old"), ("b", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(text)
    put(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a" / "text").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("folder", [False, True])
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, folder):
    """Each file and folder is flushed before the rename, and the folder of the name after it."""
    told, replace = [], os.replace

    def fsync(handle):
        told.append(os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), tmp_path))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: told.append("rename") or replace(*paths))
    with replacing(tmp_path / "a") as partial:
        if folder:
            (partial / "sub").mkdir(parents=True)
            (partial / "sub" / "file").touch()
        else:
            partial.touch()
        name = partial.name
    inside = {name, f"{name}/sub", f"{name}/sub/file"} if folder else {name}
    place = told.index("rename")
    assert set(told[:place]) == inside
    assert told[place + 1 :] == ["."]


def test_remove_spares_what_a_link_points_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    remove(tmp_path / "nothing")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
