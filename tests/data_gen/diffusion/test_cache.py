"""What is kept is what was painted; what is damaged, of another head or of other settings is not taken for it."""

import concurrent.futures
import dataclasses

import numpy as np
import pytest

from data_gen import array_file, scene
from data_gen.diffusion import cache, cache_command, prompts
from data_gen.diffusion.config import DiffusionConfig, SideViewConfig
from data_gen.diffusion.sitting import Sitting

CONFIG = DiffusionConfig("org/model", "org/depth", revision="a", controlnet_revision="b")
MARKS = np.arange(204, dtype=np.float32).reshape(68, 3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path))
    return tmp_path / "portraits"


def shaping(config=CONFIG, index=7, face_model="procedural", **changes):
    person = dataclasses.replace(scene.identity(0, index), **changes)
    return cache.record(person, face_model, prompts.compose(person, config), config)


def entry(painted=True, tries=1):
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((64, 64)) < 0.5, rng.uniform(400, 1200, (64, 64)), np.inf).astype(np.float32)
    sitting = Sitting(depth, rng.random((64, 64)) < 0.5, rng.uniform(0, 64, (68, 2)).astype(np.float32))
    portrait = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) if painted else None
    faults = ["blank"] * (tries - painted)
    told = {"painted": painted, "tries": tries, "faults": faults, "seed": 2**63 - 1, "about": {"device": "cpu"}}
    return cache.Entry(portrait, sitting, MARKS, told)


def test_what_is_loaded_is_what_was_saved(folder):
    cache.save(shaping(), entry())
    got = cache.load(shaping(), MARKS + 0.05)  # another machine rounds otherwise
    np.testing.assert_array_equal(got.portrait, entry().portrait)
    np.testing.assert_array_equal(got.sitting.skin, entry().sitting.skin)
    np.testing.assert_array_equal(got.sitting.landmarks, entry().sitting.landmarks)
    seen = np.isfinite(entry().sitting.depth)
    np.testing.assert_array_equal(np.isfinite(got.sitting.depth), seen)
    np.testing.assert_allclose(got.sitting.depth[seen], entry().sitting.depth[seen], atol=0.5 / cache.DEPTH_STEPS)
    assert got.record["seed"] == 2**63 - 1 and got.record["settings"]["model"] == "org/model"
    assert [path.name for path in folder.iterdir()] == [cache.path(shaping()).name]


def test_an_identity_that_was_given_up(folder):
    cache.save(shaping(), entry(painted=False, tries=4))
    got = cache.load(shaping(), MARKS)
    assert got.portrait is None and got.record["faults"] == ["blank"] * 4


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "org/other"}, {"revision": "c"}, {"controlnet": "org/normal"}, {"controlnet_revision": "c"},
        {"variant": "fp16"}, {"size": 1024}, {"scheduler": "DDIMScheduler"}, {"steps": 31}, {"guidance": 6.5},
        {"control": 0.9}, {"style": "painting"}, {"avoid": "beard"}, {"tries": 5}, {"check": "none"},
        {"precision": "bfloat16"},
    ],
)  # fmt: skip
def test_whatever_shapes_a_portrait_is_in_its_key(changed):
    assert cache.path(shaping(dataclasses.replace(CONFIG, **changed))) != cache.path(shaping())


def test_identity_model_and_versions_are_in_the_key_and_the_batch_is_not(monkeypatch):
    keys = [cache.key(shaping(**c)) for c in ({}, {"index": 8}, {"seed": 1}, {"age": 20.0}, {"face_model": "ict"})]
    monkeypatch.setattr(cache, "PORTRAIT_VERSION", 99)
    keys.append(cache.key(shaping()))
    monkeypatch.setattr(cache, "GENERATOR_VERSION", "99")
    keys.append(cache.key(shaping()))
    assert len(set(keys)) == len(keys)
    assert cache.key(shaping(dataclasses.replace(CONFIG, batch=1))) == keys[-1]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_a_damaged_file_is_none_and_said_to_be(damage, caplog):
    cache.save(shaping(), entry())
    path = cache.path(shaping())
    path.write_bytes(path.read_bytes()[:-300] if damage is None else damage)
    assert cache.load(shaping(), MARKS) is None
    assert str(path) in caplog.text and "painted again" in caplog.text


def test_whatever_bytes_are_wrong_nothing_else_is_taken_for_a_portrait():
    cache.save(shaping(), entry())
    path, rng = cache.path(shaping()), np.random.default_rng(0)
    whole, picture = path.read_bytes(), entry().portrait
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        got = cache.load(shaping(), MARKS)
        assert got is None or np.array_equal(got.portrait, picture)


def test_a_file_under_anothers_name_and_a_portrait_of_another_head(caplog):
    cache.save(shaping(), entry())
    cache.path(shaping()).rename(cache.path(shaping(index=8)))
    assert cache.load(shaping(index=8), MARKS) is None and "another name" in caplog.text
    cache.save(shaping(), entry())
    assert cache.load(shaping(), MARKS + 1) is None and "another head" in caplog.text


def test_list_verify_and_prune(folder, capsys, monkeypatch):
    cache.save(shaping(), entry(tries=2))
    cache.save(shaping(index=8), entry(painted=False, tries=4))
    cache_command.main(["verify"])
    assert "2 files of portraits and backdrops, all whole" in capsys.readouterr().out
    cache_command.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert "painted at try 2" in lines[0] and "procedural after 4 tries" in lines[1]
    assert "1 painted, 1 procedural; pictures refused: blank 5" in lines[2]

    cache.path(shaping(index=9)).write_bytes(b"PK")
    (folder / ".00000009-abc.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"00000009-.*is damaged.*`painjax cache prune`"):
        cache_command.main(["verify"])
    monkeypatch.setattr(cache_command, "ABANDONED_S", -1.0)
    monkeypatch.setattr(cache, "PORTRAIT_VERSION", 99)
    cache.save(shaping(index=10), entry())
    cache_command.main(["prune"])
    assert "4 files removed, 1 of portraits and backdrops kept" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == [cache.path(shaping(index=10)).name]


@pytest.mark.parametrize("field", [*cache.TOLD, *cache.SHAPING[1:]])
def test_a_file_that_says_less_is_told_apart(folder, capsys, field):
    """One such file does not keep `list` from the others, and `prune` removes it."""
    told = {name: value for name, value in entry().record.items() if name != field}
    shaped = {name: value for name, value in shaping().items() if name != field}
    cache.save(shaped, dataclasses.replace(entry(), record=told))
    cache.save(shaping(index=8), entry())
    cache_command.main(["list"])
    said = capsys.readouterr().out
    assert "1 painted, 0 procedural" in said
    if field in cache.versions():
        assert f"of another version ({field} None, now" in said
        cache_command.main(["verify"])
    else:
        assert f"damaged (ValueError: it does not say {field})" in said
        with pytest.raises(ValueError, match="00000007-.*is damaged"):
            cache_command.main(["verify"])
    cache_command.main(["prune"])
    assert [path.name for path in folder.iterdir()] == [cache.path(shaping(index=8)).name]


def test_files_of_another_version_are_said_to_be(folder, capsys, monkeypatch):
    """By every command, whether they say as much as those of today or not: they are neither damaged nor of use."""
    with monkeypatch.context() as before:
        before.setattr(cache, "PORTRAIT_VERSION", 2)
        cache.save(shaping(), entry(tries=2))
        before.setattr(cache, "GENERATOR_VERSION", "1.0.0")
        told = {"painted": True, "seed": 3}  # the file of a version that said less, and under other names
        cache.save({"identity": {"id": 8}, "generator_version": "1.0.0"}, dataclasses.replace(entry(), record=told))
    cache.save(shaping(index=9), entry())
    old = f"of another version (portrait_version 2, now {cache.PORTRAIT_VERSION})"
    older = f"(generator_version 1.0.0, now {cache.GENERATOR_VERSION}; portrait_version None, now"

    cache_command.main(["verify"])
    first, second, total = capsys.readouterr().out.splitlines()
    assert f"{cache.folder()}/00000007-" in first and f" is {old}: nothing uses it" in first
    assert "/00000008-" in second and older in second
    assert "1 files of portraits and backdrops, all whole; 2 of another version, which `painjax cache prune`" in total
    cache_command.main(["list"])
    first, second, third, total = capsys.readouterr().out.splitlines()
    assert old in first and older in second and "painted at try 1" in third
    assert "1 painted, 0 procedural; pictures refused: none" in total  # what was refused then says nothing of now

    (folder / "00000010-abc.npz").write_bytes(b"PK")  # a damaged one beside them
    with pytest.raises(ValueError) as raised:
        cache_command.main(["verify"])
    assert "00000010-abc.npz is damaged" in str(raised.value) and "00000007" not in str(raised.value)
    cache_command.main(["prune"])
    assert "3 files removed, 1 of portraits and backdrops kept" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == [cache.path(shaping(index=9)).name]


def test_a_file_of_another_version_under_the_name_of_today_is_painted_again(caplog, monkeypatch):
    """As one that was copied or renamed by hand."""
    with monkeypatch.context() as before:
        before.setattr(cache, "PORTRAIT_VERSION", 2)
        cache.save(shaping(), entry())
        old = cache.path(shaping())
    old.rename(cache.path(shaping()))
    assert cache.load(shaping(), MARKS) is None
    assert "is of another version (portrait_version 2" in caplog.text and "painted again" in caplog.text


def test_a_portrait_with_side_views_is_counted_once(capsys):
    """Beside the file without side views lies one with them, which repeats what became of the portrait."""
    beside = dataclasses.replace(CONFIG, side_views=SideViewConfig())
    cache.save(shaping(), entry(tries=2))
    cache.save(shaping(index=8), entry(painted=False, tries=4))
    cache.save(shaping(beside, index=8), entry(painted=False, tries=4))
    done = entry(tries=2)
    done.record["faults"].append("side view 50: face is lost")
    cache.save(shaping(beside), done)
    cache_command.main(["list"])
    *lines, total = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "1 painted, 1 procedural; pictures refused: blank 5, side view 50: face is lost 1" in total


def test_the_command_line_says_damage_in_one_paragraph(folder, capsys):
    from painjax.__main__ import main

    assert main(["cache", "verify"]) == 0
    cache.save(shaping(), entry())
    cache.path(shaping()).write_bytes(b"PK")
    assert main(["cache", "verify"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "is damaged" in printed and "painjax cache prune" in printed


def test_writers_and_readers_of_one_portrait_never_meet_half_of_it(folder):
    def write_and_read(_):
        cache.save(shaping(), entry())
        return cache.load(shaping(), MARKS)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(write_and_read, range(64)))
    assert all(np.array_equal(one.portrait, entry().portrait) for one in got)
    assert len(list(folder.iterdir())) == 1


def test_a_writer_at_work_is_left_alone(folder):
    folder.mkdir()
    (folder / ".00000009-abc.npz").write_bytes(b"half")
    cache_command.main(["prune"])
    assert len(list(folder.iterdir())) == 1


def test_nothing_there_yet(capsys):
    for command in ("list", "verify", "prune"):
        cache_command.main([command])
    assert "0 painted" in capsys.readouterr().out


def test_no_pickle_is_read(folder):
    folder.mkdir()
    np.savez(cache.path(shaping()), record=np.array([object()], object))
    with pytest.raises(array_file.Damaged):
        cache.read(cache.path(shaping()))
