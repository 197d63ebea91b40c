"""Video frames against what was encoded: order, time stamps, rotation, what is refused; and that reading is lazy."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from painjax import video
from painjax.errors import UserError

av = pytest.importorskip("av")


def film(path, times_ms=None, count=6, size=(48, 64), codec="ffv1", pix_fmt="bgr0", picture=None, ratio=None):
    """A lossless film (with the default codec) whose frame i is uniformly 10 * i, or `picture`."""
    times_ms = [40 * i for i in range(count)] if times_ms is None else times_ms
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        for i, time in enumerate(times_ms):
            pixels = np.full((*size, 3), 10 * i % 256, np.uint8) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_frames_come_in_order_with_their_times(tmp_path):
    path = film(tmp_path / "a.mkv", times_ms=[0, 40, 100, 500, 520, 2000])  # no steady rate, as telephones have it
    frames = list(video.read_frames(path))
    assert [f.index for f in frames] == [0, 1, 2, 3, 4, 5]
    assert [f.time_s for f in frames] == [0, 0.04, 0.1, 0.5, 0.52, 2.0]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels, np.full((48, 64, 3), 10 * i))


def test_time_runs_from_the_start_of_the_video(tmp_path):
    path = film(tmp_path / "a.mkv", times_ms=[5000, 5040, 5080])
    assert [f.time_s for f in video.read_frames(path)] == pytest.approx([0, 0.04, 0.08])


def test_every_and_fps_choose_frames(tmp_path):
    path = film(tmp_path / "a.mkv", count=25)  # one second
    assert [f.index for f in video.read_frames(path, every=10)] == [0, 10, 20]
    assert [f.index for f in video.read_frames(path, fps=5)] == [0, 5, 10, 15, 20]
    assert [f.index for f in video.read_frames(path, fps=1000)] == list(range(25))
    assert video.expected_frames(path) == 25
    assert video.expected_frames(path, every=10) == 3
    assert video.expected_frames(path, fps=5) == 5


def test_fps_follows_the_clock_where_the_rate_is_not_steady(tmp_path):
    path = film(tmp_path / "a.mkv", times_ms=[0, 10, 20, 30, 1000, 1010, 3500, 3510])
    assert [f.time_s for f in video.read_frames(path, fps=1)] == [0, 1.0, 3.5]


# Display matrices of the QuickTime format: a point (x, y) of the stored picture is shown at (a x + c y, b x + d y).
@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((0, 1, -1, 0), lambda p: p[::-1].swapaxes(0, 1)),  # right of the stored picture is shown at the bottom
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, -1, 1, 0), lambda p: p.swapaxes(0, 1)[::-1]),  # right is shown at the top
    ],
)
def test_frames_are_turned_as_the_telephone_was_held(tmp_path, matrix, upright):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16] = 255  # a mark in the stored picture's upper left corner
    path = film(tmp_path / "a.mp4", count=2, codec="mpeg4", pix_fmt="yuv420p", picture=picture)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # of the matrix in a track header of version 0
    identity = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    assert content[at : at + 36] == identity
    a, b, c, d = ((value << 16).to_bytes(4, "big", signed=True) for value in matrix)
    zero = bytes(4)
    content[at : at + 36] = a + b + zero + c + d + zero + zero + zero + (1 << 30).to_bytes(4, "big")
    path.write_bytes(content)
    for frame in video.read_frames(path):
        np.testing.assert_allclose(frame.pixels.astype(float), upright(picture).astype(float), atol=40)  # lossy


def test_pixels_are_made_square(tmp_path):
    path = film(tmp_path / "a.mkv", count=1, codec="libx264", pix_fmt="yuv420p", ratio=Fraction(3, 2))
    (frame,) = video.read_frames(path)
    assert frame.pixels.shape == (48, 96, 3)


def test_only_what_is_asked_for_is_read(tmp_path):
    """Abandoning a video after two frames is as good as reading it: nothing holds the rest."""
    frames = video.read_frames(film(tmp_path / "a.mkv", count=200))
    assert [next(frames).index, next(frames).index] == [0, 1]
    frames.close()


def test_what_is_no_video_is_refused_with_advice(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film at all" * 100)
    with pytest.raises(UserError, match="a.mp4 cannot be read.*convert it"):
        next(video.read_frames(tmp_path / "a.mp4"))
    with pytest.raises(UserError, match="no video .*none.mp4"):
        next(video.read_frames(tmp_path / "none.mp4"))


def test_sound_alone_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="holds no video, but audio"):
        next(video.read_frames(tmp_path / "a.mkv"))


def test_a_video_without_frames_is_refused(tmp_path):
    with av.open(str(tmp_path / "empty.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(UserError, match="holds no frame"):
        list(video.read_frames(tmp_path / "empty.avi"))


def test_a_video_that_was_cut_off_gives_the_frames_it_has_and_says_so(tmp_path):
    path = film(tmp_path / "a.mkv", count=100)
    (tmp_path / "cut.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = []
    with pytest.raises(UserError, match=r"cut.mkv breaks off after \d.\d of 4.0 seconds"):
        for frame in video.read_frames(tmp_path / "cut.mkv"):
            frames.append(frame)
    assert 20 < len(frames) < 80


@pytest.mark.parametrize("sampling", [{"every": 0}, {"fps": 0}, {"fps": -1}, {"every": 2, "fps": 5}])
def test_sampling_is_checked(tmp_path, sampling):
    with pytest.raises(UserError, match="expected|give one"):
        next(video.read_frames(film(tmp_path / "a.mkv"), **sampling))


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mkv")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'painjax\[video\]'"):
        next(video.read_frames(path))
