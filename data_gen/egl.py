"""Offscreen OpenGL: the one file that imports OpenGL and pyrender.

pyrender supplies the EGL context: a GPU where there is one, Mesa's software rasteriser otherwise. Speed and bits are
measured on Mesa alone; pixels differ between rasterisers in the last bit, so a data set is regenerated bit for bit on
the kind of machine that made it.
"""

import contextlib
import functools
import os

UNAVAILABLE = (
    "No offscreen OpenGL on this machine ({reason}). The generator renders through pyrender and EGL: "
    "`pip install 'painjax[generate]'` and, on Debian or Ubuntu, `apt-get install libegl1 libgl1 libgl1-mesa-dri "
    "libgles2`. No GPU or display is needed."
)


def open_context(size: int):
    """(pyrender EGL platform, OpenGL.GL); imported here so that reading data sets needs neither.

    Where there are several GPUs, processes spread over them by their ids. Mesa's rasteriser gets no threads of its own:
    its `lp_fence_signalled` takes no lock, so that a fence may be freed before the thread that signals it has unlocked
    it, which then writes into freed memory ("free(): corrupted unsorted chunks").
    """
    os.environ["PYOPENGL_PLATFORM"] = "egl"  # must precede the first import of OpenGL
    os.environ["LP_NUM_THREADS"] = "0"  # read as the first context of the process is made
    os.environ["PYGLET_HEADLESS"] = "true"  # pyrender imports its viewer, which else wants the libraries of a display
    try:
        from OpenGL import GL
        from OpenGL.error import Error
        from pyrender.platforms import egl
    except (ImportError, OSError, AttributeError) as error:
        raise _unavailable(error) from error
    reason = "EGL lists no device"
    for device in _devices(egl):
        platform = egl.EGLPlatform(size, size, device)
        try:
            platform.init_context()
            return platform, GL
        except Error as error:  # PyOpenGL's report of the call runs over many lines
            close_context(platform)
            reason = _words(error)
        except (OSError, AttributeError, RuntimeError, AssertionError) as error:
            close_context(platform)
            reason = error
    raise _unavailable(reason)


def _devices(egl) -> list:
    """EGL devices in the order in which this process tries them: GPUs, its own first, before software."""
    if egl._eglQueryDevicesEXT is None:
        return [egl.get_default_device()]
    devices = egl.query_devices()
    gpus = [device for device in devices if device.name]  # a software rasteriser has no device file
    turn = os.getpid() % len(gpus) if gpus else 0
    return gpus[turn:] + gpus[:turn] + [device for device in devices if not device.name]


def _unavailable(reason: Exception | str) -> RuntimeError:
    return RuntimeError(UNAVAILABLE.format(reason=str(reason) or type(reason).__name__))


def close_context(platform) -> None:
    """Gives a context back, and leaves the display to the other contexts of the process, as pyrender would not: the
    platform forgets both, for what is left to its destructor ends the display and all contexts with it."""
    from OpenGL import EGL

    display, context = platform._egl_display, platform._egl_context
    platform._egl_display = platform._egl_context = None
    if context is not None:
        EGL.eglDestroyContext(display, context)


@contextlib.contextmanager
def building(platform, gl, size: int):
    """Gives the context back if what is built in it fails, and turns the driver's error into a RuntimeError that says
    what to do; `size`: pixels of the pictures along a side."""
    try:
        yield
    except gl.Error as error:
        close_context(platform)
        raise RuntimeError(
            f"OpenGL could not set up a renderer for pictures of {size} x {size} pixels ({_words(error)}). Either they "
            "are larger than the driver can draw, or memory is short: choose a smaller size or a smaller "
            "PAINJAX_WORKERS."
        ) from error
    except BaseException:
        close_context(platform)
        raise


def _words(error) -> str:
    """What a PyOpenGL error says, without the arguments of the call."""
    call, words = getattr(error, "baseOperation", None), getattr(error, "description", None)
    words = words.decode() if isinstance(words, bytes) else words or f"error {getattr(error, 'err', None)}"
    return f"{call.__name__}: {words}" if hasattr(call, "__name__") else words


def explained(draw):
    """Turns what goes wrong in the driver while drawing into a RuntimeError that says what to do."""

    @functools.wraps(draw)
    def explained(self, *arguments, **named):
        try:
            return draw(self, *arguments, **named)
        except AssertionError as error:  # all that pyrender says
            raise RuntimeError(
                "The OpenGL context of this renderer is lost: it was closed, or the driver was reset. Run the same "
                "command again."
            ) from error
        except self._gl.Error as error:
            raise RuntimeError(
                f"OpenGL failed while drawing ({_words(error)}); nothing of this picture is kept. Run "
                "the same command again, with a smaller PAINJAX_WORKERS if memory is short."
            ) from error

    return explained
