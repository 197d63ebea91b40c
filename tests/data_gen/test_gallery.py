"""The gallery as the command writes it, at a size that takes seconds."""

import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_gen import gallery
from data_gen.contact_sheet import CAPTION, Cell, sheet, warm
from data_gen.scene import identity
from data_gen.trajectories import FRAMES
from painjax import __main__
from painjax.pspi import pspi


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    status = __main__.main(["gallery", "--config=tiny", f"--output={folder}", "--size=32", "--people=1"])
    assert status == 0
    return folder


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_every_sheet_is_there_and_none_is_half_written(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("people.png", "action_units.png", "pain.png", "views.png", "distractors.png"),
        *("clip.webp", "action_units.txt"),
    }


def test_sheets_have_their_cells(folder):
    height, width, _ = pixels(folder / "people.png").shape
    assert width == 6 * (32 + 2) and height > 6 * (32 + CAPTION)
    # Rest and five steps of the first five units; AU43 has two.
    units = pixels(folder / "action_units.png")[-(32 + CAPTION) :]
    assert (units[:32, 2 * 34 :] == 255).all() and not (units[:32, 34 : 34 + 32] == 255).all()


def test_the_clip_moves_for_two_seconds(folder):
    durations, frames = [], []
    with Image.open(folder / "clip.webp") as clip:
        assert clip.n_frames == FRAMES
        for i in range(FRAMES):
            clip.seek(i)
            clip.load()
            durations.append(clip.info["duration"])
            frames.append(np.asarray(clip.convert("RGB"), float))
    assert sum(durations) == pytest.approx(2000, abs=30)
    assert np.abs(frames[12] - frames[0]).max() > 40


def test_tables_count_every_plan(folder):
    text = (folder / "action_units.txt").read_text()
    assert all(f"== {name}" in text for name in ("pain", "distractors", "clips")) and "correlation" in text


def test_the_people_shown_differ():
    people = [identity(0, i) for i in gallery._varied(0, 3)]
    assert len({p.ethnicity for p in people}) == 3 and len({(p.gender, p.age_group) for p in people}) == 3


def test_pspi_rises_along_the_row_of_pain():
    scores = pspi(np.array(gallery.PAIN, float))
    assert list(scores) == list(range(0, 17, 2))


def test_rows_of_a_sheet_start_at_the_left():
    red, blue = (np.full((8, 8, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    picture = np.asarray(sheet([[Cell(red), Cell(blue)], [Cell(blue)]]))
    assert picture.shape == (2 * (8 + CAPTION), 2 * 10, 3)
    assert (picture[:8, :8] == (255, 0, 0)).all() and (picture[:8, 10:18] == (0, 0, 255)).all()
    assert (picture[8 + CAPTION : 16 + CAPTION, :8] == (0, 0, 255)).all()


def test_a_long_title_is_shrunk_to_its_sheet():
    cell = Cell(np.zeros((150, 150, 3), np.uint8))
    empty, full = (np.asarray(sheet([[cell] * 2], title))[:20] for title in (" ", "a title of many words " * 3))
    assert (empty == 255).all()
    inked = np.flatnonzero((full < 255).any(axis=(0, 2)))
    assert 240 < inked[-1] < full.shape[1] - 2 and inked[0] < 8


def test_heat_reddens_what_it_covers_only():
    picture = np.full((2, 2, 3), 100, np.uint8)
    heat = np.array([[0, 255], [0, 128]], np.uint8)
    shown = warm(picture, heat).astype(int)
    assert (shown[0, 0] == 70).all() and tuple(shown[0, 1]) == (255, 38, 0)
    assert shown[1, 1, 0] > shown[1, 1, 1] > shown[1, 1, 2]


def test_an_unknown_configuration_names_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["gallery", "--config=huge"])
    assert "quick_ict" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "message"), [("--people=0", "people is 0"), ("--size=0", "image_size is 0")])
def test_a_gallery_of_nothing_is_refused(tmp_path, capsys, flag, message):
    assert __main__.main(["gallery", "--config=tiny", f"--output={tmp_path}", flag]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_sheet_that_it_has_no_room_for(tmp_path, capsys, monkeypatch):
    full = types.SimpleNamespace(save=lambda _: Path("/dev/full").write_bytes(b"half"))
    monkeypatch.setattr(gallery, "_people", lambda _: full)
    assert __main__.main(["gallery", "--config=tiny", f"--output={tmp_path}", "--size=32", "--people=1"]) == 2
    assert f"{tmp_path / 'people.png'}: No space left" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_flag_before_the_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--debug", "gallery"])
    assert "unknown argument '--debug'" in capsys.readouterr().err
