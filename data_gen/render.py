"""Offscreen rendering: colour pictures, and per-vertex fields aligned with them pixel by pixel.

The one file that imports OpenGL. pyrender supplies the headless EGL context (a GPU where there is one, Mesa's
software rasteriser otherwise); geometry, texture and shaders are uploaded once, and a frame costs one vertex upload
and a few draws. pyrender's own scene renderer re-uploads meshes for every frame, which is several times slower.
"""

import ctypes
import dataclasses
import os

import numpy as np
import scipy.sparse

from data_gen import field_shading, gl_objects, lighting, shading, visibility
from data_gen.camera import Camera
from data_gen.face_models import MATERIALS, Topology
from data_gen.hair_drawing import HAIR_VALUE, HairDrawing
from data_gen.scene import Light
from data_gen.textures import Texture

SUPERSAMPLING = 2  # per axis: with triangles smaller than pixels, cheaper on Mesa than multisampling, and finer
NEAR_MM, FAR_MM = 50.0, 5000.0

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
        self._displacement = None
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
        self._field_program = gl_objects.program(gl, field_shading.FIELD_VERTEX, field_shading.FIELD_FRAGMENT)
        self._moving = gl_objects.buffer(gl, np.zeros((len(corners), 8), np.float32))  # position, normal, wrinkle
        self._color_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._color_array)
        gl_objects.attribute(gl, self._moving, 0, 3, stride=32)
        gl_objects.attribute(gl, self._moving, 1, 3, stride=32, offset=12)
        gl_objects.attribute(gl, self._moving, 4, 2, stride=32, offset=24)
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
        self._textures = gl.glGenTextures(3)  # albedo and roughness; surface; wrinkles
        self._hair = HairDrawing(gl, topology.template)
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glClearColor(0, 0, 0, 0)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        self._height_target = gl_objects.target(gl, visibility.SIZE, gl.GL_RG32F)
        shade = visibility.bake(topology, self._normals(topology.template), self.heights)
        gl_objects.update(gl, self._visibility, shade[self._corner_vertex])

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
        wrinkles = np.full((1, 1, 4), (128, 128, 0, 0), np.uint8) if texture.wrinkles is None else texture.wrinkles
        for name, texels, layout in (
            (self._textures[0], np.dstack([texture.albedo, roughness]), gl.GL_SRGB8_ALPHA8),
            (self._textures[1], surface, gl.GL_RGBA8),
            (self._textures[2], wrinkles, gl.GL_RGBA8),
        ):
            gl.glBindTexture(gl.GL_TEXTURE_2D, name)
            texels = np.ascontiguousarray(texels[::-1])  # v runs up
            side = len(texels)
            gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, layout, side, side, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
            gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
        self._displacement = texture.displacement
        self._exposure = texture.exposure
        self._hair.set(texture.hair)

    def color(
        self,
        vertices: np.ndarray,
        camera: Camera,
        light: Light,
        background: np.ndarray,
        wrinkles: np.ndarray | None = None,
    ) -> np.ndarray:
        """A picture.

        Args:
          vertices: (V, 3) mm.
          camera: of this renderer's size.
          light: directions in the camera's frame.
          background: (S, S, 3) uint8, behind the head.
          wrinkles: (V, 2) 0..1, how deep the two sets of expression wrinkles are at each vertex; None: no wrinkles.

        Returns:
          (S, S, 3) uint8 sRGB, silhouettes antialiased against the background.

        Raises:
          ValueError: if the camera is for pictures of another size.
        """
        gl = self._begin(camera)
        vertices = self._displaced(vertices)
        depth = np.zeros((len(vertices), 2), np.float32) if wrinkles is None else wrinkles
        moving = np.concatenate([vertices, self._normals(vertices), depth], 1)[self._corner_vertex]  # [C, 8]
        gl_objects.update(gl, self._moving, moving)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._color_target)
        gl.glUseProgram(self._color_program)
        rig, fine = lighting.rig(light, camera), self.size * SUPERSAMPLING
        gl_objects.light(gl, self._color_program, rig, camera, self._exposure)
        gl_objects.bind_texture(gl, self._color_program, "surface_map", 1, self._textures[1])
        gl_objects.bind_texture(gl, self._color_program, "wrinkle_map", 2, self._textures[2])
        gl_objects.bind_texture(gl, self._color_program, "albedo_map", 0, self._textures[0])
        self._draw(self._color_array, self._color_program, _world_to_clip(camera), fine)
        self._hair.color(
            vertices, _world_to_clip(camera), lambda p: gl_objects.light(gl, p, rig, camera, self._exposure)
        )

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

        Raises:
          ValueError: if the camera is for pictures of another size.
        """
        gl = self._begin(camera)
        vertices = self._displaced(vertices)
        gl_objects.update(gl, self._field_vertices, np.concatenate([vertices, values[:, None]], 1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._field_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, _world_to_clip(camera), self.size)
        self._hair.field(vertices)
        value, depth = np.moveaxis(self._read_field(self.size), -1, 0)
        mask = (depth > 0) & (value > 0.5 * HAIR_VALUE)  # interpolation rounds
        return Field(np.where(mask, value, np.float32(0)), mask, np.where(depth > 0, depth, np.float32(np.inf)))

    def _begin(self, camera: Camera):
        if camera.size != self.size:
            raise ValueError(f"camera is for {camera.size} pixels; expected {self.size}, the size of this renderer.")
        self._platform.make_current()
        return self._gl

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

    def heights(self, points: np.ndarray, size: int) -> np.ndarray:
        """The head seen along -z without perspective, for baking.

        Args:
          points: (V, 3), vertices scaled into the cube -1..1.
          size: `visibility.SIZE`.

        Returns:
          (size, size) greatest z of the surface over each cell, row 0 at y = 1; -2 where there is none.
        """
        gl = self._gl
        self._platform.make_current()
        gl_objects.update(gl, self._field_vertices, np.concatenate([points, points[:, 2:]], 1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._height_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, np.diag([1.0, 1.0, -1.0, 1.0]), size)
        z, drawn = np.moveaxis(self._read_field(size), -1, 0)
        return np.where(drawn > 0, z, np.float32(-2.0))


def _open_context(size: int):
    """(pyrender EGL platform, OpenGL.GL); imported here so that reading data sets needs neither."""
    os.environ["PYOPENGL_PLATFORM"] = "egl"  # must precede the first import of OpenGL
    try:
        from OpenGL import GL
        from OpenGL.error import Error
    except (ImportError, OSError, AttributeError) as error:
        raise _unavailable(error) from error
    try:
        from pyrender.platforms.egl import EGLPlatform

        platform = EGLPlatform(size, size)
        platform.init_context()
    except Error as error:  # a GL library without a driver: PyOpenGL's report of the call runs over many lines
        call, code = (getattr(error, name, None) for name in ("baseOperation", "err"))
        raise _unavailable(f"{getattr(call, '__name__', call)} failed with error {code}") from error
    except (ImportError, OSError, AttributeError, RuntimeError, AssertionError, IndexError) as error:
        raise _unavailable(error) from error
    return platform, GL


def _unavailable(reason: Exception | str) -> RuntimeError:
    return RuntimeError(UNAVAILABLE.format(reason=str(reason) or type(reason).__name__))


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
