"""A trained model as a function from pictures, with or without neutral pictures of the same person.

predictor = Predictor("runs/student")
reference = predictor.enrol(["calm1.jpg", "calm2.jpg"])  # the person at rest, encoded once
predictor.predict("folder_of_that_person", reference).pspi  # one pass of the encoder per picture
"""

import collections
import contextlib
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, UInt8
from ml_collections import ConfigDict
from PIL import Image

from painjax import checkpoint, video
from painjax.data.transforms import Normalisation, normalisation, normalise
from painjax.errors import UserError
from painjax.evaluate import clip_to_range
from painjax.models import lora
from painjax.models.vit import unpatchify
from painjax.models.vitpain import Reference, ViTPain, ViTPainConfig
from painjax.pictures import Crop, PathLike, Picture, PictureReader, PictureSource, find_files
from painjax.sharding import create_mesh, put_batch, replicated

_THREADS = min(8, os.cpu_count() or 1)  # that read pictures


class Prediction(NamedTuple):
    """What a model says about one picture; None: it does not tell, or was not asked.

    pspi: 0..16. pspi_std: the standard deviation of its error that the model expects. aus: intensities in the order of
    `AU_NAMES`, 0..5, AU43 0..1. pspi_from_aus: the PSPI formula on them. threshold_probability: of PSPI >= 1, 2, 3.
    heatmap: of pain, 0..1, on the pixels that the model saw. attention: where each AU query looks, over the patches.
    """

    picture: Picture
    pspi: Float[np.ndarray, ""]
    pspi_std: Float[np.ndarray, ""] | None
    pspi_from_aus: Float[np.ndarray, ""]
    aus: Float[np.ndarray, "A"]
    threshold_probability: Float[np.ndarray, "T"]
    heatmap: Float[np.ndarray, "S S"] | None
    attention: Float[np.ndarray, "A P"] | None


class Predictions(NamedTuple):
    """`Prediction` for N pictures in their order, with the warnings of each."""

    pspi: Float[np.ndarray, "N"]
    pspi_std: Float[np.ndarray, "N"] | None
    pspi_from_aus: Float[np.ndarray, "N"]
    aus: Float[np.ndarray, "N A"]
    threshold_probability: Float[np.ndarray, "N T"]
    heatmap: Float[np.ndarray, "N S S"] | None
    attention: Float[np.ndarray, "N A P"] | None
    warnings: list[list[str]]


class VideoPlace(NamedTuple):
    """One frame of a video: its index from 0 and its time in seconds."""

    path: Path
    frame: int
    time_s: float

    def __str__(self) -> str:
        return f"{self.path}, frame {self.frame}"


class Predictor:
    """A trained model, ready on all devices: weights are put there once, adapters folded in.

    Pictures are read by threads while the devices compute, in batches of a few fixed sizes, so that any number of
    pictures compiles at most three programs. Only a few batches are ever in memory.

    Raises:
      UserError: if the model cannot be read, or an argument is not what is expected.
      FileNotFoundError: if `model` is a folder without a trained model.
    """

    def __init__(
        self,
        model: PathLike | ViTPain,
        *,
        config: ConfigDict | None = None,
        batch_size: int | None = None,
        crop: str | Crop = "centre",
    ):
        """
        Args:
          model: a training run, a model folder, or a model.
          config: only for a model given as such, the experiment it comes from: reads `batch_size` and `data.{input,
            image_mean, image_std, image_crop, image_interpolation}`.
          batch_size: pictures per batch on all devices together, rounded up to a multiple of them; as in training by
            default.
          crop: where the face is in a picture (see `PictureReader`).
        """
        if not isinstance(model, ViTPain):
            model, config, _ = checkpoint.restore_model(model)
        config = config or ConfigDict({"batch_size": 32, "data": {}})
        data, batch_size = config.data, config.batch_size if batch_size is None else batch_size
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; expected at least 1.")
        params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        self.config: ViTPainConfig = model.config
        if self.config.lora_rank:
            params, self.config = lora.merge(params, self.config)
        self.read = PictureReader(
            self.config.image_size,
            self.config.in_channels,
            crop,
            data.get("image_crop", 1.0),
            data.get("image_interpolation", "lanczos"),
        )
        self._mesh = create_mesh({"data": -1, "fsdp": 1}, jax.local_devices())
        self._params = jax.device_put(params, replicated(self._mesh))
        kind = data.get("input", "image" if self.config.in_channels == 3 else "heatmap")
        self._static = {"config": self.config, "figures": normalisation(data, kind)}
        steps = (1, batch_size // 4, batch_size)
        self._buckets = sorted({max(math.ceil(step / self._mesh.size), 1) * self._mesh.size for step in steps})

    def enrol(self, neutral: PictureSource | Picture | Iterable[PictureSource | Picture]) -> Reference:
        """Encodes neutral pictures of one person, once, for any number of predictions.

        Args:
          neutral: one or several pictures of the person at rest, or a folder of them; best from the same view as what
            is to be predicted. Any size: they are cut and scaled as every picture.

        Raises:
          UserError: if the model cannot use neutral pictures, or one of them cannot be used.
        """
        if self.config.neutral == "none":
            raise UserError(
                "This model was trained without neutral references (config.model.neutral = 'none') and cannot use one; "
                "leave out --neutral, or take a model trained with one, such as --config.model.neutral=shared."
            )
        rows = [self._read(source, name).pixels for name, source in _named(neutral)]
        if not rows:
            raise UserError("No pictures were given to enrol.")
        count = 1 << (len(rows) - 1).bit_length()  # powers of two: few programs for any number of pictures
        pixels, valid = np.stack(rows + rows[-1:] * (count - len(rows))), np.arange(count) < len(rows)  # [R, S, S, C]
        with jax.set_mesh(self._mesh):
            return _enrol(self._params, *jax.device_put((pixels, valid), replicated(self._mesh)), **self._static)

    def predict(
        self,
        pictures: PictureSource | Picture | Iterable[PictureSource | Picture],
        reference: Reference | None = None,
        *,
        heatmap: bool = False,
        attention: bool = False,
    ) -> Predictions:
        """Predicts one or several pictures, or a folder of them, all of the person of `reference` if one is given.

        Heatmap and attention are computed only where asked for.

        Raises:
          UserError: if a picture cannot be used, or there is none, or the model has no heatmap.
        """
        found = []
        for _, result in self.stream(_named(pictures), reference, heatmap=heatmap, attention=attention):
            if isinstance(result, UserError):
                raise result
            found.append(result)
        if not found:
            raise UserError("No pictures were given to predict.")
        columns = {
            name: None if getattr(found[0], name) is None else np.stack([getattr(row, name) for row in found])
            for name in Prediction._fields
            if name != "picture"
        }
        return Predictions(**columns, warnings=[row.picture.warnings for row in found])

    def predict_video(
        self,
        path: PathLike,
        reference: Reference | None = None,
        *,
        every: int = 1,
        fps: float | int | None = None,
        heatmap: bool = False,
        attention: bool = False,
    ) -> Iterator[tuple[VideoPlace, Prediction | UserError]]:
        """Yields what the model says about the frames of a video, as they are read.

        A frame that cannot be used, for instance because the crop function found no face (NoFaceError), comes with the
        reason. `every` and `fps` choose frames as in `painjax.video.read_frames`, which says what is raised.
        """
        frames = video_frames(Path(path), every, fps)
        return self.stream(frames, reference, heatmap=heatmap, attention=attention)

    def stream(
        self,
        sources: Iterable[tuple[Any, PictureSource | Picture]],
        reference: Reference | None = None,
        *,
        heatmap: bool = False,
        attention: bool = False,
    ) -> Iterator[tuple[Any, Prediction | UserError]]:
        """Yields (key, prediction) for (key, picture) in their order; for a picture that cannot be used, the reason.

        Takes pictures as it needs them, up to two batches ahead of what it yields. Messages call a picture by its key.

        Raises:
          UserError: if a heatmap is wanted of a model that has none, or `reference` does not come from `enrol`.
        """
        if not isinstance(reference, Reference | None):
            raise UserError(f"The reference is {type(reference).__name__}; expected what Predictor.enrol returns.")
        if heatmap and self.config.heads_layout == "official":
            raise UserError("This model has the authors' heads, which predict no heatmap; ask without heatmap.")
        dispatch = functools.partial(self._dispatch, reference=reference, heatmap=heatmap, attention=attention)
        waiting, broken = None, []

        def until_it_breaks() -> Iterator[tuple[Any, PictureSource | Picture]]:
            try:
                yield from sources
            except UserError as error:  # said after the pictures before it
                broken.append(error)

        remaining = until_it_breaks()
        with contextlib.closing(_Threads(self._read)) as threads:
            while batch := threads.read(itertools.islice(remaining, self._buckets[-1])):
                running = batch, dispatch([picture for _, picture in batch if isinstance(picture, Picture)])
                # The batch before is awaited only now: while the devices computed it, this one was read.
                if waiting:
                    yield from _rows(*waiting)
                waiting = running
            if waiting:
                yield from _rows(*waiting)
        if broken:
            raise broken[0]

    def _read(self, source: PictureSource | Picture, name: str) -> Picture:
        return source if isinstance(source, Picture) else self.read(source, name)

    def _dispatch(self, batch: list[Picture], reference: Reference | None, **parts: bool) -> dict[str, Array]:
        """Starts the computation of up to a batch of pictures; the rows beyond theirs are filling."""
        if not batch:
            return {}
        size = next(bucket for bucket in self._buckets if bucket >= len(batch))
        pixels = np.stack([picture.pixels for picture in batch + batch[-1:] * (size - len(batch))])  # [B, S, S, C]
        with jax.set_mesh(self._mesh):
            return _forward(self._params, **put_batch({"pixels": pixels}, self._mesh), reference=reference,
                            **self._static, **parts)  # fmt: skip


@functools.partial(jax.jit, static_argnames=("config", "figures", "heatmap", "attention"))
def _forward(
    params: dict[str, Any],
    pixels: UInt8[Array, "B S S C"],
    reference: Reference | None,
    *,
    config: ViTPainConfig,
    figures: Normalisation,
    heatmap: bool,
    attention: bool,
) -> dict[str, Float[Array, "B *rest"]]:
    output = _model(params, config)(_to_input(pixels, figures), reference=reference)
    rows = clip_to_range(output) | {"pspi_from_aus": output.pspi_from_aus}
    if output.pspi_log_variance is not None:
        rows["pspi_std"] = jnp.exp(output.pspi_log_variance / 2)
    if heatmap:
        grid = config.image_size // config.patch_size
        heat = jax.nn.sigmoid(output.heatmap)  # [B, P, p*p]
        rows["heatmap"] = unpatchify(heat, config.patch_size, grid, grid)[..., 0]  # [B, S, S]
    if attention:
        rows["attention"] = output.au_attention
    return rows


@functools.partial(jax.jit, static_argnames=("config", "figures"))
def _enrol(
    params: dict[str, Any],
    pixels: UInt8[Array, "R S S C"],
    valid: Bool[Array, "R"],
    *,
    config: ViTPainConfig,
    figures: Normalisation,
) -> Reference:
    return _model(params, config).enrol(_to_input(pixels, figures)[None], valid[None])


def _model(params: dict[str, Any], config: ViTPainConfig) -> ViTPain:
    """The model around `params`. Made inside a trace, where initial values that nobody reads are never computed."""
    model = ViTPain(config, rngs=nnx.Rngs(0))
    model.eval()
    nnx.update(model, params)
    return model


def _to_input(pixels: UInt8[Array, "B S S C"], figures: Normalisation) -> Float[Array, "B S S C"]:
    return normalise(pixels.astype(jnp.float32) / 255, figures)


class _Threads:
    """Reads pictures side by side, and no more of them at a time than threads can keep up with: a waiting video frame
    takes far more memory than the square cut out of it."""

    def __init__(self, read: Callable[[PictureSource | Picture, str], Picture]):
        self._read = read
        self._pool = ThreadPoolExecutor(_THREADS)

    def read(self, sources: Iterable[tuple[Any, PictureSource | Picture]]) -> list[tuple[Any, Picture | UserError]]:
        keys, waiting, done = [], collections.deque[Future](), []
        for key, source in sources:
            keys.append(key)
            waiting.append(self._pool.submit(self._try, source, str(key)))
            if len(waiting) == 2 * _THREADS:
                done.append(waiting.popleft().result())
        return list(zip(keys, done + [future.result() for future in waiting], strict=True))

    def _try(self, source: PictureSource | Picture, name: str) -> Picture | UserError:
        try:
            return self._read(source, name)
        except UserError as error:
            return error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _rows(
    batch: list[tuple[Any, Picture | UserError]], computed: dict[str, Array]
) -> Iterator[tuple[Any, Prediction | UserError]]:
    columns = {"pspi_std": None, "heatmap": None, "attention": None} | jax.device_get(computed)
    at = 0
    for key, picture in batch:
        if isinstance(picture, UserError):
            yield key, picture
            continue
        yield key, Prediction(picture, **{n: None if c is None else c[at] for n, c in columns.items()})
        at += 1


def _named(
    sources: PictureSource | Picture | Iterable[PictureSource | Picture],
) -> Iterator[tuple[str, PictureSource | Picture]]:
    if isinstance(sources, str | os.PathLike):
        sources = [sources] if video.is_video(sources) else find_files(sources)
    elif isinstance(sources, Picture | Image.Image) or (isinstance(sources, np.ndarray) and sources.ndim < 4):
        sources = [sources]
    for i, source in enumerate(sources):
        if isinstance(source, str | os.PathLike) and video.is_video(source):
            raise UserError(f"{source} is a video; its frames come from Predictor.predict_video.")
        yield str(source) if isinstance(source, str | os.PathLike) else f"number {i}", source


def video_frames(path: Path, every: int, fps: float | int | None) -> Iterator[tuple[VideoPlace, np.ndarray]]:
    """The frames of a video as `Predictor.stream` takes them; see `painjax.video.read_frames`."""
    for frame in video.read_frames(path, every=every, fps=fps):
        yield VideoPlace(path, frame.index, frame.time_s), frame.pixels
