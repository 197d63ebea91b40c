"""Small OpenGL objects. `gl` is the module `OpenGL.GL`, which only egl.py imports."""

import ctypes
from collections.abc import Sequence

import numpy as np

from data_gen.camera import Camera
from data_gen.lighting import Rig


class Program(int):
    """Name of a linked program that remembers where its uniforms are."""

    def __new__(cls, name: int) -> "Program":
        program = super().__new__(cls, name)
        program.locations = {}
        return program


def program(gl, vertex: str, fragment: str, samplers: Sequence[str] = ()) -> Program:
    """Compiles and links; the samplers read texture units 0, 1, 2... in their order.

    Raises:
      RuntimeError: with the driver's words.
    """
    program = Program(gl.glCreateProgram())
    for kind, source in ((gl.GL_VERTEX_SHADER, vertex), (gl.GL_FRAGMENT_SHADER, fragment)):
        shader = gl.glCreateShader(kind)
        gl.glShaderSource(shader, source)
        gl.glCompileShader(shader)
        if not gl.glGetShaderiv(shader, gl.GL_COMPILE_STATUS):
            raise RuntimeError(f"The OpenGL driver refused a shader: {gl.glGetShaderInfoLog(shader).decode()}")
        gl.glAttachShader(program, shader)
    gl.glLinkProgram(program)
    if not gl.glGetProgramiv(program, gl.GL_LINK_STATUS):
        raise RuntimeError(f"The OpenGL driver refused a program: {gl.glGetProgramInfoLog(program).decode()}")
    gl.glUseProgram(program)
    for unit, sampler in enumerate(samplers):
        gl.glUniform1i(location(gl, program, sampler), unit)
    return program


def location(gl, program: Program, name: str) -> int:
    if name not in program.locations:
        program.locations[name] = gl.glGetUniformLocation(program, name)
    return program.locations[name]


def buffer(gl, values: np.ndarray) -> int:
    name = gl.glGenBuffers(1)
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, name)
    gl.glBufferData(gl.GL_ARRAY_BUFFER, values.nbytes, np.ascontiguousarray(values), gl.GL_DYNAMIC_DRAW)
    return name


def update(gl, name: int, values: np.ndarray) -> None:
    values = np.ascontiguousarray(values, np.float32)
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, name)
    gl.glBufferData(gl.GL_ARRAY_BUFFER, values.nbytes, values, gl.GL_DYNAMIC_DRAW)  # a new store: no wait for the old


def attribute(gl, buffer: int, location: int, width: int, stride: int = 0, offset: int = 0) -> None:
    gl.glBindBuffer(gl.GL_ARRAY_BUFFER, buffer)
    gl.glEnableVertexAttribArray(location)
    gl.glVertexAttribPointer(location, width, gl.GL_FLOAT, gl.GL_FALSE, stride, ctypes.c_void_p(offset))


def index_buffer(gl, indices: np.ndarray) -> None:
    """Gives the bound vertex array its own triangles."""
    gl.glBindBuffer(gl.GL_ELEMENT_ARRAY_BUFFER, gl.glGenBuffers(1))
    gl.glBufferData(gl.GL_ELEMENT_ARRAY_BUFFER, indices.nbytes, indices, gl.GL_STATIC_DRAW)


def triangles(gl, first: int, stop: int) -> None:
    """Draws the indices from `first` to `stop` of the bound vertex array."""
    if stop > first:
        gl.glDrawElements(gl.GL_TRIANGLES, stop - first, gl.GL_UNSIGNED_INT, ctypes.c_void_p(4 * first))


def depth_buffer(gl, size: int) -> int:
    name = gl.glGenRenderbuffers(1)
    gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, name)
    gl.glRenderbufferStorage(gl.GL_RENDERBUFFER, gl.GL_DEPTH_COMPONENT24, size, size)
    return name


def target(gl, size: int, layout: int, depth: int | None = None) -> int:
    """A framebuffer with one colour attachment and a depth attachment, its own or the one given."""
    name = gl.glGenFramebuffers(1)
    gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, name)
    color = gl.glGenRenderbuffers(1)
    gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, color)
    gl.glRenderbufferStorage(gl.GL_RENDERBUFFER, layout, size, size)
    depth = depth_buffer(gl, size) if depth is None else depth
    for point, store in ((gl.GL_COLOR_ATTACHMENT0, color), (gl.GL_DEPTH_ATTACHMENT, depth)):
        gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, point, gl.GL_RENDERBUFFER, store)
    return _complete(gl, name, size)


def sampled_target(gl, size: int, layouts: Sequence[int], depth: int) -> tuple[int, list[int]]:
    """A framebuffer whose colour attachments are textures that later passes read: its name, and theirs."""
    name = gl.glGenFramebuffers(1)
    gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, name)
    gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, gl.GL_DEPTH_ATTACHMENT, gl.GL_RENDERBUFFER, depth)
    textures = [gl.glGenTextures(1) for _ in layouts]
    points = [gl.GL_COLOR_ATTACHMENT0 + i for i in range(len(layouts))]
    for texture, point, layout in zip(textures, points, layouts, strict=True):
        gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, layout, size, size, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, None)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, gl.GL_NEAREST)
        gl.glFramebufferTexture2D(gl.GL_FRAMEBUFFER, point, gl.GL_TEXTURE_2D, texture, 0)
    gl.glDrawBuffers(len(points), points)
    return _complete(gl, name, size), textures


def shadow_target(gl, size: int) -> tuple[int, int]:
    """A framebuffer with nothing but depth, and the texture that answers whether something is nearer than a depth."""
    name, texture = gl.glGenFramebuffers(1), gl.glGenTextures(1)
    gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, name)
    gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
    gl.glTexImage2D(
        gl.GL_TEXTURE_2D, 0, gl.GL_DEPTH_COMPONENT24, size, size, 0, gl.GL_DEPTH_COMPONENT, gl.GL_FLOAT, None
    )
    for key, value in (
        (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR),
        (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
        (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE),
        (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE),
        (gl.GL_TEXTURE_COMPARE_MODE, gl.GL_COMPARE_REF_TO_TEXTURE),
        (gl.GL_TEXTURE_COMPARE_FUNC, gl.GL_LEQUAL),
    ):
        gl.glTexParameteri(gl.GL_TEXTURE_2D, key, value)
    gl.glFramebufferTexture2D(gl.GL_FRAMEBUFFER, gl.GL_DEPTH_ATTACHMENT, gl.GL_TEXTURE_2D, texture, 0)
    gl.glDrawBuffer(gl.GL_NONE)
    gl.glReadBuffer(gl.GL_NONE)
    return _complete(gl, name, size), texture


def _complete(gl, name: int, size: int) -> int:
    if gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER) != gl.GL_FRAMEBUFFER_COMPLETE:
        raise RuntimeError(f"The OpenGL driver offers no {size} x {size} framebuffer.")
    return name


def matrix(gl, program: Program, name: str, values: np.ndarray) -> None:
    """Sets a mat4 or mat3 uniform of the program in use."""
    send = gl.glUniformMatrix4fv if len(values) == 4 else gl.glUniformMatrix3fv
    send(location(gl, program, name), 1, gl.GL_TRUE, np.ascontiguousarray(values, np.float32))


def bind_texture(gl, program: Program, sampler: str, unit: int, name: int) -> None:
    """Lets a sampler of the program in use read a texture."""
    gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
    gl.glBindTexture(gl.GL_TEXTURE_2D, name)
    gl.glUniform1i(location(gl, program, sampler), unit)


def bind_textures(gl, names: Sequence[int]) -> None:
    """Puts textures on the units 0, 1, 2..."""
    for unit, name in enumerate(names):
        gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
        gl.glBindTexture(gl.GL_TEXTURE_2D, name)
    gl.glActiveTexture(gl.GL_TEXTURE0)


def light(gl, program: Program, rig: Rig, camera: Camera, exposure: float) -> None:
    """Sets the light uniforms that the colour programs share."""
    for name, rows in (("light_direction", rig.directions), ("light_color", rig.colors)):
        gl.glUniform3fv(location(gl, program, name), 3, np.ascontiguousarray(rows, np.float32))
    for name, vector in (("eye", camera.pose[:3, 3]), ("ambient_up", rig.above), ("ambient_down", rig.below)):
        gl.glUniform3f(location(gl, program, name), *map(float, vector))
    gl.glUniform1f(location(gl, program, "exposure"), exposure)
