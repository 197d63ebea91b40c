"""A sheet to look at: portraits that our own renderer makes of another skin, and the heads that they are projected on.

    python -m tests.data_gen.diffusion.show_projection sheet.png --face_model=ict --people 0 1 5

Another skin with other clothes and another hairline stands in for what a model paints: it shows where colours
land, and nothing of how a model's portraits look.
"""

import argparse
import dataclasses

import numpy as np
from PIL import Image

from data_gen import camera as cameras
from data_gen import face_models, scene
from data_gen.contact_sheet import Cell, sheet
from data_gen.diffusion import conditions, projection, sitting
from data_gen.diffusion.canvas import canvas
from data_gen.render import Renderer
from data_gen.scene import Light, View
from data_gen.textures import paint

PIXELS, TEXELS = 512, 1024
STUDIO = Light(key_azimuth=-30, key_elevation=20, key=0.9, fill=0.4, ambient=0.5, kelvin=5000)
ROOM = Light(key_azimuth=0, key_elevation=30, key=0.5, fill=0.3, ambient=0.7, kelvin=5500)


def row(model: face_models.FaceModel, renderer: Renderer, index: int) -> list[Cell]:
    person = scene.identity(0, index)
    neutral, base = model.neutral(person), paint("procedural", person, model, TEXELS)
    strange = paint("procedural", dataclasses.replace(person, seed=person.seed + (777 << 16)), model, TEXELS)
    seen, grey = sitting.sit(neutral, model, base, renderer), np.full((PIXELS, PIXELS, 3), 150, np.uint8)
    skin = dataclasses.replace(base, albedo=strange.albedo, surface=strange.surface, roughness=strange.roughness)
    renderer.set_texture(skin, neutral)
    portrait = renderer.color(renderer.pose(neutral), sitting.camera(neutral, model.topology, PIXELS), STUDIO, grey)
    albedo = projection.project(portrait, seen, canvas(model.topology, TEXELS), base, neutral)
    cells = [
        Cell(np.repeat(conditions.depth_picture(seen.depth)[..., None], 3, -1), "depth"),
        Cell(portrait, f"portrait of {index}"),
    ]
    for texture, name in ((dataclasses.replace(base, albedo=albedo), "projected"), (base, "procedural")):
        renderer.set_texture(texture, neutral)
        pose = renderer.pose(neutral)
        for yaw in (0, 45, -75):
            view = cameras.aim(View(0, yaw, 0, 24, 0.6), neutral[model.topology.landmarks], PIXELS)
            cells.append(Cell(renderer.color(pose, view, ROOM, grey), f"{name}, {yaw} degrees"))
    return [Cell(np.asarray(Image.fromarray(c.picture).reduce(2)), c.caption) for c in cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--face_model", choices=face_models.FACE_MODELS, default="procedural")
    parser.add_argument("--people", type=int, nargs="+", default=[0, 1, 5, 8])
    options = parser.parse_args()
    model = face_models.load(options.face_model)
    with Renderer(model.topology, PIXELS) as renderer:
        sheet([row(model, renderer, index) for index in options.people]).save(options.output)


if __name__ == "__main__":
    main()
