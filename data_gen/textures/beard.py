"""Beards longer than stubble: moustache, goatee, short and full; painted at the roots, wisps over it."""

import dataclasses

import numpy as np
import scipy.sparse

from data_gen.face_models import MATERIALS, Topology
from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures import HairMesh
from data_gen.textures.anatomy import Anatomy
from data_gen.textures.hair import Hair, hair_color
from data_gen.textures.noise import noise, smoothstep
from data_gen.textures.strand_texture import VARIANTS

LENGTH_MM = {"moustache": 7.0, "goatee": 11.0, "short": 7.0, "full": 17.0}
WISPS = {"moustache": 360, "goatee": 600, "short": 1100, "full": 1400}
LIP_CLEARANCE_MM = 2.0  # from the lips' border that no root enters


@dataclasses.dataclass(frozen=True)
class Beard:
    """`kind` of `LENGTH_MM`, `length` in mm, and the hair it is made of."""

    kind: str
    length: float
    hair: Hair


def choose(identity: Identity, hair: Hair) -> Beard | None:
    """The beard of an identity; None for the shaved, the stubbly and women."""
    rng = stream(identity.seed, "beard")
    group = ETHNICITIES[identity.ethnicity]
    share = {"east_asian": 0.10, "middle_eastern": 0.48, "south_asian": 0.40}.get(group, 0.28)
    if GENDERS[identity.gender] != "male" or rng.random() > share or identity.age < 20:
        return None
    kind = str(rng.choice(list(LENGTH_MM), p=(0.18, 0.18, 0.40, 0.24)))
    grey = float(np.clip(1.25 * hair.grey + 0.05 * (identity.age > 45), 0, 1))  # beards grey first
    own = dataclasses.replace(hair, grey=grey, color=hair.color * rng.uniform(0.75, 1.1))
    return Beard(kind, LENGTH_MM[kind] * float(rng.uniform(0.75, 1.3)), own)


def density(kind: str, face: Anatomy) -> np.ndarray:
    """(P,) 0..1: where a beard grows."""
    x, y, z = face.points.T
    mouth_y, nose_y, chin_y = face.landmarks[48:60, 1].mean(), face.landmarks[33, 1], face.landmarks[8, 1]
    lower_y = face.landmarks[57, 1]
    x = np.abs(x)
    free = smoothstep(-LIP_CLEARANCE_MM + 1.5, -LIP_CLEARANCE_MM - 1.5, face.lips)
    arch = np.interp(x, [0, 7, 20, 34], [nose_y - 3, nose_y - 1, nose_y - 4, mouth_y + 6])
    lip = smoothstep(arch, arch - 5, y) * smoothstep(mouth_y - 7, mouth_y - 1, y) * smoothstep(36, 27, x)
    wide = np.interp(y, [chin_y - 14, chin_y + 4, mouth_y], [14, 27, 34])
    chin = smoothstep(wide, wide - 8, x) * smoothstep(nose_y - 8, nose_y - 14, y)
    chin *= smoothstep(chin_y - 14, chin_y - 4, y)
    line = [nose_y - 2, nose_y - 3, nose_y - 13, mouth_y - 2, mouth_y + 6, -6, 4]
    top = np.interp(x, [0, 14, 24, 36, 52, 66, 78], line)
    jaw = smoothstep(-2, 5, top - y) * smoothstep(chin_y - 26, chin_y - 9, y + 0.25 * (50 - x)) * smoothstep(-12, 6, z)
    bare = np.exp(-(((x - 19) / 6) ** 2) - ((y - lower_y + 5) / 5) ** 2)  # beside the lower lip grows little
    whole = np.maximum(jaw * (1 - 0.3 * bare), lip)
    area = {"moustache": lip, "goatee": np.maximum(lip, chin * (1 - 0.8 * bare))}.get(kind, whole)
    inner = (x < 36) & (np.abs(y - mouth_y) < 16) & (face.normals[:, 2] < 0.25)  # the back of the lips
    return (area * free * ~inner * smoothstep(-18, 0, z)).astype(np.float32)


def paint_beard(identity: Identity, beard: Beard, face: Anatomy, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The beard's roots and shadow over (P, 3) linear RGB of skin: (P, 3) colour and (P,) opacity."""
    rng = stream(identity.seed, "beard roots")
    lip_y, chin_y = face.landmarks[33, 1], face.landmarks[8, 1]
    y, z = face.points[:, 1], face.points[:, 2]
    near = np.flatnonzero((y < lip_y + 45) & (y > chin_y - 40) & (z > -20))
    points = face.points[near]
    comb = np.column_stack([points[:, 0], points[:, 2], points[:, 1] * 0.25]).astype(np.float32)
    strand = 0.4 * noise(rng, comb, 0.9) + 0.35 * rng.standard_normal(len(near), dtype=np.float32)
    area = density(
        beard.kind, dataclasses.replace(face, points=points, normals=face.normals[near], lips=face.lips[near])
    )
    ragged = np.clip(area + 0.35 * area * (1 - area) * noise(rng, points, 5.0), 0, 1)
    thick = 0.82 + 0.15 * smoothstep(5.0, 12.0, np.float64(beard.length))
    opacity = (thick * smoothstep(0.05, 0.8, ragged) * (0.9 + 0.1 * smoothstep(-1, 1, strand)))[:, None]
    tint = (0.30 + 0.35 * beard.hair.grey) * hair_color(beard.hair, 0.6 * strand, 1.2 * strand)
    out = color.copy()
    out[near] = color[near] * (1 - opacity) + tint * opacity
    covered = np.zeros(len(color), np.float32)
    covered[near] = opacity[:, 0]
    return out.astype(np.float32), covered


def grow(
    identity: Identity, beard: Beard, topology: Topology, face: Anatomy, texture: np.ndarray, nodes: int
) -> HairMesh:
    """The wisps of a beard.

    Args:
      face: of the V vertices.
      texture: of the strands, which the beard shares with the hair of the head.
      nodes: of each wisp, as many as those of the hair have.
    """
    rng = stream(identity.seed, "beard shape")
    skin = topology.faces[topology.materials == MATERIALS.index("skin")]
    chin_y = face.landmarks[8, 1]
    dense = smoothstep(0.45, 1.0, density(beard.kind, face))  # the border is painted only
    weight = (dense**2 * smoothstep(chin_y - 16, chin_y - 4, face.points[:, 1]))[skin].mean(1)
    a, b, c = (face.points[skin[:, i]].astype(np.float64) for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1) * weight
    count = WISPS[beard.kind]
    chosen = skin[rng.choice(len(skin), count, p=area / area.sum())]  # [W, 3] vertices
    mix = rng.dirichlet((1.0, 1.0, 1.0), count)
    root = np.einsum("wk,wkd->wd", mix, face.points[chosen])
    normal = np.einsum("wk,wkd->wd", mix, face.normals[chosen])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    above_lip = root[:, 1] > face.landmarks[48:60, 1].mean()
    to_lip = np.maximum(-np.einsum("wk,wk->w", mix, face.lips[chosen]), 0.0)
    length = beard.length * rng.uniform(0.6, 1.15, count)
    length *= 1 - 0.55 * smoothstep(40.0, 62.0, np.abs(root[:, 0]))  # short at the sideburns
    inner = np.einsum("wk,wk->w", mix, dense[chosen])
    length *= 0.25 + 0.75 * inner  # and at the border, over which no single whisker hangs
    near_lip = np.abs(root[:, 0]) < 32
    length = np.where(above_lip & near_lip, np.minimum(length, 2.0 + 1.3 * to_lip), length)
    side = np.sign(root[:, 0])[:, None] * np.array([1.0, 0, 0])
    flow = np.array([0.0, -1.0, 0.0]) + np.where((above_lip & near_lip)[:, None], 1.1 * side, -0.15 * side)
    flow = flow + 0.22 * rng.standard_normal((count, 3))
    flow -= (flow * normal).sum(-1, keepdims=True) * normal
    flow /= np.maximum(np.linalg.norm(flow, axis=-1, keepdims=True), 1e-6)
    at = np.linspace(0, 1, nodes)[None, :, None]
    out = (0.42 * (at - 0.35 * at**2)) * normal[:, None]
    drop = np.array([0.0, -0.25, 0.0]) * at**2 * (~above_lip)[:, None, None]
    points = root[:, None] + 0.3 * normal[:, None] + length[:, None, None] * (at * flow[:, None] + out + drop)
    column = rng.integers(0, VARIANTS, count) / VARIANTS
    fine = smoothstep(0.1, 0.7, inner) * (1.0 + 0.04 * beard.length)
    rows = np.repeat(np.arange(count * nodes), 3)
    columns = np.repeat(chosen, nodes, axis=0).ravel()
    values = np.repeat(mix, nodes, axis=0).ravel().astype(np.float32)
    return HairMesh(
        positions=(points * face.scale + face.origin).astype(np.float32),
        normals=np.broadcast_to(normal[:, None], points.shape).astype(np.float32),
        widths=(rng.uniform(0.7, 1.3, count) * fine).astype(np.float32),
        columns=np.stack([column, column + 1 / VARIANTS], -1).astype(np.float32),
        light=(1 - 0.3 * rng.random(count)).astype(np.float32),
        shine=np.full(count, 0.35, np.float32),
        tone=(0.85 * np.exp(0.10 * rng.standard_normal(count))).astype(np.float32),
        beard=np.ones(count, bool),
        hangs=np.zeros((count, nodes), bool),
        binding=scipy.sparse.csr_array((values, (rows, columns)), shape=(count * nodes, len(face.points))),
        texture=texture,
    )


def join(hair: HairMesh | None, beard: HairMesh) -> HairMesh:
    """Both as one; they share their texture."""
    if hair is None:
        return beard
    joined = {
        f.name: np.concatenate([getattr(hair, f.name), getattr(beard, f.name)])
        for f in dataclasses.fields(HairMesh)
        if f.name not in ("binding", "texture")
    }
    binding = scipy.sparse.csr_array(scipy.sparse.vstack([hair.binding, beard.binding]))
    return HairMesh(**joined, binding=binding, texture=hair.texture)
