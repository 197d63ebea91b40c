"""Shadow map of the key light: how far from it the head's and the hair's nearest surface lies.

Williams, "Casting curved shadows on curved surfaces" (1978); edges softened by percentage-closer filtering (Reeves et
al., 1987), in hair by its depth. One map serves all views of a pose, since lamps stand still in the world.
"""

import numpy as np

from data_gen.face_models import MATERIALS, Topology

SIZE = 320  # texels along a side: about a millimetre each

SHADOW_VERTEX = """#version 330 core
layout(location = 0) in vec3 position;
uniform mat4 world_to_clip;
void main() { gl_Position = world_to_clip * vec4(position, 1.0); }
"""

SHADOW_FRAGMENT = """#version 330 core
void main() {}
"""

SHADOWS = """
const float PENUMBRA_MM = 4.0, SCATTER_MM = 10.0, DEEPEST_MM = 18.0;
// fairly even points of a disc (Vogel's spiral)
const vec2 DISC[8] = vec2[](vec2(0.25, 0.0), vec2(-0.319, 0.292), vec2(0.049, -0.557), vec2(0.402, 0.525),
    vec2(-0.739, -0.131), vec2(0.7, -0.445), vec2(-0.234, 0.87), vec2(-0.446, -0.859));

float per_mm() { return length(vec3(world_to_shadow[0].x, world_to_shadow[1].x, world_to_shadow[2].x)); }

float unshadowed(vec3 position, vec3 n) {
    // the offset along the normal keeps a surface out of its own shadow (Holbert, "Saying goodbye to shadow acne")
    vec3 at = (world_to_shadow * vec4(position + 2.0 * n, 1.0)).xyz;
    float reach = PENUMBRA_MM * per_mm(), sum = 0.0;
    for (int i = 0; i < 8; ++i) sum += textureLod(shadow_map, vec3(at.xy + reach * DISC[i], at.z), 0.0);
    return 0.125 * sum;
}

// Strands scatter the light on: a body of hair darkens by and by, down to the depth that none reaches.
float let_through(vec3 position) {
    vec3 at = (world_to_shadow * vec4(position, 1.0)).xyz;
    float reach = SCATTER_MM * per_mm(), layer = 0.125 * DEEPEST_MM * per_mm(), sum = 0.0;
    for (int i = 0; i < 8; ++i)
        sum += textureLod(shadow_map, vec3(at.xy + reach * DISC[i], at.z - layer * float(i + 1)), 0.0);
    return 0.125 * sum;
}
"""

CLIP_TO_MAP = np.array([[0.5, 0, 0, 0.5], [0, 0.5, 0, 0.5], [0, 0, 0.5, 0.5], [0, 0, 0, 1]])
CELL_MM = 7.0
HAIR_MM = 25.0  # how far it stands off the head


def casters(topology: Topology) -> np.ndarray:
    """(n, 3) triangles over the vertices that stand in for the skin: one vertex for each cube of `CELL_MM`.

    Rossignac & Borrel, "Multi-resolution 3D approximations for rendering complex scenes" (1993). Soft shadows do not
    show the difference.
    """
    kept, faces = np.unique(topology.faces[topology.materials == MATERIALS.index("skin")], return_inverse=True)
    points = topology.template[kept]
    _, cell = np.unique(np.floor(points / CELL_MM).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    middle = np.stack([np.bincount(cell, x) for x in points.T], -1) / np.bincount(cell)[:, None]
    off = np.linalg.norm(points - middle[cell], axis=1)
    nearest = np.lexsort((off, cell))  # the vertex nearest to the middle of its cell's vertices comes first
    first = kept[nearest[np.unique(cell[nearest], return_index=True)[1]]]
    faces = np.unique(first[cell[faces.reshape(-1, 3)]], axis=0)
    return faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]


def ball(vertices: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle (3,) and radius of a ball around (V, 3) vertices and the hair on them, mm."""
    middle = (vertices.max(0) + vertices.min(0)) / 2
    x, y, z = (vertices - middle).T
    return middle.astype(np.float64), float(np.sqrt((x * x + y * y + z * z).max())) + HAIR_MM


def world_to_clip(towards_light: np.ndarray, middle: np.ndarray, radius: float) -> np.ndarray:
    """(4, 4) parallel projection of a ball, as the light sees it, to -1..1.

    Args:
      towards_light: (3,) unit.
      middle: (3,) mm.
      radius: mm.
    """
    right = np.cross((0.0, 1.0, 0.0) if abs(towards_light[1]) < 0.9 else (1.0, 0.0, 0.0), towards_light)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(towards_light, right), towards_light])
    scaled = np.diag([1.0, 1.0, -1.0]) @ rotation / radius  # depth grows away from the light
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scaled, -scaled @ middle
    return matrix
