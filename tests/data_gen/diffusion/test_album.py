"""Albums are whole or not there, and hold the frames of whoever added some."""

import concurrent.futures
import dataclasses
import logging
import multiprocessing

import numpy as np
import pytest

from data_gen import array_file, plan, scene
from data_gen.diffusion import album, cache, cache_command
from data_gen.diffusion.album import Album, Backdrop
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig

CONFIG = DiffusionConfig(
    "org/model", "org/depth", revision="a", controlnet_revision="b", size=512, backdrop=InpaintConfig(size=512)
)
PERSON = scene.identity(0, 6)
MARKS = np.arange(204, dtype=np.float32).reshape(68, 3)
PAINTED, REFUSED = Backdrop(b"\xff\xd8\0picture\0", 2**62, ("blank",)), Backdrop(None, 7, ("not finite",) * 3)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path))


def shaping(config=CONFIG, pixels=224, texels=1024):
    return album.shaping(PERSON, "procedural", pixels, texels, config)


def test_what_is_kept_comes_back():
    assert not album.load(shaping(), MARKS).frames
    Album(shaping(), MARKS, {"a": PAINTED, "b": REFUSED}, {"device": "cpu"}).save()
    got = album.load(shaping(), MARKS)
    assert got.frames == {"a": PAINTED, "b": REFUSED} and got.about == {"device": "cpu"}
    assert (PAINTED.tries, REFUSED.tries) == (2, 3)
    assert [path.name for path in album.files()] == [album.path(shaping()).name]
    assert not list(cache.entries())


def test_frames_that_two_processes_painted_are_joined():
    one, other = album.load(shaping(), MARKS), album.load(shaping(), MARKS)
    one.frames["a"], other.frames["b"] = PAINTED, REFUSED
    one.save()
    other.save()
    assert set(album.load(shaping(), MARKS).frames) == {"a", "b"}


FRAMES = 40


def save_many(who):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: Album(shaping(), MARKS, {f"{who}{i}": PAINTED}).save(), range(FRAMES)))


def test_no_frame_is_lost_whoever_saves_at_the_same_moment():
    """In two processes and in threads of each."""
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(save_many, "xy"))
    assert set(album.load(shaping(), MARKS).frames) == {f"{who}{i}" for who in "xy" for i in range(FRAMES)}
    assert not cache.leftovers(album.folder())


def test_without_locks_an_album_is_kept_and_a_warning_says_so(monkeypatch, caplog):
    def refused(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(album.fcntl, "flock", refused)
    Album(shaping(), MARKS, {"a": PAINTED}).save()
    assert album.load(shaping(), MARKS).frames == {"a": PAINTED} and "Function not implemented" in caplog.text


def test_an_album_of_another_machine_is_joined_to_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "there"))
    Album(shaping(), MARKS, {"b": REFUSED}, {"device": "gpu"}).save()
    there = album.path(shaping())
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "here"))
    album.keep(there.name, there.read_bytes())
    assert album.path(shaping()).read_bytes() == there.read_bytes()
    Album(shaping(), MARKS, {"a": PAINTED}).save()
    album.keep(there.name, there.read_bytes())
    assert album.load(shaping(), MARKS).frames == {"a": PAINTED, "b": REFUSED}
    with pytest.raises(array_file.Damaged):
        album.keep(there.name, there.read_bytes()[:-40])
    monkeypatch.setattr(album, "BACKDROP_VERSION", 0)
    with pytest.raises(cache.OtherVersion, match="backdrop_version 1, now 0"):
        album.keep("00000006-another.npz", there.read_bytes())


def test_whatever_shapes_a_backdrop_is_in_its_name():
    def changed(**changes):
        return dataclasses.replace(CONFIG, backdrop=dataclasses.replace(CONFIG.backdrop, **changes))

    others = [
        shaping(dataclasses.replace(CONFIG, revision="c")), shaping(changed(steps=9)), shaping(changed(strength=0.5)),
        shaping(changed(style="drawing")), shaping(changed(model="org/other", revision="d")), shaping(pixels=112),
        shaping(texels=512),
    ]  # fmt: skip
    assert len({cache.key(each) for each in [shaping(), *others]}) == 1 + len(others)
    same = dataclasses.replace(changed(batch=1), batch=1)
    assert cache.key(shaping(same)) == cache.key(shaping())


def test_a_new_version_of_portraits_is_one_of_backdrops_too(monkeypatch, capsys):
    """Faces wear them."""
    Album(shaping(), MARKS, {"a": PAINTED}).save()
    monkeypatch.setattr(cache, "PORTRAIT_VERSION", 99)
    assert not album.load(shaping(), MARKS).frames
    cache_command.main(["prune"])
    assert "1 files removed, 0 of" in capsys.readouterr().out and not list(album.files())


def test_files_that_go_while_a_command_looks_are_passed_over(monkeypatch, tmp_path, capsys):
    gone = tmp_path / "00000001-gone.npz"
    monkeypatch.setattr(album, "files", lambda: iter([gone]))
    monkeypatch.setattr(cache, "entries", lambda *where: iter([gone]))
    monkeypatch.setattr(cache, "leftovers", lambda *where: [gone])
    for command in ("list", "verify", "prune"):
        cache_command.main([command])
    assert "0 files removed, 0 of" in capsys.readouterr().out


def test_a_portrait_does_not_ask_what_its_backdrops_are():
    prompt = cache.Prompt("a", "b")
    plain = dataclasses.replace(CONFIG, backdrop=None)
    assert cache.record(PERSON, "ict", prompt, plain) == cache.record(PERSON, "ict", prompt, CONFIG)


def test_a_scene_is_called_by_all_of_it():
    first, second, *_ = plan.scenes(0, 6)
    lit = dataclasses.replace(first, light=dataclasses.replace(first.light, key=first.light.key + 1e-9))
    assert len({album.name(s) for s in (first, second, lit)}) == 3
    assert album.name(plan.scene(first.seed)) == album.name(first)


@pytest.mark.parametrize("damage", ["cut", "renamed", "other head"])
def test_damage_is_said_and_painted_again(damage, caplog):
    Album(shaping(), MARKS, {"a": PAINTED}).save()
    path = album.path(shaping())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "renamed":
        path.rename(album.path(shaping(pixels=64)))
        with pytest.raises(array_file.Damaged, match="another name"):
            album.read(album.path(shaping(pixels=64)))
        return
    with caplog.at_level(logging.WARNING):
        assert not album.load(shaping(), MARKS + (damage == "other head")).frames
    assert "is painted again" in caplog.text


def test_the_commands_look_after_albums_too(capsys, monkeypatch):
    Album(shaping(), MARKS, {"a": PAINTED, "b": REFUSED}, {"model": "org/model"}).save()
    cache_command.main(["list"])
    said = capsys.readouterr().out
    assert "org/model  painted 1, rendered 1  photo of a 37 year old East Asian woman" in said
    assert "backdrops painted 1, rendered 1; pictures refused: blank 1, not finite 3" in said
    path = album.path(shaping(pixels=64))
    path.write_bytes(b"no album")
    with pytest.raises(ValueError, match="backdrops/.* is damaged"):
        cache_command.main(["verify"])
    cache_command.main(["prune"])
    assert "1 files removed, 1 of portraits and backdrops kept" in capsys.readouterr().out and not path.exists()
    monkeypatch.setattr(album, "BACKDROP_VERSION", 0)
    for command in ("list", "verify"):
        cache_command.main([command])
        assert "of another version (backdrop_version 1, now 0)" in capsys.readouterr().out
    cache_command.main(["prune"])
    assert not list(album.files())
