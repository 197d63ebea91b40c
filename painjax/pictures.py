"""From a picture as people have it (a photograph, a scan, an array) to the upright square that a model takes.

What is done to every picture: EXIF rotation; the first picture of an animation; palettes, CMYK and one channel to RGB;
16 bits to 8; transparent parts over mid-grey; then the cut, and the scaling to the model's size.
"""

import dataclasses
import importlib
import math
import os
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from painjax.errors import UserError

PathLike = str | os.PathLike
PictureSource = str | os.PathLike | np.ndarray | Image.Image
Crop = Callable[[UInt8[np.ndarray, "H W 3"]], Sequence[float] | None]  # -> x0, y0, x1, y1 in pixels; None: no face

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
CROPS = ("centre", "none")
INTERPOLATIONS = {kind.name.lower(): kind for kind in Image.Resampling}  # each antialiased, except for nearest
MAX_ASPECT = 3.0  # longer strips than this are no portrait
MIN_SIDE = 32  # pixels: less holds no expression
COLOURFUL = 32  # of 255, between the channels of a pixel: more than a grey picture has after JPEG
GREY = (128, 128, 128)  # where there is no picture: behind transparent parts, beyond the edges
# What Pillow has been seen to raise for truncated, mislabelled, absurdly large or foreign files.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, Image.DecompressionBombError)


class Picture(NamedTuple):
    """A square uint8 picture of the model's size, and what a user should know of how it came to be one."""

    pixels: UInt8[np.ndarray, "S S C"]
    warnings: list[str]


class NoFaceError(UserError):
    """The user's own crop function found no face in a picture."""


@dataclasses.dataclass(frozen=True)
class PictureReader:
    """Reads pictures for one model. Calls from several threads are safe; `crop` is never called by two at once.

    size: side of the square that the model takes, in pixels. channels: 3, or 1 for a model of heatmaps.
    crop: where the face is.
      'centre'    the middle square, which needs nothing else installed: right for portraits.
      'none'      the whole picture; what it lacks to a square is filled with mid-grey, so that no face is squeezed.
      a function  from pixels [H, W, 3] uint8 to a box (x0, y0, x1, y1) in pixels, or None where there is no face. The
                  box grows about its centre to a square, beyond the edges of the picture if need be.
    fraction: of the middle square's side that 'centre' keeps, 0..1; weights trained on closer cuts want less than 1.
    interpolation: a name of Pillow's: 'bilinear', 'bicubic', 'lanczos', ...
    """

    size: int
    channels: int = 3
    crop: str | Crop = "centre"
    fraction: float = 1.0
    interpolation: str = "lanczos"
    _lock: Any = dataclasses.field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self):
        if isinstance(self.crop, str) and self.crop not in CROPS:
            raise UserError(f"crop is {self.crop!r}; expected 'centre', 'none' or a function (see load_crop).")
        if self.interpolation not in INTERPOLATIONS:
            raise UserError(f"interpolation is {self.interpolation!r}; expected one of {', '.join(INTERPOLATIONS)}.")
        if not 0 < self.fraction <= 1:
            raise UserError(f"The crop fraction is {self.fraction}; expected 0 < fraction <= 1.")

    def __call__(self, source: PictureSource, name: str | None = None) -> Picture:
        """Reads a file, a uint8 array ([H, W], or [H, W, C] with C = 1, 3 or 4) or a PIL image.

        Args:
          source: the picture.
          name: what messages call it; the path, if it is a file.

        Raises:
          UserError: if it cannot be read or cannot be a portrait (too small, too long), or the crop function returned
            no box; NoFaceError if that found no face.
        """
        name = name or (str(source) if isinstance(source, str | os.PathLike) else "given")
        image, warnings = open_upright(source, name)
        x0, y0, x1, y1 = self._box(image, name, warnings)
        if x1 - x0 < 0.75 * self.size:
            warnings.append(
                f"The part looked at, {x1 - x0:.0f} x {y1 - y0:.0f} pixels, is small for a model of {self.size} x "
                f"{self.size}; expect a worse estimate."
            )
        image = _cut(image, (x0, y0, x1, y1), self.size, INTERPOLATIONS[self.interpolation])
        pixels = np.asarray(image)
        if self.channels == 1:
            if np.ptp(pixels, axis=-1).max() > COLOURFUL:
                warnings.append(
                    "It is in colour, and this model reads pain heatmaps, which are grey: what it says about a "
                    "photograph means nothing. For photographs take a student."
                )
            pixels = np.asarray(image.convert("L"))
        return Picture(pixels.reshape(self.size, self.size, self.channels), warnings)

    def _box(self, image: Image.Image, name: str, warnings: list[str]) -> tuple[float, float, float, float]:
        """The square to look at, in pixels; it may reach beyond the picture."""
        width, height = image.size
        short, long = sorted(image.size)
        if short < MIN_SIDE or (isinstance(self.crop, str) and long > MAX_ASPECT * short):
            raise UserError(
                f"The image {name} has {width} x {height} pixels; that is no portrait. Expected a face that fills "
                f"about seven tenths of the picture's height, at least {MIN_SIDE} pixels on its short side (better "
                f"{self.size}), and sides that differ by no more than {MAX_ASPECT:g} times. Crop the picture around "
                "the face."
            )
        if not isinstance(self.crop, str):
            return self._asked(image, name)
        if self.crop == "none":
            return _square(width / 2, height / 2, float(long))
        if long > 1.02 * short:
            warnings.append(
                f"{width} x {height} pixels is not square; only the middle {short} x {short} is looked at. If the face "
                "is not there, crop the picture around it first."
            )
        return _square(width / 2, height / 2, self.fraction * short)

    def _asked(self, image: Image.Image, name: str) -> tuple[float, float, float, float]:
        with self._lock:
            found = self.crop(np.array(image))
        if found is None:
            raise NoFaceError(f"The crop function found no face in the image {name}.")
        try:
            x0, y0, x1, y1 = (float(value) for value in found)
        except (TypeError, ValueError):
            x0 = math.nan
        if math.isnan(x0) or not all(map(math.isfinite, (x0, y0, x1, y1))):
            raise UserError(
                f"The crop function returned {found!r} for the image {name}; expected a box (x0, y0, x1, y1) of four "
                "numbers in pixels, or None where there is no face."
            )
        side, x, y = max(x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2
        width, height = image.size
        inside = 0 <= x <= width and 0 <= y <= height
        if min(x1 - x0, y1 - y0) <= 0 or not inside or not MIN_SIDE <= side <= 2 * max(width, height):
            raise UserError(
                f"The crop function returned the box {found!r} for the image {name} of {width} x {height} pixels; "
                f"expected x0 < x1 and y0 < y1 in pixels, at least {MIN_SIDE} apart, around a face in the picture."
            )
        return _square(x, y, side)


def find_files(path: PathLike, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The file itself, or the files of a folder with one of the suffixes, in the order of their names.

    Raises:
      UserError: if there is no such path or no such file in the folder.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no image {path}. Give an existing file or folder.")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith("."))
    if not found:
        raise UserError(f"The folder {path} holds no image; expected files that end in {', '.join(suffixes)}.")
    return found


def load_crop(value: str) -> str | Crop:
    """What `--crop` means: 'centre', 'none', or the function named by 'module:function'.

    The module is looked for where Python looks, then in the current folder.

    Raises:
      UserError: if it is none of these, or the function cannot be imported.
    """
    if value in CROPS:
        return value
    module, colon, function = value.partition(":")
    if not (colon and module and function):
        raise UserError(f"--crop={value}: expected centre, none, or module:function (such as my_faces:find_face).")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        crop = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, SyntaxError, TypeError) as error:
        raise UserError(
            f"--crop={value} cannot be imported ({error}). Expected module:function, with the module installed or in "
            "the current folder, and a function from pixels [H, W, 3] to a box (x0, y0, x1, y1) or None."
        ) from error
    if not callable(crop):
        raise UserError(f"--crop={value} is {type(crop).__name__}, which cannot be called; expected a function.")
    return crop


def open_upright(source: PictureSource, name: str) -> tuple[Image.Image, list[str]]:
    """Any picture as upright 8-bit RGB, and warnings about what was left out or filled in.

    Raises:
      UserError: if it cannot be read.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source, name)
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source, name)
        with Image.open(source) as file:
            return _to_rgb(file, name)
    except FileNotFoundError as error:
        raise UserError(f"There is no image {name}.") from error
    except _UNREADABLE as error:
        raise UserError(
            f"The image {name} cannot be read ({str(error).strip() or type(error).__name__}). Expected a complete "
            "picture (jpg, png, webp, bmp, gif or tiff); open it in an image viewer, and export it again if it shows."
        ) from error


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise UserError(
            f"The image {name} is an array {pixels.dtype}{list(pixels.shape)}; expected uint8 in 0..255 of shape "
            "[H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA)."
        )
    return Image.fromarray(pixels)


def _to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, list[str]]:
    warnings, kind = [], image.format  # which turning it upright forgets
    # The second picture of an MPO is the telephone's own depth or gain map.
    if getattr(image, "is_animated", False) and kind != "MPO":
        warnings.append(f"Only the first of its {image.n_frames} pictures is looked at.")
        image.seek(0)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PPM", None)):
        deep = np.asarray(image).astype(np.int64)  # Pillow's own conversion would cut everything above 255
        if deep.min() < 0 or deep.max() > 65535:
            raise UserError(_unknown_range(name))
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UserError(_unknown_range(name))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            warnings.append("Its transparent parts are shown as grey.")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GREY, 255)), image)
    return image.convert("RGB"), warnings


def _unknown_range(name: str) -> str:
    return (
        f"The image {name} holds 32-bit numbers, which do not say what is white. Save it with 8 or 16 bits per channel."
    )


def _square(x: float, y: float, side: float) -> tuple[float, float, float, float]:
    """The square with that centre and side."""
    left, top = x - side / 2, y - side / 2
    return left, top, left + side, top + side


def _cut(
    image: Image.Image, box: tuple[float, float, float, float], size: int, resample: Image.Resampling
) -> Image.Image:
    """The box scaled to `size` x `size`; grey where it reaches beyond the picture."""
    left, top = min(0, math.floor(box[0])), min(0, math.floor(box[1]))
    right, bottom = max(image.width, math.ceil(box[2])), max(image.height, math.ceil(box[3]))
    if (left, top, right, bottom) != (0, 0, *image.size):
        canvas = Image.new("RGB", (right - left, bottom - top), GREY)
        canvas.paste(image, (-left, -top))
        image, box = canvas, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return image.resize((size, size), resample, box=box)
