"""Frames of a video file, one at a time: a film of any length takes the memory of a few frames.

Needs PyAV (`pip install 'painjax[video]'`), which brings its own FFmpeg.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from painjax.errors import UserError

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp")
_LOST = 1.0  # seconds that a file may be shorter than its header says; headers are not that exact


class Frame(NamedTuple):
    """One upright frame. `index` counts every frame of the video from 0; `time_s` is in seconds from its start."""

    pixels: UInt8[np.ndarray, "H W 3"]
    index: int
    time_s: float


def is_video(path: str | os.PathLike) -> bool:
    """Whether the name ends as that of a video."""
    return Path(path).suffix.lower() in SUFFIXES


def read_frames(path: str | os.PathLike, *, every: int = 1, fps: float | int | None = None) -> Iterator[Frame]:
    """Yields frames in the order they are shown, upright as the camera was held, and with square pixels.

    Args:
      path: of a video file.
      every: yield each `every`-th frame.
      fps: yield at most this many frames per second of the video, by their time stamps.

    Raises:
      UserError: if PyAV is missing, `path` is no video, holds no frame, or breaks off (after the frames before that).
    """
    check_sampling(every, fps)
    av = _pyav()
    with _open(av, path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start = stream.start_time or 0
        index, window = -1, -1
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            except av.FFmpegError as error:
                raise UserError(
                    f"The video {path} cannot be read past its first {index + 1} frames ({error.strerror}). It may "
                    "have been cut off while copying; copy it again, or convert it with `ffmpeg -i`."
                ) from error
            if frame is None:
                break
            index += 1
            # Files without time stamps (raw streams) have a rate at least.
            time_s = index / _rate(stream) if frame.pts is None else float((frame.pts - start) * frame.time_base)
            end_s = time_s + float(start * stream.time_base)
            if index % every:
                continue
            if fps is not None:
                if math.floor(time_s * fps + 1e-6) <= window:
                    continue
                window = math.floor(time_s * fps + 1e-6)
            yield Frame(_upright(frame, stream), index, round(time_s, 6))
        seconds = _seconds(stream)
    if index < 0:
        raise UserError(f"The video {path} holds no frame; open it in a player to see whether it is complete.")
    if seconds is not None and seconds - end_s > max(_LOST, 0.05 * seconds):
        raise UserError(
            f"The video {path} breaks off after {end_s:.1f} of {seconds:.1f} seconds; it may have been cut off while "
            "copying. Copy it again."
        )


def expected_frames(path: str | os.PathLike, *, every: int = 1, fps: float | int | None = None) -> int | None:
    """About how many frames `read_frames` will yield, from the file's header; None if that does not say.

    Raises:
      UserError: as `read_frames`, but for what shows only while reading.
    """
    check_sampling(every, fps)
    av = _pyav()
    with _open(av, path) as container:
        stream = container.streams.video[0]
        seconds = _seconds(stream)
        frames = stream.frames or (seconds and round(seconds * _rate(stream)))
    if not frames:
        return None
    frames = math.ceil(frames / every)
    return frames if fps is None or seconds is None else min(frames, math.ceil(seconds * fps))


def check_sampling(every: int, fps: float | int | None) -> None:
    """Raises UserError if these cannot choose frames."""
    if every < 1:
        raise UserError(f"--every={every}; expected 1 (every frame) or more.")
    if fps is not None and not 0 < fps < math.inf:
        raise UserError(f"--fps={fps:g}; expected a positive number of frames per second.")
    if fps is not None and every != 1:
        raise UserError(f"--every={every} and --fps={fps:g} both say which frames to take; give one of them.")


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError("Reading a video needs PyAV; install it with: pip install 'painjax[video]'") from error
    return av


def _open(av: ModuleType, path: str | os.PathLike) -> Any:
    if not Path(path).is_file():
        raise UserError(f"There is no video {path}.")
    try:
        container = av.open(os.fspath(path))
    except av.FFmpegError as error:
        raise UserError(
            f"The video {path} cannot be read ({error.strerror}). Expected a complete video file; open it in a player, "
            "and convert it with `ffmpeg -i` if it shows."
        ) from error
    if not container.streams.video:
        others = " and ".join(sorted({stream.type for stream in container.streams})) or "no streams at all"
        container.close()
        raise UserError(f"The file {path} holds no video, but {others}; give the file with the picture in it.")
    return container


def _seconds(stream: Any) -> float | None:
    """Length of the picture by the file's header, None if that does not say."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    container = stream.container  # Matroska gives one length for all that is in it
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6
    return None


def _rate(stream: Any) -> float:
    """Frames per second; 25 where a file does not say."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def _upright(frame: Any, stream: Any) -> UInt8[np.ndarray, "H W 3"]:
    ratio = stream.sample_aspect_ratio or 1  # width of a pixel over its height
    pixels = frame.to_ndarray(format="rgb24", width=round(frame.width * ratio), height=frame.height)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
