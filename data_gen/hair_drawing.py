"""Draws a head's hair over the head: in pictures shell upon shell, in fields as something that is no face."""

import ctypes
from collections.abc import Callable

import numpy as np

from data_gen import gl_objects, hair_shading
from data_gen.textures import HairMesh

HAIR_VALUE = -1.0  # what hair writes into a field, where heads write 0..1
FIELD_SHELL = 1  # the shell that hides things in a field: the outer ones let the head shine through


class HairDrawing:
    """The hair of the current identity on the GPU; `gl` is the module `OpenGL.GL`."""

    def __init__(self, gl, template: np.ndarray):
        self._gl, self._template = gl, template
        self._hair: HairMesh | None = None
        self._program = gl_objects.program(gl, hair_shading.HAIR_VERTEX, hair_shading.HAIR_FRAGMENT)
        self._texture = gl.glGenTextures(1)
        self._positions, self._attributes, self._nodes = (gl_objects.buffer(gl, np.zeros(4, np.float32)) for _ in "pan")
        self._indices, self._field_indices = gl.glGenBuffers(2)
        self._array, self._field_array = gl.glGenVertexArrays(2)
        gl.glBindVertexArray(self._array)
        gl_objects.attribute(gl, self._positions, 0, 3)
        for location, width, offset in ((1, 3, 0), (2, 3, 12), (3, 2, 24), (4, 2, 32)):
            gl_objects.attribute(gl, self._attributes, location, width, stride=40, offset=offset)
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, self._indices)
        gl.glBindVertexArray(self._field_array)
        gl_objects.attribute(gl, self._nodes, 0, 3, stride=16)
        gl_objects.attribute(gl, self._nodes, 1, 1, stride=16, offset=12)
        gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, self._field_indices)

    def set(self, hair: HairMesh | None) -> None:
        """Uploads a person's hair; None for none."""
        self._hair = hair
        if hair is None:
            return
        gl, (shells, nodes) = self._gl, hair.positions.shape[:2]
        gl_objects.update(gl, self._attributes, hair.attributes.reshape(shells * nodes, -1))
        layered = hair.faces[None] + np.arange(shells, dtype=np.uint32)[:, None, None] * np.uint32(nodes)
        for array, indices in ((self._array, layered), (self._field_array, hair.faces)):
            gl.glBindVertexArray(array)
            gl.glBufferData(
                gl.GL_ELEMENT_ARRAY_BUFFER, indices.nbytes, np.ascontiguousarray(indices), gl.GL_STATIC_DRAW
            )
        texels = np.round(np.sqrt(np.clip(hair.texture, 0, 1)) * 255).astype(np.uint8)
        rows, columns = texels.shape[:2]
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._texture)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, columns, rows, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)

    def color(self, vertices: np.ndarray, world_to_clip: np.ndarray, set_light: Callable[[int], None]) -> None:
        """Blends the shells, inner first, over the head that the bound framebuffer holds.

        Args:
          vertices: (V, 3) mm of the head.
          world_to_clip: (4, 4).
          set_light: sets the light uniforms of a program in use.
        """
        if self._hair is None:
            return
        gl = self._gl
        gl_objects.update(gl, self._positions, self._hair.positions + self._motion(vertices))
        gl.glUseProgram(self._program)
        set_light(self._program)
        gl_objects.bind_texture(gl, self._program, "strand_map", 0, self._texture)
        gl_objects.matrix(gl, self._program, "world_to_clip", world_to_clip)
        gl.glBindVertexArray(self._array)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFuncSeparate(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA, gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        shell, outer = self._hair.faces.size, len(self._hair.positions) - 1
        gl.glDrawElements(gl.GL_TRIANGLES, shell, gl.GL_UNSIGNED_INT, None)
        gl.glEnable(gl.GL_CULL_FACE)  # only the innermost shell is seen from inside: the far side of hanging hair
        gl.glDrawElements(gl.GL_TRIANGLES, outer * shell, gl.GL_UNSIGNED_INT, ctypes.c_void_p(4 * shell))
        gl.glDisable(gl.GL_BLEND)

    def field(self, vertices: np.ndarray) -> None:
        """Writes `HAIR_VALUE` before the head in the field that the bound framebuffer holds, by its program in use."""
        if self._hair is None:
            return
        gl, middle = self._gl, self._hair.positions[FIELD_SHELL]
        nodes = np.column_stack([middle + self._motion(vertices), np.full(len(middle), HAIR_VALUE)])
        gl_objects.update(gl, self._nodes, nodes)
        gl.glBindVertexArray(self._field_array)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glDrawElements(gl.GL_TRIANGLES, self._hair.faces.size, gl.GL_UNSIGNED_INT, None)

    def _motion(self, vertices: np.ndarray) -> np.ndarray:
        return (self._hair.binding @ (vertices - self._template)).astype(np.float32)  # [G, 3]
