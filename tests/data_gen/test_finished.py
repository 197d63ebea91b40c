"""Finished identities survive the process, and nothing that is damaged is taken for one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_gen import finished


def frames(n=3):
    return [
        (
            f"000007_{i:02d}_0",
            {
                "image": bytes([255, 216, i, 0, 0]) + b"\0" * i,  # ends with zeros, of another length each
                "heatmap": b"" if i == 1 else b"png",
                "aus": np.arange(6, dtype=np.float32) + i,
                "pspi": np.float32(i) / 3,
                "landmarks_visible": np.array([True, i == 1]),
                "identity": {"id": 7, "age_group": 2},
                "view": {"id": i, "yaw": -35.125},
                "seed": 2**64 - 1 - i,
                "generator_version": "2.0.0",
            },
        )
        for i in range(n)
    ]


def test_what_is_loaded_is_what_was_saved(tmp_path):
    finished.save(tmp_path, 7, frames())
    loaded = finished.load(tmp_path, 7)
    assert [key for key, _ in loaded] == [key for key, _ in frames()]
    for (_, got), (_, expected) in zip(loaded, frames(), strict=True):
        np.testing.assert_equal(got, expected)
        assert got["image"] == expected["image"] and isinstance(got["image"], bytes)
        assert got["aus"].dtype == np.float32 and got["pspi"].dtype == np.float32
        assert int(got["seed"]) == expected["seed"]
        assert isinstance(got["generator_version"], str)
    assert [p.name for p in tmp_path.iterdir()] == ["00000007.npz"]


def test_an_identity_that_is_not_there(tmp_path):
    assert finished.load(tmp_path / "nowhere", 0) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_a_damaged_file_is_none_and_said_to_be(tmp_path, caplog, damage):
    finished.save(tmp_path, 7, frames())
    path = tmp_path / "00000007.npz"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    assert finished.load(tmp_path, 7) is None
    assert str(path) in caplog.text and "made again" in caplog.text


def test_whatever_bytes_are_wrong_the_identity_is_made_again_or_whole(tmp_path):
    finished.save(tmp_path, 7, frames())
    path, rng = tmp_path / "00000007.npz", np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(400):
        broken = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        loaded = finished.load(tmp_path, 7)
        assert loaded is None or len(loaded) == 3


def test_a_file_that_may_not_be_read_is_no_damage(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no")

    finished.save(tmp_path, 7, frames())
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        finished.load(tmp_path, 7)


def test_what_is_kept_is_counted_and_removed(tmp_path):
    where = finished.folder(tmp_path, {"size": 64})
    finished.save(where, 7, frames())
    (tmp_path / "2.0.0").mkdir()
    assert finished.kept_bytes(tmp_path) == (where / "00000007.npz").stat().st_size > 0
    finished.remove_all(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2.0.0"]


def test_some_are_counted_and_removed_and_those_of_others_stay(tmp_path):
    where = finished.folder(tmp_path, {"size": 64})
    assert finished.kept_bytes_of(where, [7]) == 0
    for identity in (7, 8):
        finished.save(where, identity, frames())
    assert finished.kept_bytes_of(where, [7, 9]) == (where / "00000007.npz").stat().st_size
    finished.remove(where, [7, 9])
    assert [path.name for path in where.iterdir()] == ["00000008.npz"]
    finished.remove(where, [8])
    finished.remove(where, [8])
    assert not where.exists()


def test_no_pickle_is_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    np.savez(tmp_path / "00000007.npz", key=np.array([Evil()], object))
    assert finished.load(tmp_path, 7) is None
    assert not (tmp_path / "executed").exists()


def test_other_settings_other_folder(tmp_path):
    first = finished.folder(tmp_path, {"size": 64, "version": "2.0.0"})
    assert first == finished.folder(tmp_path, {"version": "2.0.0", "size": 64})
    assert first != finished.folder(tmp_path, {"version": "2.0.1", "size": 64})


def test_a_process_killed_while_saving_leaves_whole_files_only(tmp_path):
    code = (
        "import itertools, pathlib, sys, numpy as np; from data_gen import finished\n"
        "for i in itertools.count(): finished.save(pathlib.Path(sys.argv[1]), i, [('k', {'image': bytes(10**6)})])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("[0-9]*.npz"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(tmp_path.glob("[0-9]*.npz")))
    assert kept >= 5
    assert all(finished.load(tmp_path, i)[0][1]["image"] == bytes(10**6) for i in range(kept))
