"""A picture of what a configuration generates: `python -m data_gen.contact_sheet sheet.jpg --face_model=ict`."""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_gen.face_models import FACE_MODELS
from data_gen.generate import GeneratorConfig, generate

# What a row shows of one person: (expression by rank of PSPI, view, whether the heatmap lies over it).
CELLS = ((0, 0, False), (4, 0, False), (4, 0, True), (7, 1, False), (10, 2, False), (10, 0, False), (10, 0, True))
CAPTION = 16  # pixels


def contact_sheet(config: GeneratorConfig, identities: list[int]) -> Image.Image:
    """One row for each person, at rest and in rising pain, with PSPI and action units in the captions."""
    frames = {}
    for _, example in generate(config, identities):
        frames.setdefault(example["identity"]["id"], []).append(example)
    rows = [np.concatenate([_cell(frames[person], *cell) for cell in CELLS], axis=1) for person in identities]
    return Image.fromarray(np.concatenate(rows, axis=0))


def _cell(frames: list[dict], rank: int, view: int, overlay: bool) -> np.ndarray:
    example = sorted((f for f in frames if f["view"]["id"] == view), key=lambda f: f["pspi"])[rank]
    image = np.asarray(Image.open(io.BytesIO(example["image"])), np.float32) / 255  # [S, S, 3]
    if overlay:
        heat = np.asarray(Image.open(io.BytesIO(example["heatmap"])), np.float32)[..., None] / 255  # [S, S, 1]
        grey = image.mean(-1, keepdims=True) * 0.7
        image = grey * (1 - heat) + heat * np.concatenate([np.ones_like(heat), 0.75 - 0.6 * heat, 0 * heat], -1)
    cell = Image.new("RGB", (image.shape[1], image.shape[0] + CAPTION), "white")
    cell.paste(Image.fromarray((image * 255).round().astype(np.uint8)), (0, 0))
    aus = " ".join(f"{value:g}" for value in example["aus"])
    text = "pain heatmap" if overlay else f"PSPI {example['pspi']:g}  AUs {aus}"
    ImageDraw.Draw(cell).text((4, image.shape[0] + 2), text, fill="black")
    return np.asarray(cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="picture to write")
    parser.add_argument("--face_model", choices=FACE_MODELS, default="procedural")
    parser.add_argument("--size", type=int, default=192, help="side of a frame in pixels")
    parser.add_argument("--seed", type=int, default=0, help="dataset seed")
    parser.add_argument("--identities", type=int, nargs="+", default=list(range(6)))
    options = parser.parse_args()
    config = GeneratorConfig(options.face_model, options.size, texture_size=1024, dataset_seed=options.seed)
    contact_sheet(config, options.identities).save(options.output, quality=92)


if __name__ == "__main__":
    main()
