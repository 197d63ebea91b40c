"""Offscreen rendering: colour pictures, and per-vertex fields aligned with them pixel by pixel.

The one file that touches OpenGL. pyrender supplies the headless EGL context (a GPU where there is one, Mesa's
software rasteriser otherwise); geometry, texture and shaders are uploaded once, and a frame costs one vertex upload
and one draw. pyrender's own scene renderer re-uploads meshes for every frame, which is several times slower.
"""

import ctypes
import dataclasses
import os

import numpy as np
import scipy.sparse

from data_gen import gl_objects, lighting, shading
from data_gen.camera import Camera
from data_gen.face_models import MATERIALS, Topology
from data_gen.scene import Light
from data_gen.textures import HairMesh, Texture

SUPERSAMPLING = 2  # per axis: with triangles smaller than pixels, cheaper on Mesa than multisampling, and finer
NEAR_MM, FAR_MM = 50.0, 5000.0
# Visibility a + b . d behind parted lips, from the front more than from above; see `Renderer._bake_visibility`.
OPEN_MOUTH_LIGHT = {"teeth": (0.25, 0.0, 0.0, 0.4), "mouth": (0.12, 0.0, 0.0, 0.2)}
HAIR_VALUE = -1.0  # what hair writes into a field, to be told from the head

UNAVAILABLE = (
    "No offscreen OpenGL on this machine ({reason}). The generator renders through pyrender and EGL: "
    "`pip install 'painjax[generate]'` and, on Debian or Ubuntu, `apt-get install libegl1 libgl1-mesa-dri libgles2`. "
    "No GPU or display is needed."
)


@dataclasses.dataclass(frozen=True)
class Field:
    """A per-vertex quantity as the camera sees it, sampled at pixel centres.

    Attributes:
      values: (S, S) float32, the field interpolated over the visible surface; 0 where there is no head.
      mask: (S, S) bool, true where the head is and no hair hides it.
      depth: (S, S) float32, mm along the optical axis, of the head or the hair before it; +inf where there is neither.
    """

    values: np.ndarray
    mask: np.ndarray
    depth: np.ndarray


class Renderer:
    """Draws heads of one topology at one size. A context manager; one per process.

    Raises:
      RuntimeError: if there is no EGL or pyrender on this machine; the message says what to install.
    """

    def __init__(self, topology: Topology, size: int):
        self.size = size
        self._platform, self._gl = _open_context(size)
        self._faces = topology.faces
        self._adjacency = _adjacency(topology.faces, len(topology.template))
        self._template = topology.template
        self._displacement = None
        self._hair: HairMesh | None = None
        self._exposure = 1.0
        two_sided = np.isin(topology.materials, (MATERIALS.index("mouth"), MATERIALS.index("lash")))
        order = np.argsort(two_sided, kind="stable")
        self._one_sided = 3 * int((~two_sided).sum())
        corners, indices = np.unique(
            np.stack([topology.faces[order], topology.uv_faces[order]], -1).reshape(-1, 2), axis=0, return_inverse=True
        )
        self._corner_vertex = corners[:, 0]
        self._index_count = indices.size

        gl = self._gl
        self._color_program = gl_objects.program(gl, shading.COLOR_VERTEX, shading.COLOR_FRAGMENT)
        self._field_program = gl_objects.program(gl, shading.FIELD_VERTEX, shading.FIELD_FRAGMENT)
        self._moving = gl_objects.buffer(gl, np.zeros((len(corners), 6), np.float32))  # position, normal
        self._color_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._color_array)
        gl_objects.attribute(gl, self._moving, 0, 3, stride=24)
        gl_objects.attribute(gl, self._moving, 1, 3, stride=24, offset=12)
        gl_objects.attribute(gl, gl_objects.buffer(gl, topology.uvs[corners[:, 1]].astype(np.float32)), 2, 2)
        self._visibility = gl_objects.buffer(gl, np.zeros((len(corners), 4), np.float32))
        gl_objects.attribute(gl, self._visibility, 3, 4)
        gl_objects.index_buffer(gl, indices.reshape(-1).astype(np.uint32))

        self._field_vertices = gl_objects.buffer(
            gl, np.zeros((len(topology.template), 4), np.float32)
        )  # position, value
        self._field_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._field_array)
        gl_objects.attribute(gl, self._field_vertices, 0, 3, stride=16)
        gl_objects.attribute(gl, self._field_vertices, 1, 1, stride=16, offset=12)
        gl_objects.index_buffer(gl, topology.faces[order].reshape(-1).astype(np.uint32))

        self._color_target = gl_objects.target(gl, size * SUPERSAMPLING, gl.GL_RGBA8)
        self._resolved = gl_objects.target(gl, size, gl.GL_RGBA8)
        self._field_target = gl_objects.target(gl, size, gl.GL_RG32F)
        self._textures = gl.glGenTextures(3)  # albedo and roughness; surface; hair
        self._hair_program = gl_objects.program(gl, shading.HAIR_VERTEX, shading.HAIR_FRAGMENT)
        empty = np.zeros((1, 4), np.float32)
        self._hair_positions, self._hair_attributes = gl_objects.buffer(gl, empty), gl_objects.buffer(gl, empty)
        self._hair_field = gl_objects.buffer(gl, empty)
        self._hair_array, self._hair_field_array = gl.glGenVertexArrays(2)
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glClearColor(0, 0, 0, 0)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        self._bake_visibility(topology)

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Gives the GL context back; the renderer is of no use afterwards. Closing twice is harmless."""
        if self._platform is not None:
            from OpenGL import EGL

            # not platform.delete_context(), which terminates the display under every other renderer of the process
            EGL.eglDestroyContext(self._platform._egl_display, self._platform._egl_context)
            self._platform = None

    def set_texture(self, texture: Texture) -> None:
        """Uploads the look of an identity; it stays until the next call."""
        gl = self._gl
        self._platform.make_current()
        size = len(texture.albedo)
        roughness = np.full((size, size), 140, np.uint8) if texture.roughness is None else texture.roughness
        surface = np.full((size, size, 4), (128, 128, 255, 255), np.uint8)
        if texture.surface is not None:
            surface[..., :3] = texture.surface
        for name, texels, layout in (
            (self._textures[0], np.dstack([texture.albedo, roughness]), gl.GL_SRGB8_ALPHA8),
            (self._textures[1], surface, gl.GL_RGBA8),
        ):
            gl.glBindTexture(gl.GL_TEXTURE_2D, name)
            texels = np.ascontiguousarray(texels[::-1])  # v runs up
            gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, layout, size, size, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
            gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
        self._displacement = texture.displacement
        self._exposure = texture.exposure
        self._hair = texture.hair
        if texture.hair is not None:
            self._upload_hair(texture.hair)

    def color(self, vertices: np.ndarray, camera: Camera, light: Light, background: np.ndarray) -> np.ndarray:
        """A picture.

        Args:
          vertices: (V, 3) mm.
          camera: of this renderer's size.
          light: directions in the camera's frame.
          background: (S, S, 3) uint8, behind the head.

        Returns:
          (S, S, 3) uint8 sRGB, silhouettes antialiased against the background.
        """
        gl = self._gl
        self._platform.make_current()
        vertices = self._displaced(vertices)
        moving = np.concatenate([vertices, self._normals(vertices)], 1)[self._corner_vertex]  # [C, 6]
        gl_objects.update(gl, self._moving, moving)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._color_target)
        gl.glUseProgram(self._color_program)
        self._set_light(self._color_program, camera, light)
        self._bind_texture(self._color_program, "surface_map", 1, self._textures[1])
        self._bind_texture(self._color_program, "albedo_map", 0, self._textures[0])
        fine = self.size * SUPERSAMPLING
        self._draw(self._color_array, self._color_program, _world_to_clip(camera), fine)
        if self._hair is not None:
            self._draw_hair(vertices, camera, light)

        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self._color_target)
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, self._resolved)
        area = (0, 0, self.size, self.size)
        gl.glBlitFramebuffer(0, 0, fine, fine, *area, gl.GL_COLOR_BUFFER_BIT, gl.GL_LINEAR)  # the mean of each 2 x 2
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._resolved)
        pixels = np.empty((self.size, self.size, 4), np.uint8)
        gl.glReadPixels(*area, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels)
        pixels = pixels[::-1].astype(np.uint16)  # [S, S, 4], colour already weighted by coverage
        behind = (background.astype(np.uint16) * (255 - pixels[..., 3:]) + 127) // 255
        return np.minimum(pixels[..., :3] + behind, 255).astype(np.uint8)

    def field(self, vertices: np.ndarray, values: np.ndarray, camera: Camera) -> Field:
        """A per-vertex quantity seen by the camera, pixel for pixel where `color` draws the head.

        Args:
          vertices: (V, 3) mm.
          values: (V,) float, interpolated linearly over each triangle without light or gamma.
          camera: of this renderer's size.
        """
        gl = self._gl
        self._platform.make_current()
        vertices = self._displaced(vertices)
        gl_objects.update(gl, self._field_vertices, np.concatenate([vertices, values[:, None]], 1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._field_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, _world_to_clip(camera), self.size)
        if self._hair is not None:
            self._draw_hair_field(vertices)
        value, depth = np.moveaxis(self._read_field(self.size), -1, 0)
        mask = (depth > 0) & (value > 0.5 * HAIR_VALUE)  # interpolation rounds
        return Field(np.where(mask, value, np.float32(0)), mask, np.where(depth > 0, depth, np.float32(np.inf)))

    def _draw(self, vertex_array: int, program: int, world_to_clip: np.ndarray, size: int) -> None:
        gl = self._gl
        gl.glViewport(0, 0, size, size)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        gl_objects.matrix(gl, program, "world_to_clip", world_to_clip)
        gl.glBindVertexArray(vertex_array)
        gl.glEnable(gl.GL_CULL_FACE)
        gl.glDrawElements(gl.GL_TRIANGLES, self._one_sided, gl.GL_UNSIGNED_INT, None)
        if self._one_sided < self._index_count:
            gl.glDisable(gl.GL_CULL_FACE)
            rest = ctypes.c_void_p(4 * self._one_sided)
            gl.glDrawElements(gl.GL_TRIANGLES, self._index_count - self._one_sided, gl.GL_UNSIGNED_INT, rest)

    def _bind_texture(self, program: int, sampler: str, unit: int, name: int) -> None:
        gl = self._gl
        gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
        gl.glBindTexture(gl.GL_TEXTURE_2D, name)
        gl.glUniform1i(gl.glGetUniformLocation(program, sampler), unit)

    def _upload_hair(self, hair: HairMesh) -> None:
        gl, (shells, nodes) = self._gl, hair.positions.shape[:2]
        gl.glBindVertexArray(self._hair_array)
        gl_objects.attribute(gl, self._hair_positions, 0, 3)
        gl_objects.update(gl, self._hair_attributes, hair.attributes.reshape(shells * nodes, -1))
        for location, width, offset in ((1, 3, 0), (2, 3, 12), (3, 2, 24), (4, 2, 32)):
            gl_objects.attribute(gl, self._hair_attributes, location, width, stride=40, offset=offset)
        layered = hair.faces[None] + np.arange(shells, dtype=np.uint32)[:, None, None] * np.uint32(nodes)
        gl_objects.index_buffer(gl, np.ascontiguousarray(layered))
        gl.glBindVertexArray(self._hair_field_array)
        gl_objects.attribute(gl, self._hair_field, 0, 3, stride=16)
        gl_objects.attribute(gl, self._hair_field, 1, 1, stride=16, offset=12)
        gl_objects.index_buffer(gl, hair.faces)
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._textures[2])
        texels = np.ascontiguousarray(np.round(np.sqrt(np.clip(hair.texture, 0, 1)) * 255).astype(np.uint8))
        rows, columns = texels.shape[:2]
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, columns, rows, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)

    def _hair_motion(self, vertices: np.ndarray) -> np.ndarray:
        return (self._hair.binding @ (vertices - self._template)).astype(np.float32)  # [G, 3]

    def _draw_hair(self, vertices: np.ndarray, camera: Camera, light: Light) -> None:
        """Shell over shell, blended over the head; in the picture that `_draw` has begun."""
        gl = self._gl
        gl_objects.update(gl, self._hair_positions, self._hair.positions + self._hair_motion(vertices))
        gl.glUseProgram(self._hair_program)
        self._set_light(self._hair_program, camera, light)
        self._bind_texture(self._hair_program, "strand_map", 0, self._textures[2])
        gl_objects.matrix(gl, self._hair_program, "world_to_clip", _world_to_clip(camera))
        gl.glBindVertexArray(self._hair_array)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFuncSeparate(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA, gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        shell, outer = self._hair.faces.size, len(self._hair.positions) - 1
        gl.glDrawElements(gl.GL_TRIANGLES, shell, gl.GL_UNSIGNED_INT, None)
        gl.glEnable(gl.GL_CULL_FACE)  # only the innermost shell is seen from inside: the far side of hanging hair
        gl.glDrawElements(gl.GL_TRIANGLES, outer * shell, gl.GL_UNSIGNED_INT, ctypes.c_void_p(4 * shell))
        gl.glDisable(gl.GL_BLEND)

    def _draw_hair_field(self, vertices: np.ndarray) -> None:
        """Hair hides what is behind it and belongs to no face; in the field that `_draw` has begun."""
        gl, middle = self._gl, self._hair.positions[1]
        nodes = np.column_stack([middle + self._hair_motion(vertices), np.full(len(middle), HAIR_VALUE)])
        gl_objects.update(gl, self._hair_field, nodes)
        gl.glBindVertexArray(self._hair_field_array)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glDrawElements(gl.GL_TRIANGLES, self._hair.faces.size, gl.GL_UNSIGNED_INT, None)

    def _read_field(self, size: int) -> np.ndarray:
        gl = self._gl
        pixels = np.empty((size, size, 2), np.float32)
        gl.glReadPixels(0, 0, size, size, gl.GL_RG, gl.GL_FLOAT, pixels)
        return pixels[::-1]

    def _displaced(self, vertices: np.ndarray) -> np.ndarray:
        return vertices if self._displacement is None else vertices + self._displacement

    def _normals(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) area-weighted unit normals, on geometry vertices so that texture seams do not show."""
        a, b, c = (vertices[self._faces[:, i]] for i in range(3))
        normals = self._adjacency @ np.cross(b - a, c - a)  # [V, 3]
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)

    def _set_light(self, program: int, camera: Camera, light: Light) -> None:
        gl, rig = self._gl, lighting.rig(light, camera)
        for name, rows in (("light_direction", rig.directions), ("light_color", rig.colors)):
            gl.glUniform3fv(gl.glGetUniformLocation(program, name), 3, np.asarray(rows, np.float32))
        for name, vector in (("eye", camera.pose[:3, 3]), ("ambient_up", rig.above), ("ambient_down", rig.below)):
            gl.glUniform3f(gl.glGetUniformLocation(program, name), *map(float, vector))
        gl.glUniform1f(gl.glGetUniformLocation(program, "exposure"), self._exposure)

    def _bake_visibility(self, topology: Topology, directions: int = 96, size: int = 256) -> None:
        """Which light reaches each vertex of the template: v(d) = a + b . d, fitted to what depth maps say.

        Self-shadowing of a head is soft and nearly the same for every head of a model, so that one fit, uploaded
        once, stands in for a shadow pass per frame: sockets, nostrils, under the nose and the chin.
        """
        gl, template = self._gl, topology.template.astype(np.float64)
        normals = self._normals(template)
        center, radius = (template.max(0) + template.min(0)) / 2, np.linalg.norm(np.ptp(template, axis=0)) / 2
        target = gl_objects.target(gl, size, gl.GL_RG32F)
        gl.glUseProgram(self._field_program)
        moments, seen = np.zeros((len(template), 4, 4)), np.zeros((len(template), 4))
        for d in _sphere(directions):
            frame = _looking_along(d)  # rows: right, up, towards the light
            local = (template - center) @ frame.T / radius  # [V, 3] within -1..1
            gl_objects.update(gl, self._field_vertices, np.concatenate([local, local[:, 2:]], 1))
            gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, target)
            self._draw(self._field_array, self._field_program, np.diag([1.0, 1.0, -1.0, 1.0]), size)
            height = np.where((pixels := self._read_field(size))[..., 1] > 0, pixels[..., 0], -2.0)
            column = np.clip((local[:, 0] + 1) * size / 2, 0, size - 1).astype(int)
            row = np.clip((1 - local[:, 1]) * size / 2, 0, size - 1).astype(int)
            cosine = np.maximum(normals @ d, 0.0)
            slope = np.sqrt(1 - np.minimum(cosine, 1) ** 2) / np.maximum(cosine, 0.1)
            visible = local[:, 2] > height[row, column] - (1.5 + 1.5 * np.minimum(slope, 4)) / size
            basis = np.array([1.0, *d])
            moments += cosine[:, None, None] * np.outer(basis, basis)
            seen += (cosine * visible)[:, None] * basis
        moments += 0.02 * directions * np.diag([0.0, 1.0, 1.0, 1.0])  # where few directions count, fit their mean
        fit = np.linalg.solve(moments + 1e-6 * np.eye(4), seen[..., None])[..., 0]  # [V, 4]
        # The template's lips are closed, which would leave what lies behind them black when they part.
        skin = topology.faces[topology.materials == MATERIALS.index("skin")]
        for name, light in OPEN_MOUTH_LIGHT.items():
            vertices = topology.faces[topology.materials == MATERIALS.index(name)]
            fit[np.setdiff1d(vertices, skin)] = light
        gl_objects.update(gl, self._visibility, fit[self._corner_vertex])


def _open_context(size: int):
    """(pyrender EGL platform, OpenGL.GL); imported here so that reading data sets needs neither."""
    os.environ["PYOPENGL_PLATFORM"] = "egl"  # must precede the first import of OpenGL
    try:
        from OpenGL import GL
        from pyrender.platforms.egl import EGLPlatform

        platform = EGLPlatform(size, size)
        platform.init_context()
    except (ImportError, OSError, AttributeError, RuntimeError, AssertionError, IndexError) as error:
        reason = str(error) or type(error).__name__
        raise RuntimeError(UNAVAILABLE.format(reason=reason)) from error
    return platform, GL


def _world_to_clip(camera: Camera) -> np.ndarray:
    """(4, 4) such that `camera.project` and the rasteriser agree to the sub-pixel."""
    focal = 1 / np.tan(np.radians(camera.fov) / 2)
    project = np.diag([focal, focal, (FAR_MM + NEAR_MM) / (NEAR_MM - FAR_MM), 0.0])
    project[2, 3], project[3, 2] = 2 * FAR_MM * NEAR_MM / (NEAR_MM - FAR_MM), -1.0
    return project @ np.linalg.inv(camera.pose)


def _adjacency(faces: np.ndarray, vertices: int) -> scipy.sparse.csr_array:
    """(V, F) incidence matrix: sums what belongs to a vertex's triangles, much faster than np.add.at."""
    rows, columns = faces.reshape(-1), np.repeat(np.arange(len(faces)), 3)
    return scipy.sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(vertices, len(faces)))


def _sphere(count: int) -> np.ndarray:
    """(count, 3) directions spread evenly over the sphere (Fibonacci lattice)."""
    index = np.arange(count) + 0.5
    y, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - y * y)
    return np.stack([ring * np.cos(turn), y, ring * np.sin(turn)], -1)


def _looking_along(direction: np.ndarray) -> np.ndarray:
    """(3, 3) rotation whose third row is `direction`."""
    right = np.cross((0.0, 1.0, 0.0) if abs(direction[1]) < 0.9 else (1.0, 0.0, 0.0), direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), direction])
