"""A sheet to look at: which pixels of a frame are kept as face, and what becomes of a frame painted around them.

    python -m tests.data_gen.diffusion.show_backdrops sheet.png --face_model=ict --people 0 1 5

A render of the same head with another person's hair, clothes, light and room stands in for what a model paints: it
shows where the borders lie, and nothing of how a model paints.
"""

import argparse
import dataclasses

import numpy as np

from data_gen import camera as cameras
from data_gen import face_models, plan, rooms
from data_gen.contact_sheet import Cell, sheet
from data_gen.diffusion import backdrop
from data_gen.render import Renderer, over
from data_gen.textures import paint

PIXELS, TEXELS = 224, 512


def row(model: face_models.FaceModel, renderer: Renderer, index: int) -> list[Cell]:
    cells, scenes = [], [s for s in plan.scenes(0, index) if s.expression_id == 0]
    person, other = scenes[0].identity, plan.scenes(0, index + 40)[0]
    neutral = model.neutral(person)
    mine = paint("procedural", person, model, TEXELS)
    theirs = paint("procedural", dataclasses.replace(person, seed=other.identity.seed), model, TEXELS)
    bare = backdrop.face_vertices(mine, len(neutral))
    for s in scenes:
        camera = cameras.aim(s.view, neutral[model.topology.landmarks], PIXELS)
        drawn = {}
        for name, texture, light, where in (("mine", mine, s.light, s), ("theirs", theirs, other.light, other)):
            renderer.set_texture(texture, neutral)
            behind = rooms.behind(rooms.panorama(where.identity.seed, where.room), s.view, PIXELS)
            pose = renderer.pose(neutral)
            head = renderer.color(pose, camera, light, None)
            drawn[name] = over(head, behind)
            if name == "mine":
                face = backdrop.kept(renderer.field(pose, bare, camera), head[..., 3])
        cells += [
            Cell(drawn["mine"], f"{index}, rendered"),
            Cell(np.where(face[..., None], drawn["mine"], np.uint8([255, 0, 255])), "what is kept"),
            Cell(drawn["theirs"], "painting"),
            Cell(backdrop.develop(drawn["mine"], drawn["theirs"], face, s.lens, s.seed), "frame"),
        ]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--face_model", choices=face_models.FACE_MODELS, default="procedural")
    parser.add_argument("--people", type=int, nargs="+", default=[0, 1, 5, 8, 12, 17])
    options = parser.parse_args()
    model = face_models.load(options.face_model)
    with Renderer(model.topology, PIXELS) as renderer:
        sheet([row(model, renderer, index) for index in options.people]).save(options.output)


if __name__ == "__main__":
    main()
