"""Draws a head's hair over the head: in pictures wisp upon wisp from far to near, in fields as something that is no
face.

Most wisps lie below others. Which ones a camera sees hardly depends on the face's expression, so `HairDrawing` finds
out once for each camera, on the face at rest, and draws no others.
"""

import dataclasses

import numpy as np

from data_gen import gl_objects, hair_shading
from data_gen.textures import HairMesh

HAIR_VALUE = -1.0  # what hair writes into a field, where heads write 0..1
FLAT_WIDTH = 1.3  # share of a wisp's width that casts shadows: a little more, for it lies flat and faces no lamp
TAPER = ((0.0, 0.14, 0.65, 1.0), (0.15, 1.0, 0.9, 0.2))  # width of a wisp along its length
OPAQUE = 0.5  # opacity above which strands hide what is behind them
INNER = 0.85  # light below which the edges of a wisp are covered by others
HIDDEN = -0.25  # cosine to the camera below which hair that lies on the head is behind it
FAINT = 0.1  # opacity below which an edge is not missed
MARGIN = 0.9  # of the picture in the search for what is seen: faces move
VIEWS = 16  # remembered at once


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a camera sees of the hair: index buffers and how many indices each has."""

    dense: tuple[int, int]  # near wisps first
    edges: tuple[int, int]  # far wisps first
    field: tuple[int, int]  # those of `dense` that are no beard


class HairDrawing:
    """The hair of the current identity on the GPU; `gl` is the module `OpenGL.GL`, `size` that of its pictures."""

    def __init__(self, gl, template: np.ndarray, size: int):
        self._gl, self._template, self._size = gl, template, size
        self._seen: dict[bytes, _Seen] = {}  # by camera
        self._hair: HairMesh | None = None
        self._posed: np.ndarray | None = None  # the head whose hair the buffers hold
        self._program = gl_objects.program(gl, hair_shading.HAIR_VERTEX, hair_shading.HAIR_FRAGMENT)
        self._numbers = gl_objects.program(gl, hair_shading.NUMBER_VERTEX, hair_shading.NUMBER_FRAGMENT)
        self._field_program = gl_objects.program(gl, hair_shading.FIELD_VERTEX, hair_shading.FIELD_FRAGMENT)
        self._number_target = gl_objects.target(gl, size, gl.GL_R32F)
        self._texture = gl.glGenTextures(1)
        self._centers, self._static, self._flat = (gl_objects.buffer(gl, np.zeros(4, np.float32)) for _ in "csf")
        self._array, self._shadow_array = gl.glGenVertexArrays(2)
        gl.glBindVertexArray(self._array)
        gl_objects.attribute(gl, self._centers, 0, 3)
        for location, width, offset in ((1, 3, 0), (2, 3, 12), (3, 4, 24), (4, 2, 40)):
            gl_objects.attribute(gl, self._static, location, width, stride=48, offset=offset)
        gl.glBindVertexArray(self._shadow_array)
        gl_objects.attribute(gl, self._flat, 0, 3)
        self._casters = self._index_buffer(np.zeros(0, np.uint32))

    def set(self, hair: HairMesh | None, rest: np.ndarray | None = None) -> None:
        """Uploads a person's hair, None for none; `rest`: (V, 3) mm, the face at rest, None for the template."""
        self._hair, self._posed = hair, None
        self._forget()
        if hair is None:
            return
        gl, (wisps, nodes) = self._gl, hair.positions.shape[:2]
        strand = np.gradient(hair.positions, axis=1)
        strand /= np.maximum(np.linalg.norm(strand, axis=-1, keepdims=True), 1e-6)
        v = np.linspace(0, 1, nodes, dtype=np.float32)
        half = 0.5 * hair.widths[:, None] * np.interp(v, *TAPER).astype(np.float32)  # [W, S]
        self._rest = hair.positions if rest is None else self._moved(rest)  # [W, S, 3]
        static = np.empty((wisps, nodes, 2, 12), np.float32)
        static[..., :3], static[..., 3:6] = hair.normals[:, :, None], strand[:, :, None]
        static[..., 6] = hair.columns[:, None]
        static[..., 7] = v[:, None]
        static[..., 8] = half[..., None] * np.array([-1, 1])
        static[..., 9] = hair.light[:, None, None]
        static[..., 10] = hair.tone[:, None, None]
        static[..., 11] = hair.shine[:, None, None]
        gl_objects.update(gl, self._static, static)
        side = np.cross(strand, hair.normals)
        wide = 0.5 * FLAT_WIDTH * hair.widths[:, None] / np.maximum(np.linalg.norm(side, axis=-1), 1e-6)
        side *= wide[..., None]
        self._flat_sides = np.stack([-side, side], 2).astype(np.float32)  # [W, S, 2, 3]
        a = 2 * np.arange(nodes - 1)[:, None]
        quads = a + np.array([0, 1, 2, 2, 1, 3])  # [S - 1, 6]
        first = 2 * nodes * np.arange(wisps)[:, None]
        self._triangles = (first + quads.ravel()).astype(np.uint32).reshape(wisps, nodes - 1, 6)
        coarse = 2 * np.append(np.arange(0, max(nodes - 2, 1), 2), max(nodes - 2, 1))[:, None]  # and not the tips
        pairs = np.concatenate([coarse[:-1] + (0, 1), coarse[1:] + (0, 1)], 1)[:, [0, 1, 2, 2, 1, 3]]
        gl.glBindVertexArray(self._shadow_array)
        gl.glDeleteBuffers(1, [self._casters[0]])
        self._casters = self._index_buffer((first + pairs.ravel()).astype(np.uint32))
        texels = hair.texture.copy()
        texels[..., :3] = np.sqrt(np.clip(texels[..., :3], 0, 1))
        texels = np.round(np.clip(texels, 0, 1) * 255).astype(np.uint8)
        rows, columns = texels.shape[:2]
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._texture)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, columns, rows, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_NEAREST)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)

    def look(self, world_to_clip: np.ndarray) -> None:
        """Finds out what a camera (4, 4) sees, unless that is known; leaves another framebuffer bound."""
        key = world_to_clip.tobytes()
        if self._hair is None or key in self._seen:
            return
        if len(self._seen) == VIEWS:
            self._forget()
        gl, hair = self._gl, self._hair
        self._upload(self._rest)
        self._posed = None
        ahead = world_to_clip[3, :3]  # clip w is the depth along the optical axis
        middle = self._rest.shape[1] // 2
        depth = self._rest[:, middle] @ ahead + hair.normals[:, middle] @ ahead * 6.0
        order = np.argsort(depth, kind="stable")
        facing = -(hair.normals @ (ahead / np.linalg.norm(ahead)))  # [W, S]
        front = hair.hangs | (facing > HIDDEN)
        front = front[:, :-1] | front[:, 1:]
        near = self._triangles[order][front[order]].reshape(-1, 3)
        covering = hair.light[order] > INNER
        far = self._triangles[order[::-1]][(front[order] & covering[:, None])[::-1]].reshape(-1, 3)

        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._number_target)
        gl.glViewport(0, 0, self._size, self._size)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        self._aim(self._numbers, np.diag([MARGIN, MARGIN, 1, 1]) @ world_to_clip)
        gl_objects.bind_texture(gl, self._numbers, "strand_map", 0, self._texture)
        dense = self._visible(near, OPAQUE)
        gl.glDepthMask(gl.GL_FALSE)
        edges = self._visible(far, FAINT)
        gl.glDepthMask(gl.GL_TRUE)
        wisp = dense[:, 0] // (2 * self._rest.shape[1])
        self._seen[key] = _Seen(*map(self._index_buffer, (dense, edges, dense[~hair.beard[wisp]])))

    def _visible(self, triangles: np.ndarray, dense: float) -> np.ndarray:
        """(n, 3) indices: of those given, in their order, the ones of which a pixel or more is in sight."""
        gl = self._gl
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        gl.glUniform1f(gl_objects.location(gl, self._numbers, "dense"), dense)
        buffer, count = self._index_buffer(triangles)
        gl.glDrawElements(gl.GL_TRIANGLES, count, gl.GL_UNSIGNED_INT, None)
        numbers = np.empty((self._size, self._size), np.float32)
        gl.glReadPixels(0, 0, self._size, self._size, gl.GL_RED, gl.GL_FLOAT, numbers)
        gl.glDeleteBuffers(1, [buffer])
        seen = np.zeros(len(triangles) + 1, bool)
        seen[numbers.astype(np.int64)] = True
        seen = seen[1:].reshape(-1, 2).any(1)  # quads
        return triangles.reshape(-1, 2, 3)[seen].reshape(-1, 3)

    def _index_buffer(self, triangles: np.ndarray) -> tuple[int, int]:
        """Bound to the bound vertex array: name, and number of indices."""
        gl, triangles = self._gl, np.ascontiguousarray(triangles)
        name = gl.glGenBuffers(1)
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, name)
        gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, triangles.nbytes, triangles, gl.GL_STATIC_DRAW)
        return name, triangles.size

    def _forget(self) -> None:
        names = [name for seen in self._seen.values() for name, _ in dataclasses.astuple(seen)]
        if names:
            self._gl.glDeleteBuffers(len(names), names)
        self._seen.clear()

    def color(
        self, vertices: np.ndarray, world_to_clip: np.ndarray, set_light, shadow_map: int, world_to_shadow: np.ndarray
    ) -> None:
        """Blends the wisps, the far ones first, over the head that the bound framebuffer holds.

        Args:
          vertices: (V, 3) mm of the head.
          world_to_clip: (4, 4), of a camera that `look` was given.
          set_light: sets the light uniforms of a program in use.
          shadow_map: texture of the key light's, and (4, 4) `world_to_shadow` to 0..1 in it.
        """
        if self._hair is None:
            return
        gl, seen = self._gl, self._seen[world_to_clip.tobytes()]
        self._pose(vertices)
        self._aim(self._program, world_to_clip)
        set_light(self._program)
        gl_objects.matrix(gl, self._program, "world_to_shadow", world_to_shadow)
        gl_objects.bind_texture(gl, self._program, "shadow_map", 1, shadow_map)
        gl_objects.bind_texture(gl, self._program, "strand_map", 0, self._texture)
        dense = gl_objects.location(gl, self._program, "dense")
        gl.glUniform1f(dense, OPAQUE)  # first what is dense, near wisps first: they spare the many below them
        self._draw(*seen.dense)
        gl.glUniform1f(dense, 0.0)  # then, over it, the thin edges of what lies before it
        gl.glDepthMask(gl.GL_FALSE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFuncSeparate(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA, gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        self._draw(*seen.edges)
        gl.glDisable(gl.GL_BLEND)
        gl.glDepthMask(gl.GL_TRUE)

    def _draw(self, indices: int, count: int) -> None:
        gl = self._gl
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, indices)
        gl.glDrawElements(gl.GL_TRIANGLES, count, gl.GL_UNSIGNED_INT, None)

    def field(self, vertices: np.ndarray, world_to_clip: np.ndarray, beards: bool) -> None:
        """Writes `HAIR_VALUE` before the head in the field that the bound framebuffer holds: wisps without gaps, of
        beards only if asked.

        Args:
          vertices: (V, 3) mm of the head.
          world_to_clip: (4, 4), of a camera that `look` was given.
        """
        if self._hair is None:
            return
        gl = self._gl
        self._pose(vertices)
        self._aim(self._field_program, world_to_clip)
        gl.glUniform1f(gl_objects.location(gl, self._field_program, "value"), HAIR_VALUE)
        seen = self._seen[world_to_clip.tobytes()]
        self._draw(*(seen.dense if beards else seen.field))

    def shadow(self, vertices: np.ndarray) -> None:
        """Draws all hair as the bound framebuffer's program in use does."""
        if self._hair is None:
            return
        gl = self._gl
        self._pose(vertices)
        gl.glBindVertexArray(self._shadow_array)
        gl.glDisable(gl.GL_CULL_FACE)
        self._draw(*self._casters)

    def _aim(self, program: int, world_to_clip: np.ndarray) -> None:
        """Readies a program that draws ribbons for a camera."""
        gl = self._gl
        gl.glUseProgram(program)
        gl_objects.matrix(gl, program, "world_to_clip", world_to_clip)
        rows = world_to_clip[[0, 1, 3]]
        eye = np.linalg.solve(rows[:, :3], -rows[:, 3])
        gl.glUniform3f(gl_objects.location(gl, program, "eye"), *map(float, eye))
        gl.glBindVertexArray(self._array)
        gl.glDisable(gl.GL_CULL_FACE)

    def _pose(self, vertices: np.ndarray) -> None:
        """Moves the hair with the head and uploads it, unless it lies there."""
        if vertices is self._posed:
            return
        nodes = self._moved(vertices)
        self._upload(nodes)
        gl_objects.update(self._gl, self._flat, nodes[:, :, None] + self._flat_sides)
        self._posed = vertices

    def _moved(self, vertices: np.ndarray) -> np.ndarray:
        """(W, S, 3) nodes of the hair on a head."""
        motion = self._hair.binding @ (vertices - self._template).astype(np.float32)
        return self._hair.positions + motion.reshape(self._hair.positions.shape)

    def _upload(self, nodes: np.ndarray) -> None:
        gl_objects.update(self._gl, self._centers, np.repeat(nodes.reshape(-1, 3), 2, axis=0))
