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

from data_gen import shading
from data_gen.camera import Camera
from data_gen.face_models import MATERIALS, Topology
from data_gen.scene import Light
from data_gen.textures import Texture

SUPERSAMPLING = 2  # per axis: with triangles smaller than pixels, cheaper on Mesa than multisampling, and finer
NEAR_MM, FAR_MM = 50.0, 5000.0
FILL_ELEVATION = 5.0  # degrees; the fill light stands opposite the key, low, and a third, weak one behind the head
WHITE_BALANCE_KELVIN = 5500.0
WHITE_BALANCE = 0.6  # share of a light's colour cast that the camera removes

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
      mask: (S, S) bool, true where the head is.
      depth: (S, S) float32, mm along the optical axis; +inf where there is no head.
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
        self._color_program = _program(gl, shading.COLOR_VERTEX, shading.COLOR_FRAGMENT)
        self._field_program = _program(gl, shading.FIELD_VERTEX, shading.FIELD_FRAGMENT)
        self._moving = _buffer(gl, np.zeros((len(corners), 6), np.float32))  # position, normal
        self._color_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._color_array)
        _attribute(gl, self._moving, 0, 3, stride=24)
        _attribute(gl, self._moving, 1, 3, stride=24, offset=12)
        _attribute(gl, _buffer(gl, topology.uvs[corners[:, 1]].astype(np.float32)), 2, 2)
        self._visibility = _buffer(gl, np.zeros((len(corners), 4), np.float32))
        _attribute(gl, self._visibility, 3, 4)
        _index_buffer(gl, indices.reshape(-1).astype(np.uint32))

        self._field_vertices = _buffer(gl, np.zeros((len(topology.template), 4), np.float32))  # position, value
        self._field_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._field_array)
        _attribute(gl, self._field_vertices, 0, 3, stride=16)
        _attribute(gl, self._field_vertices, 1, 1, stride=16, offset=12)
        _index_buffer(gl, topology.faces[order].reshape(-1).astype(np.uint32))

        self._color_target = _target(gl, size * SUPERSAMPLING, gl.GL_RGBA8)
        self._resolved = _target(gl, size, gl.GL_RGBA8)
        self._field_target = _target(gl, size, gl.GL_RG32F)
        self._textures = gl.glGenTextures(2)
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
        _update(gl, self._moving, moving)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._color_target)
        gl.glUseProgram(self._color_program)
        self._set_light(camera, light)
        for unit, (sampler, name) in enumerate(zip(("albedo_map", "surface_map"), self._textures, strict=True)):
            gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
            gl.glBindTexture(gl.GL_TEXTURE_2D, name)
            gl.glUniform1i(gl.glGetUniformLocation(self._color_program, sampler), unit)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        fine = self.size * SUPERSAMPLING
        self._draw(self._color_array, self._color_program, _world_to_clip(camera), fine)

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
        _update(gl, self._field_vertices, np.concatenate([self._displaced(vertices), values[:, None]], 1))
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._field_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, _world_to_clip(camera), self.size)
        pixels = self._read_field(self.size)
        mask = pixels[..., 1] > 0
        return Field(pixels[..., 0], mask, np.where(mask, pixels[..., 1], np.float32(np.inf)))

    def _draw(self, vertex_array: int, program: int, world_to_clip: np.ndarray, size: int) -> None:
        gl = self._gl
        gl.glViewport(0, 0, size, size)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        gl.glUniformMatrix4fv(
            gl.glGetUniformLocation(program, "world_to_clip"), 1, gl.GL_TRUE, world_to_clip.astype(np.float32)
        )
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

    def _set_light(self, camera: Camera, light: Light) -> None:
        """Key and fill in front, a weak light behind; ambient from a bright ceiling and a dim, warmer floor."""
        gl, program = self._gl, self._color_program
        side = 1.0 if light.key_azimuth >= 0 else -1.0
        directions = [
            _direction(light.key_azimuth, light.key_elevation),
            _direction(light.key_azimuth - side * 85.0, FILL_ELEVATION),
            _direction(-side * 150.0, 35.0),
        ]
        tint = _light_color(light.kelvin)
        white = np.ones(3)
        colors = [1.0 * light.key * tint, 0.55 * light.fill * white, 0.35 * light.fill * white]
        directions = np.array(directions) @ camera.pose[:3, :3].T  # [3, 3], camera -> world
        for name, rows in (("light_direction", directions), ("light_color", colors)):
            gl.glUniform3fv(gl.glGetUniformLocation(program, name), 3, np.asarray(rows, np.float32))
        for name, vector in (
            ("eye", camera.pose[:3, 3]),
            ("ambient_up", 0.75 * light.ambient * (0.5 + 0.5 * tint)),
            ("ambient_down", 0.45 * light.ambient * tint * (1.0, 0.93, 0.86)),
        ):
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
        target = _target(gl, size, gl.GL_RG32F)
        gl.glUseProgram(self._field_program)
        moments, seen = np.zeros((len(template), 4, 4)), np.zeros((len(template), 4))
        for d in _sphere(directions):
            frame = _looking_along(d)  # rows: right, up, towards the light
            local = (template - center) @ frame.T / radius  # [V, 3] within -1..1
            _update(gl, self._field_vertices, np.concatenate([local, local[:, 2:]], 1))
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
        _update(gl, self._visibility, fit[self._corner_vertex])


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


def _program(gl, vertex: str, fragment: str) -> int:
    program = gl.glCreateProgram()
    for kind, source in ((gl.GL_VERTEX_SHADER, vertex), (gl.GL_FRAGMENT_SHADER, fragment)):
        shader = gl.glCreateShader(kind)
        gl.glShaderSource(shader, source)
        gl.glCompileShader(shader)
        if not gl.glGetShaderiv(shader, gl.GL_COMPILE_STATUS):
            raise RuntimeError(f"The OpenGL driver refused a shader: {gl.glGetShaderInfoLog(shader).decode()}")
        gl.glAttachShader(program, shader)
    gl.glLinkProgram(program)
    return program


def _buffer(gl, values: np.ndarray) -> int:
    name = gl.glGenBuffers(1)
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, name)
    gl.glBufferData(gl.GL_ARRAY_BUFFER, values.nbytes, np.ascontiguousarray(values), gl.GL_DYNAMIC_DRAW)
    return name


def _update(gl, name: int, values: np.ndarray) -> None:
    values = np.ascontiguousarray(values, np.float32)
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, name)
    gl.glBufferData(gl.GL_ARRAY_BUFFER, values.nbytes, values, gl.GL_DYNAMIC_DRAW)  # a new store: no wait for the old


def _attribute(gl, buffer: int, location: int, width: int, stride: int = 0, offset: int = 0) -> None:
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, buffer)
    gl.glEnableVertexAttribArray(location)
    gl.glVertexAttribPointer(location, width, gl.GL_FLOAT, gl.GL_FALSE, stride, ctypes.c_void_p(offset))


def _index_buffer(gl, indices: np.ndarray) -> None:
    gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, gl.glGenBuffers(1))
    gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, indices.nbytes, indices, gl.GL_STATIC_DRAW)


def _target(gl, size: int, layout: int) -> int:
    """A framebuffer with one colour and one depth attachment."""
    name = gl.glGenFramebuffers(1)
    gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, name)
    for point, store in ((gl.GL_COLOR_ATTACHMENT0, layout), (gl.GL_DEPTH_ATTACHMENT, gl.GL_DEPTH_COMPONENT24)):
        attachment = gl.glGenRenderbuffers(1)
        gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, attachment)
        gl.glRenderbufferStorage(gl.GL_RENDERBUFFER, store, size, size)
        gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, point, gl.GL_RENDERBUFFER, attachment)
    if gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER) != gl.GL_FRAMEBUFFER_COMPLETE:
        raise RuntimeError(f"The OpenGL driver offers no {size} x {size} framebuffer.")
    return name


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


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector in the camera's frame; degrees, positive azimuth to the right of the picture, 0 behind the camera."""
    azimuth, elevation = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _light_color(kelvin: float) -> np.ndarray:
    """(3,) linear RGB of a black body (Planck at 600, 550, 450 nm) after the white balance; green is 1."""
    c2, wavelength = 1.4388e-2, np.array([600e-9, 550e-9, 450e-9])
    ratio = np.expm1(c2 / (wavelength * WHITE_BALANCE_KELVIN)) / np.expm1(c2 / (wavelength * kelvin))
    return (ratio / ratio[1]) ** (1 - WHITE_BALANCE)


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
