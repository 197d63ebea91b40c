"""Offscreen rendering: colour pictures, and per-vertex fields aligned with them pixel by pixel.

Geometry, texture and shaders are uploaded once, a pose of the face once for all its
views. A picture is drawn in two passes: `surface_shading` writes down what each sample shows, `shading` lights it.
pyrender's own scene renderer re-uploads meshes for every frame, which is several times slower.
"""

import dataclasses
import functools

import numpy as np

from data_gen import (
    clip_space,
    egl,
    field_shading,
    gl_objects,
    lighting,
    shading,
    shadow,
    surface_shading,
    tangents,
    visibility,
)
from data_gen.camera import Camera, project
from data_gen.face_models import MATERIALS, Topology
from data_gen.hair_drawing import HAIR_VALUE, HairDrawing
from data_gen.normals import VertexNormals
from data_gen.scene import Light
from data_gen.textures import Texture

SUPERSAMPLING = 2  # per axis: with triangles smaller than pixels, cheaper on Mesa than multisampling, and finer


@dataclasses.dataclass(frozen=True)
class Field:
    """A per-vertex quantity as the camera sees it, sampled at pixel centres.

    Attributes:
      values: (S, S) float32, the field interpolated over the visible surface; 0 where there is no head.
      mask: (S, S) bool, true where the head is and no hair but a beard hides it or is painted there.
      depth: (S, S) float32, mm along the optical axis, of the head or the hair before it, but for beards; +inf where
        there is neither.
    """

    values: np.ndarray
    mask: np.ndarray
    depth: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Pose:
    """A face as the GPU wants it, made once for all of its pictures and fields by `Renderer.pose`.

    Attributes:
      vertices: (V, 3) float32 mm, clothes standing off the skin.
      normals: (V, 3) float32 unit.
      wrinkles: (V, 2) float32 0..1.
      sphere: (3,) middle and radius in mm of a ball around all of it.
    """

    vertices: np.ndarray
    normals: np.ndarray
    wrinkles: np.ndarray
    sphere: tuple[np.ndarray, float]


class Renderer:
    """Draws heads of one topology at one size. A context manager; one per process.

    Raises:
      RuntimeError: if there is no EGL or pyrender on this machine, or OpenGL fails (the size is too large, memory
        short); the message says what to install or to change.
    """

    def __init__(self, topology: Topology, size: int):
        self.size = size
        self._platform, self._gl = egl.open_context(size)
        with egl.building(self._platform, self._gl, size):
            self._build(topology, size)

    def _build(self, topology: Topology, size: int) -> None:
        self._normals = VertexNormals(topology.faces, len(topology.template))
        self._displacement = None
        self._exposure = 1.0
        self._posed: Pose | None = None  # what the vertex buffers hold
        self._shadow: tuple | None = None  # whose shadow map there is: pose and direction of the light
        self._lips = topology.landmarks[48:]
        group = np.array([_group(name) for name in MATERIALS])[topology.materials]
        order = np.argsort(group, kind="stable")  # skin first: it hides most of the rest
        self._stops = 3 * np.cumsum(np.bincount(group, minlength=4))
        corners, indices = np.unique(
            np.stack([topology.faces[order], topology.uv_faces[order]], -1).reshape(-1, 2), axis=0, return_inverse=True
        )
        self._corner_vertex = corners[:, 0]

        gl = self._gl
        self._surface_program = gl_objects.program(
            gl, surface_shading.SURFACE_VERTEX, surface_shading.SURFACE_FRAGMENT, ("shadow_map",)
        )
        self._color_program = gl_objects.program(gl, shading.COLOR_VERTEX, shading.COLOR_FRAGMENT, shading.SAMPLERS)
        self._field_program = gl_objects.program(gl, field_shading.FIELD_VERTEX, field_shading.FIELD_FRAGMENT)
        self._shadow_program = gl_objects.program(gl, shadow.SHADOW_VERTEX, shadow.SHADOW_FRAGMENT)
        self._moving = gl_objects.buffer(gl, np.zeros((len(corners), 8), np.float32))  # position, normal, wrinkle
        self._color_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._color_array)
        gl_objects.attribute(gl, self._moving, 0, 3, stride=32)
        gl_objects.attribute(gl, self._moving, 1, 3, stride=32, offset=12)
        gl_objects.attribute(gl, self._moving, 4, 2, stride=32, offset=24)
        gl_objects.attribute(gl, gl_objects.buffer(gl, topology.uvs[corners[:, 1]].astype(np.float32)), 2, 2)
        self._visibility = gl_objects.buffer(gl, np.zeros((len(corners), 4), np.float32))
        gl_objects.attribute(gl, self._visibility, 3, 4)
        normals = self._normals(topology.template)
        frames = tangents.corner_frames(topology, corners, indices.reshape(-1, 3), normals)
        gl_objects.attribute(gl, gl_objects.buffer(gl, frames), 5, 2)
        gl_objects.index_buffer(gl, indices.reshape(-1).astype(np.uint32))

        self._positions = gl_objects.buffer(gl, np.zeros((len(topology.template), 3), np.float32))
        self._values = gl_objects.buffer(gl, np.zeros(len(topology.template), np.float32))
        self._unpainted = np.full(len(topology.template), -1, np.float32)
        self._hairy = gl_objects.buffer(gl, self._unpainted)
        self._field_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._field_array)
        gl_objects.attribute(gl, self._positions, 0, 3)
        gl_objects.attribute(gl, self._values, 1, 1)
        gl_objects.attribute(gl, self._hairy, 2, 1)
        gl_objects.index_buffer(gl, topology.faces[order].reshape(-1).astype(np.uint32))
        self._shadow_array = gl.glGenVertexArrays(1)
        gl.glBindVertexArray(self._shadow_array)
        gl_objects.attribute(gl, self._positions, 0, 3)
        casters = shadow.casters(topology)
        self._casters = casters.size
        gl_objects.index_buffer(gl, casters.reshape(-1).astype(np.uint32))

        fine = size * SUPERSAMPLING
        depth = gl_objects.depth_buffer(gl, fine)
        layouts = gl.GL_RGBA16, gl.GL_RGBA16, gl.GL_RGBA8
        self._surface_target, self._samples = gl_objects.sampled_target(gl, fine, layouts, depth)
        self._color_target = gl_objects.target(gl, fine, gl.GL_RGBA8, depth)
        self._resolved = gl_objects.target(gl, size, gl.GL_RGBA8)
        self._field_target = gl_objects.target(gl, size, gl.GL_RG32F)
        self._shadow_target, self._shadow_map = gl_objects.shadow_target(gl, shadow.SIZE)
        self._everywhere = gl.glGenVertexArrays(1)  # no attributes: the triangle over the whole picture
        self._textures = gl.glGenTextures(3)  # albedo and roughness; surface; wrinkles
        self._hair = HairDrawing(gl, topology.template, size * SUPERSAMPLING)
        gl.glEnable(gl.GL_DEPTH_TEST)
        gl.glClearColor(0, 0, 0, 0)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        self._height_target = gl_objects.target(gl, visibility.SIZE, gl.GL_RG32F)
        self._baked = visibility.bake(topology, normals, self.heights)  # [V, 4]
        gl_objects.update(gl, self._visibility, self._baked[self._corner_vertex])

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Gives the GL context back; the renderer is of no use afterwards. Closing twice is harmless."""
        if self._platform is not None:
            egl.close_context(self._platform)
            self._platform = None

    @egl.explained
    def set_texture(self, texture: Texture, rest: np.ndarray | None = None) -> None:
        """Uploads a look, until the next call; `rest`: (V, 3) mm, the face at rest, None for the template."""
        gl = self._gl
        self._make_current()
        size = len(texture.albedo)
        roughness = np.full((size, size), 140, np.uint8) if texture.roughness is None else texture.roughness
        surface = np.full((size, size, 4), (128, 128, 255, 255), np.uint8)
        if texture.surface is not None:
            surface[..., :3] = texture.surface
        wrinkles = np.full((1, 1, 4), (128, 128, 0, 0), np.uint8) if texture.wrinkles is None else texture.wrinkles
        for name, texels, layout in (
            (self._textures[0], np.dstack([texture.albedo, roughness]), gl.GL_RGBA8),
            (self._textures[1], surface, gl.GL_RGBA8),
            (self._textures[2], wrinkles, gl.GL_RGBA8),
        ):
            gl.glBindTexture(gl.GL_TEXTURE_2D, name)
            texels = np.ascontiguousarray(texels[::-1])  # v runs up
            side = len(texels)
            gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, layout, side, side, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, texels)
            gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_NEAREST)
            gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR)
        self._posed = self._shadow = None  # clothes and hair are others
        self._displacement = texture.displacement
        self._exposure = texture.exposure
        gl_objects.update(gl, self._hairy, self._unpainted if texture.painted_hair is None else texture.painted_hair)
        seen = self._baked if texture.shade is None else self._baked * texture.shade[:, None]
        gl_objects.update(gl, self._visibility, seen[self._corner_vertex])
        self._hair.set(texture.hair, rest)

    def pose(self, vertices: np.ndarray, wrinkles: np.ndarray | None = None) -> Pose:
        """Prepares a face for any number of pictures and fields, until the next `set_texture`.

        Args:
          vertices: (V, 3) mm.
          wrinkles: (V, 2) 0..1, how deep the two sets of expression wrinkles are at each vertex; None: no wrinkles.
        """
        vertices = np.array(vertices if self._displacement is None else vertices + self._displacement, np.float32)
        depths = np.zeros((len(vertices), 2), np.float32) if wrinkles is None else np.asarray(wrinkles, np.float32)
        return Pose(vertices, self._normals(vertices), depths, shadow.ball(vertices))

    @egl.explained
    def color(
        self,
        face: Pose | np.ndarray,
        camera: Camera,
        light: Light,
        background: np.ndarray | None,
        wrinkles: np.ndarray | None = None,
    ) -> np.ndarray:
        """A picture.

        Args:
          face: what `pose` returned, or (V, 3) vertices in mm for a single picture.
          camera: of this renderer's size.
          light: of the scene.
          background: (S, S, 3) uint8, behind the head; None: what `over` puts before one is returned.
          wrinkles: as in `pose`, where `face` is no pose.

        Returns:
          (S, S, 3) uint8 sRGB, silhouettes antialiased against the background.

        Raises:
          ValueError: if the camera is for pictures of another size.
          RuntimeError: if the OpenGL driver lost its context or ran out of memory.
        """
        gl = self._begin(camera, face if isinstance(face, Pose) else self.pose(face, wrinkles))
        rig, fine = lighting.rig(light, camera), self.size * SUPERSAMPLING
        world_to_clip, vertices = clip_space.world_to_clip(camera), self._posed.vertices
        world_to_shadow = self._cast(rig.directions[0])
        self._hair.look(world_to_clip)

        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._surface_target)
        gl.glUseProgram(self._surface_program)
        gl_objects.matrix(gl, self._surface_program, "world_to_shadow", world_to_shadow)
        gl_objects.bind_textures(gl, [self._shadow_map])
        directions = np.ascontiguousarray(rig.directions, np.float32)
        gl.glUniform3fv(gl_objects.location(gl, self._surface_program, "light_direction"), 3, directions)
        self._draw(self._color_array, self._surface_program, world_to_clip, fine, self._mouth(camera, fine))

        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._color_target)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        gl.glUseProgram(self._color_program)
        gl_objects.light(gl, self._color_program, rig, camera, self._exposure)
        gl_objects.matrix(gl, self._color_program, "pixel_ray", clip_space.pixel_ray(camera, fine))
        spread = 2 * np.tan(np.radians(camera.fov) / 2) / fine
        gl.glUniform1f(gl_objects.location(gl, self._color_program, "spread_mm"), spread)
        gl_objects.bind_textures(gl, [*self._samples, *self._textures])
        gl.glBindVertexArray(self._everywhere)
        gl.glDisable(gl.GL_CULL_FACE)
        gl.glDepthMask(gl.GL_FALSE)
        gl.glDepthFunc(gl.GL_GREATER)  # lights only where the head is nearer than the far plane
        gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)
        gl.glDepthFunc(gl.GL_LESS)
        gl.glDepthMask(gl.GL_TRUE)
        set_light = functools.partial(gl_objects.light, gl, rig=rig, camera=camera, exposure=self._exposure)
        self._hair.color(vertices, world_to_clip, set_light, self._shadow_map, world_to_shadow)

        gl.glBindFramebuffer(gl.GL_READ_FRAMEBUFFER, self._color_target)
        gl.glBindFramebuffer(gl.GL_DRAW_FRAMEBUFFER, self._resolved)
        area = (0, 0, self.size, self.size)
        gl.glBlitFramebuffer(0, 0, fine, fine, *area, gl.GL_COLOR_BUFFER_BIT, gl.GL_LINEAR)  # the mean of each 2 x 2
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._resolved)
        pixels = np.empty((self.size, self.size, 4), np.uint8)
        gl.glReadPixels(*area, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, pixels)
        return pixels[::-1] if background is None else over(pixels[::-1], background)

    @egl.explained
    def field(self, face: Pose | np.ndarray, values: np.ndarray, camera: Camera, *, beards: bool = False) -> Field:
        """A per-vertex quantity seen by the camera, pixel for pixel where `color` draws the head.

        Args:
          face: what `pose` returned, or (V, 3) vertices in mm for a single field.
          values: (V,) float, interpolated linearly over each triangle without light or gamma.
          camera: of this renderer's size.
          beards: whether they hide what is behind them, as other hair does.

        Raises:
          ValueError: if the camera is for pictures of another size.
          RuntimeError: if the OpenGL driver lost its context or ran out of memory.
        """
        gl = self._begin(camera, face if isinstance(face, Pose) else self.pose(face))
        gl_objects.update(gl, self._values, values)
        world_to_clip = clip_space.world_to_clip(camera)
        self._hair.look(world_to_clip)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._field_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, world_to_clip, self.size, self._mouth(camera, self.size))
        self._hair.field(self._posed.vertices, world_to_clip, beards)
        value, depth = np.moveaxis(self._read_field(self.size), -1, 0)
        mask = (depth > 0) & (value > 0.5 * HAIR_VALUE)  # interpolation rounds
        return Field(np.where(mask, value, np.float32(0)), mask, np.where(depth > 0, depth, np.float32(np.inf)))

    def _begin(self, camera: Camera, face: Pose):
        """Makes the context current and uploads the face, where the GPU holds another."""
        if camera.size != self.size:
            raise ValueError(f"camera is for {camera.size} pixels; expected {self.size}, the size of this renderer.")
        self._make_current()
        if face is not self._posed:
            moving = np.concatenate([face.vertices, face.normals, face.wrinkles], 1)[self._corner_vertex]  # [C, 8]
            gl_objects.update(self._gl, self._moving, moving)
            gl_objects.update(self._gl, self._positions, face.vertices)
            self._posed, self._shadow = face, None
        return self._gl

    def _make_current(self) -> None:
        if self._platform is None:
            raise RuntimeError("This renderer is closed; make another one.")
        self._platform.make_current()

    def _cast(self, towards_light: np.ndarray) -> np.ndarray:
        """Draws the shadow map, unless it is there; (4, 4) from the world to 0..1 in it."""
        gl, matrix = self._gl, shadow.world_to_clip(towards_light, *self._posed.sphere)
        if self._shadow is None or not np.array_equal(self._shadow, towards_light):
            gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._shadow_target)
            gl.glUseProgram(self._shadow_program)
            gl.glViewport(0, 0, shadow.SIZE, shadow.SIZE)
            gl.glClear(gl.GL_DEPTH_BUFFER_BIT)
            gl_objects.matrix(gl, self._shadow_program, "world_to_clip", matrix)
            gl.glBindVertexArray(self._shadow_array)
            gl.glEnable(gl.GL_CULL_FACE)
            gl_objects.triangles(gl, 0, self._casters)
            self._hair.shadow(self._posed.vertices)
            self._shadow = towards_light
        return shadow.CLIP_TO_MAP @ matrix

    def _draw(
        self, vertex_array: int, program: int, world_to_clip: np.ndarray, size: int, mouth: tuple | None = None
    ) -> None:
        """Clears the bound framebuffer and draws the head; the inner mouth only in the rectangle `mouth`."""
        gl, (outside, inside, lining, lashes) = self._gl, map(int, self._stops)
        gl.glViewport(0, 0, size, size)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT | gl.GL_DEPTH_BUFFER_BIT)
        gl_objects.matrix(gl, program, "world_to_clip", world_to_clip)
        gl.glBindVertexArray(vertex_array)
        gl.glEnable(gl.GL_CULL_FACE)
        gl_objects.triangles(gl, 0, outside)
        if mouth is not None:
            gl.glEnable(gl.GL_SCISSOR_TEST)
            gl.glScissor(*mouth)
        gl_objects.triangles(gl, outside, inside)
        gl.glDisable(gl.GL_CULL_FACE)
        gl_objects.triangles(gl, inside, lining)
        gl.glDisable(gl.GL_SCISSOR_TEST)
        gl_objects.triangles(gl, lining, lashes)

    def _mouth(self, camera: Camera, size: int) -> tuple[int, int, int, int]:
        """The part of a picture of `size`, y up, through which alone one sees into the mouth: that of the lips."""
        xy, _ = project(dataclasses.replace(camera, size=size), self._posed.vertices[self._lips].astype(np.float64))
        low, high = np.floor(xy.min(0)).astype(int) - 2, np.ceil(xy.max(0)).astype(int) + 2
        return int(low[0]), int(size - high[1]), int(high[0] - low[0]), int(high[1] - low[1])

    def _read_field(self, size: int) -> np.ndarray:
        gl = self._gl
        pixels = np.empty((size, size, 2), np.float32)
        gl.glReadPixels(0, 0, size, size, gl.GL_RG, gl.GL_FLOAT, pixels)
        return pixels[::-1]

    def heights(self, points: np.ndarray, size: int) -> np.ndarray:
        """The head seen along -z without perspective, for baking.

        Args:
          points: (V, 3), vertices scaled into the cube -1..1.
          size: `visibility.SIZE`.

        Returns:
          (size, size) greatest z of the surface over each cell, row 0 at y = 1; -2 where there is none.
        """
        gl = self._gl
        self._make_current()
        gl_objects.update(gl, self._positions, points)
        gl_objects.update(gl, self._values, points[:, 2])
        self._posed = None
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._height_target)
        gl.glUseProgram(self._field_program)
        self._draw(self._field_array, self._field_program, np.diag([1.0, 1.0, -1.0, 1.0]), size)
        z, drawn = np.moveaxis(self._read_field(size), -1, 0)
        return np.where(drawn > 0, z, np.float32(-2.0))


def over(head: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8: a head, (S, S, 4) uint8 colour already weighted by coverage, and coverage, before a background
    (S, S, 3) uint8."""
    pixels = head.astype(np.uint16)
    behind = (background.astype(np.uint16) * (255 - pixels[..., 3:]) + 127) // 255
    return np.minimum(pixels[..., :3] + behind, 255).astype(np.uint8)


def _group(material: str) -> int:
    """Materials in the order of drawing: what is outside; the tongue; teeth, gums and lining of the mouth, and lashes,
    which are seen from either side."""
    return {"tongue": 1, "gums": 2, "teeth": 2, "mouth": 2, "lash": 3}.get(material, 0)
