"""Draws a head's hair over the head: in pictures wisp upon wisp from far to near, in fields as something that is no
face."""

import numpy as np

from data_gen import gl_objects, hair_shading
from data_gen.textures import HairMesh

HAIR_VALUE = -1.0  # what hair writes into a field, where heads write 0..1
FIELD_WIDTH = (
    1.3  # share of a wisp's width that hides things in a field: a little more, for it lies flat and faces no camera
)
TAPER = ((0.0, 0.14, 0.65, 1.0), (0.15, 1.0, 0.9, 0.2))  # width of a wisp along its length
OPAQUE = 0.5  # opacity above which strands hide what is behind them
INNER = 0.85  # light below which the edges of a wisp are covered by others
HIDDEN = -0.25  # cosine to the camera below which hair that lies on the head is behind it


class HairDrawing:
    """The hair of the current identity on the GPU; `gl` is the module `OpenGL.GL`."""

    def __init__(self, gl, template: np.ndarray):
        self._gl, self._template = gl, template
        self._hair: HairMesh | None = None
        self._posed: np.ndarray | None = None  # the head whose hair the buffers hold
        self._program = gl_objects.program(gl, hair_shading.HAIR_VERTEX, hair_shading.HAIR_FRAGMENT)
        self._texture = gl.glGenTextures(1)
        self._centers, self._static, self._field_nodes = (gl_objects.buffer(gl, np.zeros(4, np.float32)) for _ in "csf")
        self._indices, self._field_indices = gl.glGenBuffers(2)
        self._array, self._field_array = gl.glGenVertexArrays(2)
        gl.glBindVertexArray(self._array)
        gl_objects.attribute(gl, self._centers, 0, 3)
        for location, width, offset in ((1, 3, 0), (2, 3, 12), (3, 4, 24), (4, 1, 40)):
            gl_objects.attribute(gl, self._static, location, width, stride=44, offset=offset)
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, self._indices)
        gl.glBindVertexArray(self._field_array)
        gl_objects.attribute(gl, self._field_nodes, 0, 3, stride=16)
        gl_objects.attribute(gl, self._field_nodes, 1, 1, stride=16, offset=12)
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, self._field_indices)

    def set(self, hair: HairMesh | None) -> None:
        """Uploads a person's hair; None for none."""
        self._hair, self._posed = hair, None
        if hair is None:
            return
        gl, (wisps, nodes) = self._gl, hair.positions.shape[:2]
        strand = np.gradient(hair.positions, axis=1)
        strand /= np.maximum(np.linalg.norm(strand, axis=-1, keepdims=True), 1e-6)
        v = np.linspace(0, 1, nodes, dtype=np.float32)
        half = 0.5 * hair.widths[:, None] * np.interp(v, *TAPER).astype(np.float32)  # [W, S]
        static = np.empty((wisps, nodes, 2, 11), np.float32)
        static[..., :3], static[..., 3:6] = hair.normals[:, :, None], strand[:, :, None]
        static[..., 6] = hair.columns[:, None]
        static[..., 7] = v[:, None]
        static[..., 8] = half[..., None] * np.array([-1, 1])
        static[..., 9] = hair.light[:, None, None]
        static[..., 10] = hair.tone[:, None, None]
        gl_objects.update(gl, self._static, static)
        side = np.cross(strand, hair.normals)
        wide = 0.5 * FIELD_WIDTH * hair.widths[:, None] / np.maximum(np.linalg.norm(side, axis=-1), 1e-6)
        side *= wide[..., None]
        self._field_sides = np.stack([-side, side], 2).astype(np.float32)  # [W, S, 2, 3]
        a = 2 * np.arange(nodes - 1)[:, None]
        quads = a + np.array([0, 1, 2, 2, 1, 3])  # [S - 1, 6]
        first = 2 * nodes * np.arange(wisps)[:, None]
        self._triangles = (first + quads.ravel()).astype(np.uint32).reshape(wisps, nodes - 1, 6)
        dense = (first + quads[: max(nodes - 2, 1)].ravel()).astype(np.uint32)  # not tips
        self._field_count = dense.size
        gl.glBindVertexArray(self._field_array)
        gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, dense.nbytes, dense, gl.GL_STATIC_DRAW)
        texels = hair.texture.copy()
        texels[..., :3] = np.sqrt(np.clip(texels[..., :3], 0, 1))
        texels = np.round(np.clip(texels, 0, 1) * 255).astype(np.uint8)
        rows, columns = texels.shape[:2]
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._texture)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, columns, rows, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_NEAREST)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)

    def color(self, vertices: np.ndarray, world_to_clip: np.ndarray, set_light) -> None:
        """Blends the wisps, the far ones first, over the head that the bound framebuffer holds.

        Args:
          vertices: (V, 3) mm of the head.
          world_to_clip: (4, 4).
          set_light: sets the light uniforms of a program in use.
        """
        if self._hair is None:
            return
        gl, hair = self._gl, self._hair
        self._pose(vertices)
        nodes = self._nodes  # [W, S, 3]
        ahead = world_to_clip[3, :3]  # clip w is the depth along the optical axis
        middle = nodes.shape[1] // 2
        depth = nodes[:, middle] @ ahead + hair.normals[:, middle] @ ahead * 6.0
        order = np.argsort(depth, kind="stable")
        facing = -(hair.normals @ (ahead / np.linalg.norm(ahead)))  # [W, S]
        seen = hair.hangs | (facing > HIDDEN)
        seen = seen[:, :-1] | seen[:, 1:]
        gl.glUseProgram(self._program)
        set_light(self._program)
        gl_objects.bind_texture(gl, self._program, "strand_map", 0, self._texture)
        gl_objects.matrix(gl, self._program, "world_to_clip", world_to_clip)
        gl.glBindVertexArray(self._array)
        gl.glDisable(gl.GL_CULL_FACE)
        dense = gl_objects.location(gl, self._program, "dense")
        gl.glUniform1f(dense, OPAQUE)  # first what is dense, near wisps first: they spare the many below them
        self._draw(self._triangles[order][seen[order]])
        gl.glUniform1f(dense, 0.0)  # then, over it, the thin edges of what lies before it
        gl.glDepthMask(gl.GL_FALSE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFuncSeparate(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA, gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        order = order[::-1][hair.light[order[::-1]] > INNER]
        self._draw(self._triangles[order][seen[order]])
        gl.glDisable(gl.GL_BLEND)
        gl.glDepthMask(gl.GL_TRUE)

    def _draw(self, triangles: np.ndarray) -> None:
        gl = self._gl
        gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, triangles.nbytes, triangles, gl.GL_STREAM_DRAW)
        gl.glDrawElements(gl.GL_TRIANGLES, triangles.size, gl.GL_UNSIGNED_INT, None)

    def field(self, vertices: np.ndarray) -> None:
        """Writes `HAIR_VALUE` before the head in the field that the bound framebuffer holds, by its program in use."""
        if self._hair is None:
            return
        gl = self._gl
        self._pose(vertices)
        gl.glBindVertexArray(self._field_array)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glDrawElements(gl.GL_TRIANGLES, self._field_count, gl.GL_UNSIGNED_INT, None)

    def _pose(self, vertices: np.ndarray) -> None:
        """Moves the hair with the head and uploads it, unless it lies there."""
        if vertices is self._posed:
            return
        motion = self._hair.binding @ (vertices - self._template).astype(np.float32)
        self._nodes = self._hair.positions + motion.reshape(self._hair.positions.shape)
        gl_objects.update(self._gl, self._centers, np.repeat(self._nodes.reshape(-1, 3), 2, axis=0))
        points = np.full((*self._nodes.shape[:2], 2, 4), HAIR_VALUE, np.float32)
        points[..., :3] = self._nodes[:, :, None] + self._field_sides
        gl_objects.update(self._gl, self._field_nodes, points)
        self._posed = vertices
