"""The command's work: pictures, videos and folders with bad files; rows, tables and overlays."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from painjax import checkpoint, predict
from painjax.errors import UserError
from painjax.overlay import heat_picture, lay_over, spread
from painjax.prediction_table import COLUMNS
from painjax.pspi import AU_NAMES
from tests.test_predictor import SIZE, make_model, outputs, to_input
from tests.test_video import film


@pytest.fixture
def trained(monkeypatch):
    def restore(**options):
        channels = options.get("in_channels", 3)
        config = ConfigDict({"batch_size": 4, "data": {"input": "image" if channels == 3 else "heatmap"}})
        model = make_model(**options)
        monkeypatch.setattr(checkpoint, "restore_model", lambda workdir: (model, config, 7))
        return model

    return restore


def draw(path, size=(SIZE, SIZE), seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def read(path):
    return np.asarray(Image.open(path))


def test_one_image_gives_what_the_model_says_as_json(trained, tmp_path):
    model, path = trained(neutral="channels"), draw(tmp_path / "a.png")
    result = predict.main("W", path)
    (found,) = json.loads(json.dumps(result, allow_nan=False))["predictions"]
    assert result["errors"] == [] and result["videos"] == []
    want = outputs(model, to_input(read(path)[None]))
    assert found == {
        "image": str(path),
        "pspi": pytest.approx(float(np.clip(want.pspi[0], 0, 16)), abs=1e-3),
        "pspi_std": None,
        "pspi_from_aus": pytest.approx(float(want.pspi_from_aus[0]), abs=1e-3),
        "aus": {name: pytest.approx(float(au), abs=1e-3) for name, au in zip(AU_NAMES, want.aus[0], strict=True)},
        "thresholds": {
            f"pspi>={k}": pytest.approx(1 / (1 + np.exp(-float(want.threshold_logits[0, k - 1]))), abs=1e-4)
            for k in (1, 2, 3)
        },
        "warnings": [],
    }
    assert list(found["aus"]) == list(AU_NAMES)


def test_neutral_pictures_change_the_estimate(trained, tmp_path):
    model, path = trained(neutral="channels"), draw(tmp_path / "a.png")
    (tmp_path / "calm").mkdir()
    calm = [draw(tmp_path / "calm" / f"{i}.png", seed=i) for i in (1, 2)]
    both = jnp.stack([to_input(read(file)) for file in calm])[None]
    want = np.asarray(outputs(model, to_input(read(path)[None]), both).aus[0])
    for neutral in (calm, tmp_path / "calm", [calm[0], str(calm[1])]):
        found = predict.main("W", path, neutral=neutral)["predictions"][0]["aus"]
        assert list(found.values()) == pytest.approx(want, abs=2e-3)
    one = predict.main("W", path, neutral=str(calm[0]))["predictions"][0]["aus"]
    assert list(one.values()) != pytest.approx(want, abs=2e-3)


def test_a_neutral_that_is_worth_a_warning_warns_with_every_image(trained, tmp_path):
    trained(neutral="channels")
    calm = draw(tmp_path / "calm.png", size=(40, 60))
    found = predict.main("W", draw(tmp_path / "a.png"), neutral=calm)["predictions"][0]
    assert found["warnings"][0].startswith("calm.png: 40 x 60 pixels is not square")


def test_a_neutral_that_the_model_cannot_use_is_refused(trained, tmp_path):
    trained()
    with pytest.raises(UserError, match="without neutral references"):
        predict.main("W", draw(tmp_path / "a.png"), neutral=draw(tmp_path / "n.png"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: film(folder / "calm.mkv", count=2), r"--neutral=.*calm\.mkv is a video; expected pictures"),
        (lambda folder: folder / "none.png", r"There is no image .*none\.png\. Give an existing file or folder\.$"),
    ],
)
def test_a_neutral_that_is_no_picture_is_refused_with_advice(trained, tmp_path, make, message):
    trained(neutral="channels")
    with pytest.raises(UserError, match=message):
        predict.main("W", draw(tmp_path / "a.png"), neutral=make(tmp_path))


def test_a_folder_goes_on_past_bad_files(trained, tmp_path):
    trained()
    for i in range(5):
        draw(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "2b.jpg").write_bytes(b"no picture")
    whole = draw(tmp_path / "3b.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "3b.jpg").write_bytes(whole[: len(whole) // 2])  # cut off while copying
    (tmp_path / "notes.txt").write_text("not looked at")
    draw(tmp_path / "4b.webp", size=(5, 5))
    (tmp_path / "5.mp4").write_bytes(b"no film")
    result = predict.main("W", tmp_path)
    assert [p["image"].rsplit("/", 1)[1] for p in result["predictions"]] == [f"{i}.png" for i in range(5)]
    assert sorted(e["image"].rsplit("/", 1)[1] for e in result["errors"]) == ["2b.jpg", "3b.jpg", "4b.webp", "5.mp4"]
    alone = [predict.main("W", tmp_path / f"{i}.png")["predictions"][0]["pspi"] for i in range(5)]
    assert [p["pspi"] for p in result["predictions"]] == pytest.approx(alone, abs=2e-3)  # batching changes nothing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.png", "no image"),
        (lambda folder: folder, "holds no image"),
        (lambda folder: draw(folder / "tiny.png", size=(8, 8)), "no portrait"),
        (lambda folder: draw(folder / "strip.png", size=(400, 50)), "no portrait"),
    ],
)
def test_what_cannot_be_used_is_refused_with_advice(trained, tmp_path, make, message):
    trained()
    with pytest.raises(UserError, match=message):
        predict.main("W", make(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "t.xlsx"}, "--table=t.xlsx"),
        ({"crop": "center"}, "--crop=center"),
        ({"every": 0}, "--every=0"),
        ({"fps": -1.0}, "--fps=-1"),
        ({"batch_size": -1}, "batch_size is -1"),
    ],
)
def test_wrong_options_are_named_before_the_model_is_loaded(monkeypatch, trained, tmp_path, options, message):
    if "batch_size" in options:
        trained()
    else:
        monkeypatch.setattr(checkpoint, "restore_model", lambda workdir: pytest.fail("loaded"))
    with pytest.raises(UserError, match=message):
        predict.main("W", draw(tmp_path / "a.png"), **options)


# ---- Videos and tables ----


def find_bright(pixels):
    """A crop function that finds no face in a dark picture."""
    return (8, 0, 56, 48) if pixels.mean() > 15 else None


def test_a_video_gives_a_row_per_frame(trained, tmp_path):
    model = trained()
    path = film(tmp_path / "clip.mkv", count=13)
    result = predict.main("W", path, every=2)
    frames = result["predictions"]
    assert [f["frame"] for f in frames] == [0, 2, 4, 6, 8, 10, 12]
    assert [f["time_s"] for f in frames] == pytest.approx([0.08 * i for i in range(7)])
    assert {f["image"] for f in frames} == {str(path)}
    want = outputs(model, to_input(np.full((1, SIZE, SIZE, 3), 60, np.uint8)))  # what frame 6 was filled with
    assert frames[3]["pspi"] == pytest.approx(float(np.clip(want.pspi[0], 0, 16)), abs=2e-3)
    (warning,) = frames[0]["warnings"]
    assert warning.startswith("clip.mkv: 64 x 48 pixels is not square")
    assert not any(f["warnings"] for f in frames[1:])  # once is enough
    best = max(frames, key=lambda f: f["pspi"])
    assert result["videos"] == [
        {
            "video": str(path),
            "frames": 7,
            "frames_without_face": 0,
            "mean_pspi": pytest.approx(np.mean([f["pspi"] for f in frames]), abs=1e-3),
            "max_pspi": best["pspi"],
            "max_pspi_time_s": best["time_s"],
            "warnings": [warning],
        }
    ]


def test_a_table_holds_every_row_and_frames_without_a_face_are_empty(trained, tmp_path, monkeypatch):
    trained()
    monkeypatch.setattr(predict, "load_crop", lambda value: {"bright": find_bright}[value])
    film(tmp_path / "b.mkv", count=5)  # frames 0 and 1 are dark
    draw(tmp_path / "a.png", size=(64, 48))
    result = predict.main("W", tmp_path, table=tmp_path / "t.csv", crop="bright")
    assert [p["image"] for p in result["predictions"]] == [str(tmp_path / "a.png")]  # not the video's: it may be long
    (summary,) = result["videos"]
    assert (summary["frames"], summary["frames_without_face"]) == (5, 2)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert list(rows[0]) == list(COLUMNS)
    assert [(row["image"].rsplit("/", 1)[1], row["frame"]) for row in rows] == [
        ("a.png", ""), *(("b.mkv", str(i)) for i in range(5))
    ]  # fmt: skip
    picture = result["predictions"][0]
    assert float(rows[0]["pspi"]) == picture["pspi"] and float(rows[0]["AU43"]) == picture["aus"]["AU43"]
    assert float(rows[0]["p_pspi_ge_2"]) == picture["thresholds"]["pspi>=2"]
    assert [row["pspi"] == "" for row in rows] == [False, True, True, False, False, False]
    assert "found no face" in rows[1]["warnings"] and rows[4]["warnings"] == "" and rows[4]["pspi_std"] == ""


def test_a_video_that_breaks_off_keeps_its_frames(trained, tmp_path):
    trained()
    whole = film(tmp_path / "whole.mkv", count=100).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    result = predict.main("W", tmp_path / "cut.mkv", every=10, table=tmp_path / "t.csv")
    assert "breaks off" in result["errors"][0]["error"]
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert len(rows) - 1 == result["videos"][0]["frames"] > 2


def test_a_video_whose_frames_cannot_be_used_is_one_error(trained, tmp_path):
    trained()
    film(tmp_path / "thin.mkv", count=9, size=(16, 64))
    draw(tmp_path / "a.png")
    result = predict.main("W", tmp_path)
    assert len(result["predictions"]) == 1 and len(result["errors"]) == 1
    assert "thin.mkv, frame 0 has 64 x 16 pixels; that is no portrait" in result["errors"][0]["error"]
    with pytest.raises(UserError, match="no portrait"):
        predict.main("W", tmp_path / "thin.mkv")


# ---- Overlays ----


def test_overlays_are_written(trained, tmp_path):
    trained()
    predict.main("W", draw(tmp_path / "a.png"), output=tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png.overlay.png") as picture:
        assert picture.size == (3 * SIZE, SIZE)
        np.testing.assert_array_equal(np.asarray(picture)[:, :SIZE], read(tmp_path / "a.png"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png.overlay.png"]
    predict.main("W", film(tmp_path / "v.mkv", count=2), output=tmp_path / "frames")
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [
        "v.mkv.000000.overlay.png",
        "v.mkv.000001.overlay.png",
    ]


def test_a_teacher_reads_heatmaps(trained, tmp_path):
    trained(in_channels=1)
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "heat.png")
    (found,) = predict.main("W", tmp_path / "heat.png", output=tmp_path / "out")["predictions"]
    assert found["warnings"] == []
    assert (tmp_path / "out" / "heat.png.overlay.png").exists()


def test_overlay_shows_the_face_where_there_is_no_heat():
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    shown = lay_over(image, heat, opacity=1.0)
    np.testing.assert_array_equal(shown[1:], np.repeat(grey[1:, :, None], 3, axis=2))
    np.testing.assert_array_equal(shown[0, 0], heat_picture(heat)[0, 0])


def test_spread_puts_the_peak_in_its_patch():
    smooth = spread(np.eye(16)[6], 32)  # row 1, column 2 of 4 x 4
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    assert 8 <= row < 16 and 16 <= column < 24 and smooth.max() <= 1
    with pytest.raises(ValueError, match="no square"):
        spread(np.ones(5), 32)
