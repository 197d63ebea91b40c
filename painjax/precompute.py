"""A frozen teacher's outputs on every example of a split, computed once: training then reads them beside the pictures.

`painjax precompute --workdir=runs/teacher --split=train --to=outputs` writes the folder that `config.teacher_outputs`
names; `painjax.data.precomputed` says what is in it.
"""

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from array_record.python.array_record_module import ArrayRecordWriter
from flax import nnx
from jax.experimental import multihost_utils
from jaxtyping import Array
from ml_collections import ConfigDict, FrozenConfigDict
from tqdm import tqdm

from painjax.checkpoint import restore_model, weights_sha256
from painjax.data.batches import one_ahead
from painjax.data.precomputed import DTYPES, MANIFEST, Manifest, as_manifest, read_manifest
from painjax.data.records import dataset_version
from painjax.data.sources import FrameSource
from painjax.data.transforms import prepare
from painjax.errors import UserError
from painjax.files import write_json
from painjax.models.vitpain import ViTPain
from painjax.sharding import batch_sharding, batch_ways, create_mesh, replicated
from painjax.teacher_outputs import TeacherOutputs

_BEGUN = "unfinished.json"  # the manifest of what is being written
_SHARD_BYTES = 2**27
_MIN_SHARDS = 16  # so that the processes share a small data set too, and a killed run loses little of it
READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
_FILE_BYTES = 2**17  # of a file beside its records: its first and last blocks
_GB = 1e9


def main(
    workdir: str | os.PathLike,
    split: str,
    to: str | os.PathLike,
    *,
    data_name: str | None = None,
    data_dir: str | None = None,
    dtype: str = "bfloat16",
    flip: bool = True,
    batch_size: int | None = None,
) -> Manifest:
    """Writes what the best checkpoint of `workdir` says of every example of `split` into the folder `to`.

    Every process computes, on its own devices, the files that are its share: they need not wait for each other. A run
    that was killed goes on with the files that are missing, on any number of processes; a finished folder is left as it
    is.

    Args:
      workdir: of a trained teacher, or a model folder.
      split: of the data set that the students will be trained on.
      to: folder that all processes share; new, empty, or of the same run before it was stopped.
      data_name: data set; None: the one the teacher was trained on.
      data_dir: where data sets lie; None: as when the teacher was trained.
      dtype: of the stored tokens, 'bfloat16' or 'float32'. All else is float32.
      flip: also look at the mirrored heatmaps, for students whose `data.augment.flip` is not 0.
      batch_size: heatmaps at a time in each process (rounded up to its devices); None: as when the teacher was trained.

    Returns:
      What was written.

    Raises:
      UserError: if the model is no teacher, the data set is missing, `to` holds something else, or the disk is too
        small.
      FileNotFoundError: if `workdir` has no checkpoint.
    """
    to = Path(to)
    _check_arguments(dtype, batch_size)
    model, config, step = restore_model(workdir)
    if config.data.input != "heatmap":
        raise UserError(
            f"{workdir} takes data.input = {config.data.input!r}; expected a teacher, which takes 'heatmap'."
        )
    if data_name is not None:
        config.data.name = data_name
    if data_dir is not None:
        config.data.data_dir = data_dir
    source = FrameSource(config.data.name, split, ("heatmap",), config.data.data_dir)
    about = {
        "teacher": os.fspath(workdir),
        "teacher_step": step,
        "teacher_sha256": weights_sha256(workdir, step),
        "data_set": dataset_version(config.data.name, config.data.data_dir),
        "split": split,
    }
    manifest = plan(config, len(source), dtype=dtype, flip=flip, **about)

    # ---- Look at what is there ----
    if _is_finished(to, manifest):
        logging.info("%s is finished: all %d examples are there.", to, manifest.count)
        return manifest
    missing = [i for i in range(len(manifest.shards)) if not manifest.shard_path(to, i).exists()]
    _check_space(to, manifest, missing)
    _wait_for_all("looked")
    if jax.process_index() == 0:
        write_json(to / _BEGUN, dataclasses.asdict(manifest))
    _wait_for_all("begun")  # the folder is there

    # ---- Compute ----
    own = missing[jax.process_index() :: jax.process_count()]
    compute = FrozenTeacher(model, config, manifest, batch_size or config.batch_size, jax.local_devices())
    examples = sum(len(manifest.shards[i]) for i in own)
    quiet = True if jax.process_index() else None  # a bar on a terminal, and of the first process alone
    with tqdm(total=examples, desc=f"precompute {split}", unit="frame", file=sys.stderr, disable=quiet) as bar:
        for i in own:
            write_shard(manifest.shard_path(to, i), manifest, _counted(compute(source, manifest.shards[i]), bar))

    # ---- Finish ----
    _wait_for_all("written")
    if jax.process_index() == 0:
        lost = [path for i in missing if not (path := manifest.shard_path(to, i)).exists()]
        if lost:
            raise UserError(
                f"{lost[0]} is missing, which another process has written: {to} is not a folder that all processes "
                "share. Name one that is."
            )
        write_json(to / MANIFEST, dataclasses.asdict(manifest))
        (to / _BEGUN).unlink()
    return manifest


def plan(config: ConfigDict, count: int, *, dtype: str, flip: bool, **about: Any) -> Manifest:
    """What will be written for `count` examples by the teacher of `config`; `about` are the other fields."""
    model = config.model
    manifest = Manifest(
        count=count,
        image_size=model.image_size,
        patches=(model.image_size // model.patch_size) ** 2,
        width=model.width,
        dtype=dtype,
        flip=flip,
        examples_per_shard=1,
        **about,
    )
    per_shard = max(1, min(_SHARD_BYTES // manifest.example_bytes, -(-count // _MIN_SHARDS)))
    return dataclasses.replace(manifest, examples_per_shard=per_shard)


class FrozenTeacher:
    """The teacher on `devices` of this process, each with a copy of the weights and its rows of a batch."""

    def __init__(
        self, model: ViTPain, config: ConfigDict, manifest: Manifest, batch_size: int, devices: Sequence[jax.Device]
    ):
        self._mesh = create_mesh({"data": -1, "fsdp": 1}, devices)
        self._rows = -(-batch_size // batch_ways(self._mesh)) * batch_ways(self._mesh)
        graphdef, state = nnx.split(model)
        state = jax.device_put(state, replicated(self._mesh))
        settings = {"graphdef": graphdef, "config": FrozenConfigDict(config), "dtype": manifest.dtype}
        self._outputs = functools.partial(_outputs, state, flip=manifest.flip, **settings)

    def __call__(self, source: Any, examples: range) -> Iterator[list[dict[str, np.ndarray]]]:
        """For each of `examples` of `source`, a `FrameSource` or like one, its outputs by name, upright and, if asked
        for, mirrored."""
        batches = -(-len(examples) // self._rows)
        last = examples[-1]  # repeated, to fill up the last batch
        padded = grain.MapDataset.range(examples.start, examples.start + batches * self._rows)
        read = padded.map(lambda i: source[min(i, last)]).batch(self._rows).to_iter_dataset(READ_OPTIONS)
        left = len(examples)
        with jax.set_mesh(self._mesh):
            for outputs in one_ahead(self._outputs(self._put(batch)) for batch in read):
                outputs = jax.device_get(outputs)
                for row in range(min(left, self._rows)):
                    yield [{name: values[row] for name, values in version.items()} for version in outputs]
                left -= self._rows

    def _put(self, batch: Mapping[str, np.ndarray]) -> dict[str, Array]:
        seen = {name: batch[name] for name in ("heatmap", "index")}
        return jax.device_put(seen, batch_sharding(self._mesh))


@functools.partial(jax.jit, static_argnames=("graphdef", "config", "dtype", "flip"))
def _outputs(
    state: nnx.State,
    batch: Mapping[str, Array],
    *,
    graphdef: nnx.GraphDef,
    config: FrozenConfigDict,
    dtype: str,
    flip: bool,
) -> list[dict[str, Array]]:
    teacher = nnx.merge(graphdef, state)
    heatmap = prepare(batch, config)["heatmap_input"]
    found = []
    for version in (heatmap, heatmap[:, :, ::-1]) if flip else (heatmap,):
        outputs = vars(TeacherOutputs.of_model(teacher(version)))
        found.append(outputs | {"patch_tokens": outputs["patch_tokens"].astype(jnp.dtype(dtype))})
    return found


def write_shard(path: Path, manifest: Manifest, examples: Iterable[list[dict[str, np.ndarray]]]) -> None:
    """Writes what `FrozenTeacher` yields; readers see the whole file or none."""
    partial = path.with_name(f".{path.name}.partial")
    # A record of its own for every example; numbers of which no two are alike do not get smaller.
    writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
    for versions in examples:
        for outputs in versions:
            record = manifest.pack(**outputs)
            with _full_disk_named(path):  # a long file's is met on the way, a short one's at its end
                writer.write(record)
    with _full_disk_named(path):
        writer.close()
    partial.replace(path)


@contextlib.contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that the writer raises
        raise UserError(f"{path} cannot be written: {error}. Make room; the same command goes on from here.") from error


def _counted(examples: Iterable, bar: tqdm) -> Iterator:
    for example in examples:
        yield example
        bar.update()


def _check_arguments(dtype: str, batch_size: int | None) -> None:
    if dtype not in DTYPES:
        raise UserError(f"--dtype is {dtype!r}; expected one of {', '.join(DTYPES)}.")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"--batch_size is {batch_size}; expected at least 1.")


def _is_finished(to: Path, manifest: Manifest) -> bool:
    """Whether `to` holds just what is asked for.

    Raises:
      UserError: if it holds something else.
    """
    if (to / MANIFEST).is_file():
        _refuse_other(to, read_manifest(to), manifest)
        return True
    if (to / _BEGUN).is_file():
        try:
            begun = as_manifest(json.loads((to / _BEGUN).read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{to / _BEGUN} cannot be read ({error}). Remove {to}, and start again.") from error
        _refuse_other(to, begun, manifest)
    elif to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise UserError(f"{to} is not an empty folder, and nothing is overwritten. Name a new folder.")
    return False


def _refuse_other(to: Path, found: Manifest, wanted: Manifest) -> None:
    found, wanted = dataclasses.asdict(found), dataclasses.asdict(wanted)
    differs = [f"{k}: {found[k]} there, {wanted[k]} now" for k in wanted if k != "teacher" and found[k] != wanted[k]]
    if differs:
        raise UserError(
            f"{to} holds other outputs of a teacher ({'; '.join(differs)}). Name a new folder, or remove it."
        )


def _check_space(to: Path, manifest: Manifest, missing: list[int]) -> None:
    """Says how much will be written; raises UserError if the disk has less."""
    needed = sum(len(manifest.shards[i]) * manifest.example_bytes + _FILE_BYTES for i in missing)
    there = next(folder for folder in (to.absolute(), *to.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    logging.info(
        "%d examples of %d bytes are %.3g GB; %.3g GB are left to write in %s, which has %.3g GB free.",
        manifest.count, manifest.example_bytes, manifest.count * manifest.example_bytes / _GB, needed / _GB, to,
        free / _GB,
    )  # fmt: skip
    if needed > free:
        raise UserError(
            f"{to} needs {needed / _GB:.3g} GB, and its disk has {free / _GB:.3g} GB free. Name a folder on a larger "
            "one, or store less: --dtype=bfloat16, or --no_flip for students that are trained without flipping."
        )


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"precompute {what}")
