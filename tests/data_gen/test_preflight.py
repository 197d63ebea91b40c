"""A build that could not end does not begin."""

import collections

import pytest

from data_gen import preflight

Usage = collections.namedtuple("Usage", "total used free")


def test_a_folder_that_is_not_there_yet(tmp_path):
    preflight.check_output(tmp_path / "not" / "there" / "yet", frames=33, image_size=64)
    assert not list(tmp_path.iterdir())


def test_too_little_room_names_estimate_and_free_space(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(0, 0, 2_000_000_000))
    with pytest.raises(
        OSError, match=r"82,500 frames of 512 pixels.* about 65\.\d GB more at its height, and 2\.0 GB are free"
    ) as refused:
        preflight.check_output(tmp_path, frames=82_500, image_size=512)
    assert str(tmp_path) in str(refused.value)
    preflight.check_output(tmp_path, frames=2_000, image_size=224)
    with pytest.raises(OSError, match=r"about 21\.3 MB more at its height, and 1\.5 MB are free"):
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(0, 0, 1_500_000))
        preflight.check_output(tmp_path, frames=1_000, image_size=64)


def test_what_an_earlier_build_left_needs_no_room_again(tmp_path, monkeypatch):
    needed = preflight.needed_bytes(100, 64)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(0, 0, needed - 1000))
    with pytest.raises(OSError, match="Too little room"):
        preflight.check_output(tmp_path, 100, 64)
    preflight.check_output(tmp_path, 100, 64, present=1000)


def test_a_place_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PermissionError, match="cannot be written.*--data_dir"):
        preflight.check_output(file / "data", frames=1, image_size=64)
