"""Contact sheets: captioned pictures in rows, and what a configuration generates as one of them.

    python -m data_gen.contact_sheet sheet.png --face_model=ict

`data_gen.gallery` writes more of them.
"""

import argparse
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_gen.face_models import FACE_MODELS
from data_gen.generate import generate
from data_gen.generator_config import GeneratorConfig

# What a row shows of one person: (expression by rank of PSPI, view, whether the heatmap lies over it).
CELLS = ((0, 0, False), (4, 0, False), (4, 0, True), (7, 1, False), (10, 2, False), (10, 0, False), (10, 0, True))
CAPTION, TITLE = 18, 30  # pixels
INK = (40, 40, 40)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One picture of a sheet: (S, S, 3) uint8, and what stands below it."""

    picture: np.ndarray
    caption: str = ""


def sheet(rows: Sequence[Sequence[Cell]], title: str = "") -> Image.Image:
    """Rows of pictures of one size under a title; shorter rows leave their ends white."""
    height, width = rows[0][0].picture.shape[:2]
    top = TITLE if title else 0
    size = (max(map(len, rows)) * (width + 2), top + len(rows) * (height + CAPTION))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    if title:
        wide = ImageFont.load_default(16).getlength(title)
        draw.text((4, 6), title, INK, ImageFont.load_default(16 * min(1, (size[0] - 8) / wide)))
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            x, y = j * (width + 2), top + i * (height + CAPTION)
            picture.paste(Image.fromarray(cell.picture), (x, y))
            draw.text((x + 3, y + height + 2), cell.caption, INK, ImageFont.load_default(11))
    return picture


def decoded(encoded: bytes) -> np.ndarray:
    """(S, S, 3) or (S, S) uint8 of a JPEG or PNG."""
    return np.asarray(Image.open(io.BytesIO(encoded)))


def warm(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heatmap over its picture: (S, S, 3) uint8 in grey, and the heat, (S, S) uint8, from yellow to red."""
    share = heat[..., None].astype(np.float32) / 255
    grey = picture.mean(-1, keepdims=True) * 0.7
    flame = np.concatenate([np.ones_like(share), 0.75 - 0.6 * share, 0 * share], -1) * 255
    return np.round(grey * (1 - share) + flame * share).astype(np.uint8)


def contact_sheet(config: GeneratorConfig, identities: list[int]) -> Image.Image:
    """One row for each person, at rest and in rising pain, with PSPI and action units in the captions."""
    frames = {}
    for _, example in generate(config, identities):
        frames.setdefault(example["identity"]["id"], []).append(example)
    return sheet([[_cell(frames[person], *cell) for cell in CELLS] for person in identities])


def _cell(frames: list[dict], rank: int, view: int, overlay: bool) -> Cell:
    example = sorted((f for f in frames if f["view"]["id"] == view), key=lambda f: f["pspi"])[rank]
    picture = decoded(example["image"])
    if overlay:
        return Cell(warm(picture, decoded(example["heatmap"])), "pain heatmap")
    return Cell(picture, f"PSPI {example['pspi']:g}  AUs {' '.join(f'{value:g}' for value in example['aus'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="picture to write")
    parser.add_argument("--face_model", choices=FACE_MODELS, default="procedural")
    parser.add_argument("--size", type=int, default=192, help="side of a frame in pixels")
    parser.add_argument("--seed", type=int, default=0, help="dataset seed")
    parser.add_argument("--identities", type=int, nargs="+", default=list(range(6)))
    options = parser.parse_args()
    config = GeneratorConfig(options.face_model, options.size, texture_size=1024, dataset_seed=options.seed)
    contact_sheet(config, options.identities).save(options.output)


if __name__ == "__main__":
    main()
