"""The procedural painter: a person's whole texture from the identity's seed and the shape of the face model alone."""

import dataclasses

import numpy as np

from data_gen.face_models import MATERIALS, FaceModel, Topology
from data_gen.scene import Identity
from data_gen.textures import HairMesh, Texture, beard, brows, clothes, hair, hairline, hairstyle, packing
from data_gen.textures.anatomy import Anatomy, locate
from data_gen.textures.atlas import Atlas, bake, vertex_normals
from data_gen.textures.folds import Patch, patches
from data_gen.textures.hair_shade import hair_shade
from data_gen.textures.parts import parts
from data_gen.textures.skin import skin
from data_gen.textures.skin_ground import SkinGround
from data_gen.textures.skull import Skull, skull
from data_gen.textures.wrinkles import wrinkles


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
    texel_mm: np.ndarray  # longer sides of the texels


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
        ground, longest = SkinGround(texels), atlas.longest_mm()
        _canvases[key] = Canvas(
            topology, atlas, texels, vertices, ground, folds, creases, is_skin, head, bottom, longest
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
    layers.roughness += 0.25 * rest.dark  # no light glints at the bottom of a furrow
    color = layers.color()
    roughness, height = layers.roughness, layers.height
    bearded, shaggy = beard.choose(identity, look), np.float32(0)
    if bearded:
        color, shaggy = beard.paint_beard(identity, bearded, face, color)
    color, browed = brows.paint_brows(identity, look, face, color)
    color, hairy, strands = hairline.paint_scalp(identity, look, face, color)
    hairy = np.maximum(np.maximum(hairy, browed), shaggy)
    subsurface = 1 - hairy
    roughness = roughness * (1 - hairy) + 0.97 * hairy
    height = height * (1 - hairy) + strands
    worn = clothes.top(identity)
    cloth = clothes.dress(identity, worn, face, board.bottom, board.texel_mm)
    color = color * ((1 - cloth.opacity) * cloth.shade)[:, None] + cloth.color * cloth.opacity[:, None]
    roughness = roughness * (1 - cloth.opacity) + 0.95 * cloth.opacity
    height = height * (1 - cloth.opacity) + cloth.height * cloth.opacity
    subsurface = subsurface * (1 - cloth.opacity)

    for mine, rgb, rough, soft in parts(identity, atlas, face, 0.6 * look.color):
        color[mine], roughness[mine], subsurface[mine], height[mine] = rgb, rough, soft, 0.0
    bare = (face.front > 0.5) & (atlas.materials == MATERIALS.index("skin"))
    mesh = hairstyle.grow(identity, look, board.vertices, board.skull)
    painted = hairline.painted(look, board.vertices, board.vertex_is_skin)
    albedo, gloss = packing.albedo(atlas, color, roughness)
    return Texture(
        albedo=albedo,
        roughness=gloss,
        surface=packing.surface(atlas, height, subsurface),
        wrinkles=packing.wrinkles(atlas, board.wrinkles, full),
        displacement=clothes.displacement(worn, board.vertices, board.vertex_is_skin, board.bottom),
        hair=_bearded(mesh, identity, look, bearded, board) if bearded else mesh,
        painted_hair=painted,
        shade=_shade(mesh if look.cut.top > 12 else None, painted, board),  # a buzz cut shades nothing
        exposure=float((0.30 / np.average(color[bare])) ** 0.25),
    )


def _bearded(mesh: HairMesh | None, identity: Identity, look: hair.Hair, own: beard.Beard, board: Canvas) -> HairMesh:
    """Hair and beard."""
    texture, nodes = hairstyle.strand_colors(look) if mesh is None else mesh.texture, look.cut.nodes
    return beard.join(mesh, beard.grow(identity, own, board.topology, board.vertices, texture, nodes))


def _shade(mesh: HairMesh | None, painted: np.ndarray, board: Canvas) -> np.ndarray:
    """(V,) of `Texture`: on the face, the ears and the neck."""
    face = board.vertices
    shaded = np.flatnonzero(board.vertex_is_skin & (painted < 0.5) & (face.points[:, 2] > -60))
    shade = np.ones(len(painted), np.float32)
    shade[shaded] = hair_shade(mesh, board.topology.template[shaded], face.normals[shaded], face.scale)
    return shade
