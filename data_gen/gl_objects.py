"""Small OpenGL objects. `gl` is the module `OpenGL.GL`, which only render.py imports."""

import ctypes

import numpy as np

from data_gen.camera import Camera
from data_gen.lighting import Rig


def program(gl, vertex: str, fragment: str) -> int:
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


def target(gl, size: int, layout: int) -> int:
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


def matrix(gl, program: int, name: str, values: np.ndarray) -> None:
    """Sets a mat4 uniform of the program in use."""
    gl.glUniformMatrix4fv(gl.glGetUniformLocation(program, name), 1, gl.GL_TRUE, values.astype(np.float32))


def bind_texture(gl, program: int, sampler: str, unit: int, name: int) -> None:
    """Lets a sampler of the program in use read a texture."""
    gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
    gl.glBindTexture(gl.GL_TEXTURE_2D, name)
    gl.glUniform1i(gl.glGetUniformLocation(program, sampler), unit)


def light(gl, program: int, rig: Rig, camera: Camera, exposure: float) -> None:
    """Sets the light uniforms that the colour programs share."""
    for name, rows in (("light_direction", rig.directions), ("light_color", rig.colors)):
        gl.glUniform3fv(gl.glGetUniformLocation(program, name), 3, np.asarray(rows, np.float32))
    for name, vector in (("eye", camera.pose[:3, 3]), ("ambient_up", rig.above), ("ambient_down", rig.below)):
        gl.glUniform3f(gl.glGetUniformLocation(program, name), *map(float, vector))
    gl.glUniform1f(gl.glGetUniformLocation(program, "exposure"), exposure)
