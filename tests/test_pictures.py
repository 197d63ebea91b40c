"""Pictures as people have them: what reaches the model, pixel by pixel, and what is refused."""

import threading

import numpy as np
import pytest
from PIL import Image

from painjax import pictures
from painjax.errors import UserError
from painjax.pictures import NoFaceError, PictureReader

SIZE = 32


def noise(height=SIZE, width=SIZE, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def save(path, pixels, mode=None, **options):
    image = Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)
    image.save(path, **options)
    return path


@pytest.fixture
def read():
    return PictureReader(SIZE)


def test_a_picture_of_the_models_size_is_untouched(read, tmp_path):
    pixels = noise()
    for source in (save(tmp_path / "a.png", pixels), str(tmp_path / "a.png"), pixels, Image.fromarray(pixels)):
        picture = read(source)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert picture.warnings == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(read, tmp_path, orientation):
    """Stored as each EXIF orientation has it, by the standard's places of row 0 and column 0 in the upright picture."""
    upright = noise()
    stored = {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.swapaxes(0, 1),  # left, top
        6: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, upright)


def test_transparent_parts_are_grey(read, tmp_path):
    rgba = noise(channels=4)
    rgba[..., 3] = 255
    np.testing.assert_array_equal(read(save(tmp_path / "opaque.png", rgba)).pixels, rgba[..., :3])
    assert read(tmp_path / "opaque.png").warnings == []
    rgba[:16, :, 3], rgba[16:, :, 3] = 0, 51  # invisible, and one fifth visible
    picture = read(save(tmp_path / "a.png", rgba))
    assert (picture.pixels[:16] == 128).all()
    want = 0.2 * rgba[16:, :, :3] + 0.8 * 128
    np.testing.assert_allclose(picture.pixels[16:], want, atol=1)
    assert "transparent" in picture.warnings[0]
    np.testing.assert_array_equal(read(rgba).pixels, picture.pixels)


def test_a_palette_with_a_transparent_colour(read, tmp_path):
    image = Image.new("P", (SIZE, SIZE), 0)
    image.putpalette([10, 200, 30, 255, 0, 0])
    image.paste(1, (0, 0, 16, SIZE))
    image.save(tmp_path / "a.png", transparency=1)
    picture = read(tmp_path / "a.png").pixels
    assert (picture[:, :16] == 128).all() and (picture[:, 16:] == (10, 200, 30)).all()


def test_one_channel_becomes_three_equal_ones(read, tmp_path):
    grey = noise(channels=1)
    for source in (save(tmp_path / "a.png", grey[..., 0]), grey, grey[..., 0]):
        np.testing.assert_array_equal(read(source).pixels, np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(PictureReader(SIZE, channels=1)(grey).pixels, grey)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bits_are_scaled_not_cut(read, tmp_path, suffix):
    deep = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(read(tmp_path / f"a.{suffix}").pixels[..., 0], deep / 257, atol=0.5 + 1e-6)


def test_a_photograph_given_to_a_model_of_heatmaps_is_warned_about(tmp_path):
    read = PictureReader(SIZE, channels=1)
    assert any("reads pain heatmaps" in warning for warning in read(noise()).warnings)
    grey = np.repeat(noise()[..., :1], 3, axis=-1)
    for source in (grey, save(tmp_path / "grey.jpg", grey)):  # JPEG leaves a little colour
        assert read(source).warnings == []


def test_cmyk_is_converted(read, tmp_path):
    image = Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0))  # magenta and yellow in full: red
    image.save(tmp_path / "a.tiff")
    assert (read(tmp_path / "a.tiff").pixels == (255, 0, 0)).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_picture_is_taken_and_that_is_said(read, tmp_path, suffix):
    first, *rest = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=rest, **options)
    picture = read(tmp_path / f"a.{suffix}")
    assert (picture.pixels == (255, 0, 0)).all()
    assert picture.warnings == ["Only the first of its 3 pictures is looked at."]


def test_numbers_of_unknown_range_are_refused(read, tmp_path):
    for pixels in (np.full((SIZE, SIZE), 0.5, np.float32), np.full((SIZE, SIZE), 200, np.int32)):
        Image.fromarray(pixels).save(tmp_path / "a.tiff")
        with pytest.raises(UserError, match="what is white"):
            read(tmp_path / "a.tiff")


def test_a_picture_opened_by_others_may_be_cut_off(read, tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with Image.open(tmp_path / "a.png") as lazy, pytest.raises(UserError, match="cannot be read"):
        read(lazy)


@pytest.mark.parametrize(
    "pixels", [noise() / 255, noise().astype(np.uint16), np.zeros((3, SIZE, SIZE), np.uint8), np.zeros(5, np.uint8)]
)
def test_arrays_are_checked(read, pixels):
    with pytest.raises(UserError, match="expected uint8"):
        read(pixels)


@pytest.mark.parametrize(
    "content", [b"no picture", b"", b"\xff\xd8 but then nothing", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\x00"]
)
def test_an_unreadable_picture_is_one_paragraph(read, tmp_path, content):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(UserError, match="bad.jpg cannot be read") as error:
        read(tmp_path / "bad.jpg")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_picture_cut_off_anywhere_is_refused_or_read(read, tmp_path, suffix):
    """Whatever a half copied file does inside Pillow, it never ends in a traceback."""
    whole = save(tmp_path / f"a.{suffix}", noise(64, 64)).read_bytes()
    refused = 0
    for length in range(0, len(whole), max(1, len(whole) // 50)):
        (tmp_path / f"cut.{suffix}").write_bytes(whole[:length])
        try:
            read(tmp_path / f"cut.{suffix}")
        except UserError:
            refused += 1
    assert refused > 25


def test_a_path_that_does_not_exist(read, tmp_path):
    with pytest.raises(UserError, match="no image .*none.png"):
        read(tmp_path / "none.png")


# ---- What part is looked at ----


def test_centre_takes_the_middle_square_and_says_so(read):
    wide = noise(SIZE, 2 * SIZE)
    picture = read(wide, "wide.png")
    np.testing.assert_array_equal(picture.pixels, wide[:, SIZE // 2 : SIZE // 2 + SIZE])
    assert len(picture.warnings) == 1 and picture.warnings[0].startswith("64 x 32 pixels is not square")


def test_a_crop_fraction_takes_the_middle_of_the_middle():
    read = PictureReader(SIZE, fraction=0.5)
    pixels = noise(2 * SIZE, 2 * SIZE)
    np.testing.assert_array_equal(read(pixels).pixels, pixels[16:48, 16:48])


def test_none_keeps_the_whole_picture_and_its_proportions():
    wide = noise(SIZE, 2 * SIZE)
    picture = PictureReader(2 * SIZE, crop="none")(wide)
    np.testing.assert_array_equal(picture.pixels[16:48], wide)
    assert (picture.pixels[:16] == 128).all() and (picture.pixels[48:] == 128).all()
    assert picture.warnings == []


@pytest.mark.parametrize(
    ("box", "want"),
    [
        ((8, 4, 40, 36), lambda p: p[4:36, 8:40]),
        ((8, 12, 40, 28), lambda p: p[4:36, 8:40]),  # grows to a square about its centre
        (np.array([8.0, 4.0, 40.0, 36.0]), lambda p: p[4:36, 8:40]),
        ([-16, 0, 16, 32], lambda p: np.concatenate([np.full((32, 16, 3), 128), p[:32, :16]], axis=1)),
        ((48, 48, 80, 80), lambda p: np.pad(p[48:, 48:].astype(int) - 128, ((0, 16), (0, 16), (0, 0))) + 128),
    ],
)
def test_a_function_says_where_the_face_is(box, want):
    pixels = noise(64, 64)
    seen = []

    def find(picture):
        seen.append(picture)
        return box

    picture = PictureReader(SIZE, crop=find)(pixels)
    np.testing.assert_array_equal(picture.pixels, want(pixels))
    np.testing.assert_array_equal(seen[0], pixels)


def test_a_function_may_find_no_face(tmp_path):
    with pytest.raises(NoFaceError, match="no face in the image .*a.png"):
        PictureReader(SIZE, crop=lambda pixels: None)(save(tmp_path / "a.png", noise()))


@pytest.mark.parametrize(
    "box",
    [
        (1, 2, 3), "box", 7, (0, 0, np.nan, 32), (0, 0, np.inf, 40), (40, 0, 8, 32), (0, 0, 8, 8), (900, 0, 940, 40),
        (-4000, -4000, 4064, 4064), ("a", 0, 32, 32), [[0, 0, 32, 32]],
    ],
)  # fmt: skip
def test_nonsense_from_a_function_is_named(box):
    with pytest.raises(UserError, match="The crop function returned .*; expected"):
        PictureReader(SIZE, crop=lambda pixels: box)(noise(64, 64))


def test_a_function_is_never_called_twice_at_once():
    """Face detectors hold state; pictures are read by several threads."""
    inside, most = 0, 0

    def find(pixels):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.005)
        inside -= 1
        return 0, 0, SIZE, SIZE

    read = PictureReader(SIZE, crop=find)
    threads = [threading.Thread(target=read, args=(noise(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("pixels", [noise(8, 8), noise(400, 50), noise(50, 400)])
def test_what_is_no_portrait_is_refused(read, pixels):
    with pytest.raises(UserError, match="no portrait.*Crop the picture"):
        read(pixels)


def test_a_small_picture_is_warned_about():
    picture = PictureReader(112)(noise(40, 40), "a.png")
    assert picture.pixels.shape == (112, 112, 3)
    assert picture.warnings == [
        "The part looked at, 40 x 40 pixels, is small for a model of 112 x 112; expect a worse estimate."
    ]


def test_scaling_keeps_the_mean_and_smooths():
    """Antialiased: a fine chequerboard becomes its mean, whichever the interpolation."""
    board = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((4, 4))).astype(np.uint8)[..., None] * 200
    for interpolation in sorted(set(pictures.INTERPOLATIONS) - {"nearest"}):
        pixels = PictureReader(SIZE, interpolation=interpolation)(board).pixels
        np.testing.assert_allclose(pixels[4:-4, 4:-4], 100, atol=2)


@pytest.mark.parametrize("options", [{"crop": "middle"}, {"fraction": 0.0}, {"fraction": 1.5}, {"interpolation": "no"}])
def test_options_are_checked(options):
    with pytest.raises(UserError, match="expected"):
        PictureReader(SIZE, **options)


# ---- Finding files and functions ----


def test_files_of_a_folder_in_the_order_of_their_names(tmp_path):
    for name in ("b.png", "a.JPG", "c.txt", ".d.png", "e.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in pictures.find_files(tmp_path)] == ["a.JPG", "b.png", "e.webp"]
    assert pictures.find_files(tmp_path / "c.txt") == [tmp_path / "c.txt"]  # named, it may be anything
    with pytest.raises(UserError, match="no image"):
        pictures.find_files(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        pictures.find_files(tmp_path / "empty")


def test_load_crop_finds_functions_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_faces_of_this_test.py").write_text("def find(pixels):\n    return 0, 0, 40, 40\nsides = 3\n")
    (tmp_path / "broken_of_this_test.py").write_text("def find(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    assert pictures.load_crop("my_faces_of_this_test:find")(None) == (0, 0, 40, 40)
    assert pictures.load_crop("centre") == "centre" and pictures.load_crop("none") == "none"
    for value, message in {
        "center": "expected centre, none, or module:function",
        "face": "expected centre",
        ":find": "expected centre",
        "no_such_module:find": "--crop=no_such_module:find cannot be imported",
        "my_faces_of_this_test:missing": "cannot be imported",
        "my_faces_of_this_test:sides": "is int, which cannot be called",
        "broken_of_this_test:find": "cannot be imported",
        "..:x": "cannot be imported",
    }.items():
        with pytest.raises(UserError, match=message):
            pictures.load_crop(value)
