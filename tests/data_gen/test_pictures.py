"""Pictures against small stored ones: fails when shading, colour or alignment moves.

Where a picture is meant to change, look at the new ones and store them:

    PAINJAX_STORE_PICTURES=1 python -m pytest tests/data_gen/test_pictures.py
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_gen.contact_sheet import decoded
from data_gen.generate import takes
from data_gen.generator_config import GeneratorConfig
from data_gen.plan import scene
from data_gen.scene import pack_seed

STORED = Path(__file__).parent / "pictures"
SIZE, BLOCK = 96, 4  # pixels
# Of block means, in 8-bit levels: drivers round and antialias otherwise, people see what is above.
WORST, MEAN = 12.0, 1.5
FRAMES = {"rest": (1, 0, 0), "pain": (4, 10, 1), "closed": (2, 6, 2)}  # identity, expression, view


def blocks(picture):
    """(S, S, 3) uint8 -> means of blocks of pixels, as the eye takes in a face from afar."""
    side = len(picture) // BLOCK
    return picture.astype(float).reshape(side, BLOCK, side, BLOCK, 3).mean((1, 3))


def difference(one, other):
    """(largest, mean) difference of block means."""
    apart = np.abs(blocks(one) - blocks(other))
    return apart.max(), apart.mean()


def looks_alike(one, other):
    worst, mean = difference(one, other)
    return worst <= WORST and mean <= MEAN


def draw(face_model, name):
    config = GeneratorConfig(face_model, SIZE, texture_size=512)
    ((_, take),) = takes(config, [scene(pack_seed(0, *FRAMES[name]))])
    heat = np.repeat(decoded(take["heatmap"])[..., None], 3, -1)
    return np.concatenate([decoded(take["image"]), heat], 1)  # [S, 2 S, 3]


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("face_model", ["procedural", "ict"])
def test_pictures_look_as_they_did(face_model, name, request):
    if face_model == "ict":
        request.getfixturevalue("ict_dir")
    path = STORED / f"{face_model}_{name}.png"
    drawn = draw(face_model, name)
    if os.environ.get("PAINJAX_STORE_PICTURES"):
        STORED.mkdir(exist_ok=True)
        Image.fromarray(drawn).save(path)
    stored = np.asarray(Image.open(path))
    for part, columns in (("picture", slice(0, SIZE)), ("heatmap", slice(SIZE, None))):
        worst, mean = difference(drawn[:, columns], stored[:, columns])
        assert looks_alike(drawn[:, columns], stored[:, columns]), (
            f"the {part} of {path.name} has moved by up to {worst:.1f} levels, {mean:.2f} on average"
        )


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("face_model", ["procedural", "ict"])
def test_a_small_fault_does_not_look_alike(face_model, name):
    stored = np.asarray(Image.open(STORED / f"{face_model}_{name}.png"))[:, :SIZE]
    assert looks_alike(stored, stored)
    noise = np.random.default_rng(0).integers(-2, 3, stored.shape)
    assert looks_alike(stored, np.clip(stored.astype(int) + noise, 0, 255).astype(np.uint8))
    faults = {
        "a pixel to the left": np.roll(stored, -1, 1),
        "a pixel down": np.roll(stored, 1, 0),
        "a tenth darker": np.round(stored * 0.9).astype(np.uint8),
        "less red": np.round(stored * (0.93, 1.0, 1.0)).astype(np.uint8),
        "mirrored": stored[:, ::-1],
    }
    for fault, picture in faults.items():
        assert not looks_alike(stored, picture), fault
