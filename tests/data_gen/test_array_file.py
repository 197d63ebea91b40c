"""Stored arrays: one kind of error for any damage, and never half a file."""

from pathlib import Path

import numpy as np
import pytest

from data_gen import array_file

ARRAYS = {"v": np.arange(60.0).reshape(20, 3), "f": np.arange(12, dtype=np.int32), "names": np.array(["a", "bc"])}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damage_escapes_as_another_error(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    whole, rng, damaged = path.read_bytes(), np.random.default_rng(0), 0
    copies = [whole[: rng.integers(len(whole))] for _ in range(100)]
    for _ in range(600):
        broken = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(whole), rng.integers(1, 4))
        broken[places] = rng.integers(0, 256, len(places))
        copies.append(broken.tobytes())
    for copy in copies:
        path.write_bytes(copy)
        try:
            array_file.read(path)
        except array_file.Damaged:
            damaged += 1
    assert damaged > 300
    path.write_bytes(whole)
    for name, array in array_file.read(path).items():
        np.testing.assert_array_equal(array, ARRAYS[name])


@pytest.mark.parametrize("method", range(1, 100))
def test_every_way_to_compress_is_read_or_named(tmp_path, method):
    """As if one byte of the directory were flipped: methods that zipfile knows, and those that it does not."""
    path = tmp_path / "a.npz"
    np.savez(path, v=np.arange(60.0))
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = method
    path.write_bytes(data)
    with pytest.raises(array_file.Damaged):
        array_file.read(path)


def test_a_missing_file_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        array_file.read(tmp_path / "a.npz")


def test_what_is_not_wanted_stays_unread(tmp_path):
    np.savez(tmp_path / "a.npz", v=np.arange(3), thing=np.array([{}], object))
    assert array_file.read(tmp_path / "a.npz", ("v",))["thing"] is None
    with pytest.raises(array_file.Damaged, match="Object arrays"):
        array_file.read(tmp_path / "a.npz")


def test_an_interrupted_writer_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "kind-1.npz"
    array_file.write(path, ARRAYS)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **arrays: (file.write(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        array_file.write(path, ARRAYS)
    assert [p.name for p in path.parent.iterdir()] == [path.name] and path.read_bytes() == before


def test_a_full_disk_is_told_with_the_file_that_it_has_no_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "savez", lambda *_, **__: Path("/dev/full").write_bytes(b"half"))
    with pytest.raises(OSError, match="No space left") as full:
        array_file.write(tmp_path / "a.npz", ARRAYS)
    assert full.value.filename == str(tmp_path / "a.npz") and not list(tmp_path.iterdir())


def test_a_copy_is_the_file_and_what_is_the_same_is_left_alone(tmp_path):
    array_file.write(tmp_path / "a.npz", ARRAYS)
    content, copy = (tmp_path / "a.npz").read_bytes(), tmp_path / "cache" / "b.npz"
    array_file.copy(copy, content)
    assert copy.read_bytes() == content and [path.name for path in copy.parent.iterdir()] == ["b.npz"]
    before = copy.stat()
    array_file.copy(copy, content)
    assert copy.stat() == before
    array_file.copy(copy, b"another")
    assert copy.read_bytes() == b"another"
