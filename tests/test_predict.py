"""Prediction from files: what is read, what is refused, what a folder with bad files gives."""

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from painjax import predict
from painjax.errors import UserError
from painjax.overlay import heat_picture, lay_over, spread
from painjax.state import make_model

SIZE = 32


@pytest.fixture
def trained(monkeypatch):
    def restore(neutral="channels", channels=3):
        config = ConfigDict(
            {
                "seed": 0,
                "batch_size": 4,
                "data": {"input": "image" if channels == 3 else "heatmap"},
                "model": {
                    "image_size": SIZE, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "neutral": neutral,
                    "in_channels": channels,
                },
            }
        )  # fmt: skip
        model = make_model(config)
        model.eval()
        monkeypatch.setattr(predict.checkpoint, "restore_model", lambda workdir: (model, config, 7))
        return model, config

    return restore


def draw(path, size=(SIZE, SIZE), seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_one_image_gives_every_number_in_its_range(trained, tmp_path):
    trained()
    result = predict.main("W", draw(tmp_path / "a.png"))
    (found,) = result["predictions"]
    assert found["image"] == str(tmp_path / "a.png") and result["errors"] == [] and found["warnings"] == []
    assert 0 <= found["pspi"] <= 16
    assert list(found["aus"]) == ["AU4", "AU6", "AU7", "AU9", "AU10", "AU43"]
    assert set(found["thresholds"]) == {"pspi>=1", "pspi>=2", "pspi>=3"}


def test_prediction_is_what_the_model_says(trained, tmp_path):
    """From PNG pixels to the score with the normalisation written out."""
    model, _ = trained()
    model.pspi_head.score.kernel[...] *= 10  # an untrained head hardly looks at its input
    path, calm = draw(tmp_path / "a.png"), draw(tmp_path / "calm.png", seed=1)
    found = predict.main("W", path, neutral=calm)["predictions"][0]["pspi"]

    def to_input(path):
        pixels = np.asarray(Image.open(path), np.float32)[None] / 255
        return ((pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)

    want = model(jnp.asarray(to_input(path)), jnp.asarray(to_input(calm))).pspi[0]
    assert found == pytest.approx(float(want), abs=2e-3)
    assert found != pytest.approx(predict.main("W", path)["predictions"][0]["pspi"], abs=1e-4)


def test_a_folder_goes_on_past_bad_files(trained, tmp_path):
    trained()
    for i in range(5):
        draw(tmp_path / f"{i}.png", seed=i)
    (tmp_path / "2b.jpg").write_bytes(b"no picture")
    whole = draw(tmp_path / "3b.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "3b.jpg").write_bytes(whole[: len(whole) // 2])  # cut off while copying
    (tmp_path / "notes.txt").write_text("not looked at")
    draw(tmp_path / "4b.webp", size=(5, 5))
    result = predict.main("W", tmp_path)
    assert [p["image"].rsplit("/", 1)[1] for p in result["predictions"]] == [f"{i}.png" for i in range(5)]
    assert [e["image"].rsplit("/", 1)[1] for e in result["errors"]] == ["2b.jpg", "3b.jpg", "4b.webp"]
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


def test_an_unreadable_image_is_one_paragraph(trained, tmp_path):
    trained()
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 but then nothing")
    with pytest.raises(UserError, match="bad.jpg cannot be read") as error:
        predict.main("W", tmp_path / "bad.jpg")
    assert "\n" not in str(error.value)


def test_a_neutral_that_the_model_cannot_use_is_refused(trained, tmp_path):
    trained(neutral="none")
    with pytest.raises(UserError, match="without neutral references"):
        predict.main("W", draw(tmp_path / "a.png"), neutral=draw(tmp_path / "n.png"))


def test_the_middle_square_is_looked_at_and_said(trained, tmp_path):
    _, config = trained()
    wide = np.zeros((SIZE, 2 * SIZE, 3), np.uint8)
    wide[:, SIZE // 2 : SIZE // 2 + SIZE] = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture = predict.read_picture(tmp_path / "wide.png", config)
    np.testing.assert_array_equal(picture.pixels, wide[:, SIZE // 2 : SIZE // 2 + SIZE])
    assert len(picture.warnings) == 1 and "not square" in picture.warnings[0]


def test_pictures_are_turned_upright(trained, tmp_path):
    """Phones store portraits lying, with an EXIF orientation."""
    _, config = trained()
    upright = Image.open(draw(tmp_path / "a.png"))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    picture = predict.read_picture(tmp_path / "lying.png", config)
    np.testing.assert_array_equal(picture.pixels, np.asarray(upright))


def test_a_small_picture_is_warned_about(trained, tmp_path):
    _, config = trained()
    config.model.image_size = 112
    picture = predict.read_picture(draw(tmp_path / "a.png", size=(40, 40)), config)
    assert picture.pixels.shape == (112, 112, 3) and "small" in picture.warnings[0]


def test_a_teacher_reads_heatmaps(trained, tmp_path):
    trained(neutral="none", channels=1)
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "heat.png")
    assert len(predict.main("W", tmp_path / "heat.png")["predictions"]) == 1


def test_overlays_are_written(trained, tmp_path):
    trained()
    predict.main("W", draw(tmp_path / "a.png"), output=tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png.overlay.png") as picture:
        assert picture.size == (3 * SIZE, SIZE)
        np.testing.assert_array_equal(np.asarray(picture)[:, :SIZE], np.asarray(Image.open(tmp_path / "a.png")))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png.overlay.png"]


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
