"""The procedural painter: a person's whole texture from the identity's seed and the shape of the face model alone."""

import dataclasses

import numpy as np

from data_gen.face_models import MATERIALS, FaceModel, Topology
from data_gen.scene import Identity, stream
from data_gen.textures import Texture, brows, hair, hairline, hairstyle, packing
from data_gen.textures.anatomy import Anatomy, locate
from data_gen.textures.atlas import Atlas, bake, vertex_normals
from data_gen.textures.folds import Patch, patches
from data_gen.textures.noise import noise, smoothstep
from data_gen.textures.parts import parts
from data_gen.textures.skin import skin
from data_gen.textures.skin_ground import SkinGround
from data_gen.textures.skull import Skull, skull
from data_gen.textures.wrinkles import wrinkles

CLOTH_MM = 3.0  # thickness of a collar


@dataclasses.dataclass(frozen=True)
class Canvas:
    """What all textures of one face model and size share."""

    topology: Topology
    atlas: Atlas
    texels: Anatomy
    vertices: Anatomy
    ground: SkinGround  # of the texels
    folds: dict[tuple[str, int], Patch]  # of the texels
    wrinkles: packing.WrinkleFrame
    vertex_is_skin: np.ndarray
    skull: Skull
    bottom: float  # y where the model ends below


_canvases: dict[tuple[int, int], Canvas] = {}


def canvas(topology: Topology, size: int) -> Canvas:
    """The canvas of a face model, baked on first use in a process."""
    key = id(topology), size
    if key not in _canvases:
        atlas = bake(topology, size)
        normals = vertex_normals(topology)
        vertices = locate(topology, topology.template, normals)
        is_skin = np.zeros(len(topology.template), bool)
        is_skin[topology.faces[topology.materials == MATERIALS.index("skin")]] = True
        head = skull(vertices, is_skin, hairline.is_ear(vertices))
        texels = locate(topology, atlas.positions, atlas.normals)
        folds = patches(texels, atlas.materials == MATERIALS.index("skin"))
        bottom = float(vertices.points[:, 1].min())
        creases = packing.WrinkleFrame.of(atlas, folds)
        _canvases[key] = Canvas(
            topology, atlas, texels, vertices, SkinGround(texels), folds, creases, is_skin, head, bottom
        )
    return _canvases[key]  # holds the topology, so that its id stays its own


def paint(identity: Identity, face_model: FaceModel, size: int) -> Texture:
    """The texture of an identity on a face model; `size` is the atlas' side in texels."""
    board = canvas(face_model.topology, size)
    atlas, face = board.atlas, board.texels
    look = hair.style(identity)
    layers = skin(identity, board.ground)
    full, rest = wrinkles(identity, face, board.folds)
    layers.height += rest.height
    layers.melanin += 0.5 * rest.dark
    layers.blood += 0.2 * rest.dark
    color = layers.color()
    roughness, height = layers.roughness, layers.height
    color = brows.paint_brows(identity, look, face, color)
    color, hairy, strands = hairline.paint_scalp(identity, look, face, color)
    subsurface = 1 - hairy
    roughness = roughness * (1 - hairy) + 0.72 * hairy
    height = height * (1 - hairy) + strands
    cloth, dress = clothes(identity, board, face)
    color = color * (1 - cloth[:, None]) + dress * cloth[:, None]
    roughness = roughness * (1 - cloth) + 0.95 * cloth
    subsurface = subsurface * (1 - cloth)

    for mine, rgb, rough, soft in parts(identity, atlas, face, 0.6 * look.color):
        color[mine], roughness[mine], subsurface[mine], height[mine] = rgb, rough, soft, 0.0
    bare = (face.front > 0.5) & (atlas.materials == MATERIALS.index("skin"))
    albedo, gloss = packing.albedo(atlas, color, roughness)
    return Texture(
        albedo=albedo,
        roughness=gloss,
        surface=packing.surface(atlas, height, subsurface),
        wrinkles=packing.wrinkles(atlas, board.wrinkles, full),
        displacement=displacement(board),
        hair=hairstyle.grow(identity, look, board.vertices, board.skull),
        exposure=float((0.30 / np.average(color[bare])) ** 0.25),
    )


def clothes(identity: Identity, board: Canvas, face: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(P,) opacity and (P, 3) linear RGB of a plain top with a round collar."""
    rng = stream(identity.seed, "clothes")
    hue, strong = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.45)
    tint = np.exp(rng.uniform(-3.2, -0.4)) * np.exp(strong * np.cos(hue + np.array([0.0, 2.1, 4.2])))
    below = _below_collar(board, face, rng.uniform(-6, 6))
    weave = 0.06 * noise(rng, face.points, 1.5) + 0.05 * noise(rng, face.points, 30.0)
    seam = 1 - 0.35 * np.exp(-(((below - 7.0) / 0.8) ** 2))
    opacity = smoothstep(-0.5, 0.5, below).astype(np.float32)
    return opacity, (tint * (np.exp(weave) * seam)[:, None]).astype(np.float32)


def displacement(board: Canvas) -> np.ndarray:
    """(V, 3) mm: cloth stands off the neck, along the template's normals."""
    face = board.vertices
    away = CLOTH_MM * smoothstep(-1.0, 2.0, _below_collar(board, face, 0.0)) * board.vertex_is_skin
    return (face.normals * away[:, None]).astype(np.float32)


def _below_collar(board: Canvas, face: Anatomy, drop: float) -> np.ndarray:
    """(P,) mm below the collar, which lies lower in front than at the back."""
    chin = face.landmarks[8, 1]
    middle = chin + 0.62 * (board.bottom - chin) - drop
    return middle - 0.30 * np.clip(face.points[:, 2], -60, 60) - face.points[:, 1]
