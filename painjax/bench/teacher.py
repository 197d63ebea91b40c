"""`painjax bench teacher`: what it costs a student to have its teacher in the step, or to read what it said before."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from painjax import sharding
from painjax.bench.case import PATCH_SIZE, Case, make_case
from painjax.bench.machine import describe
from painjax.bench.rounds import alternate, spread, timed
from painjax.data.precomputed import MANIFEST, Manifest, PrecomputedOutputs
from painjax.files import write_json
from painjax.precompute import READ_OPTIONS, FrozenTeacher, plan, write_shard
from painjax.pspi import AU_MAX, PSPI_MAX
from painjax.state import create_state, make_model, make_train_step

BATCHES = 4  # of different examples
_MATCHING = {"features": 1.0, "match_pspi": 0.5, "match_aus": 0.5, "match_thresholds": 0.1}


def main(
    size: str = "s",
    *,
    teacher_size: str | None = None,
    image_size: int = 224,
    batch_size: int = 8,
    dtype: str | None = None,
    matmul_dtype: str = "float32",
    neutral: bool = True,
    rounds: int = 5,
    seconds: float = 6.0,
) -> dict[str, Any]:
    """Measures whole training steps of a student in three ways, taking turns on one device.

    Student and teacher have the heads, losses and augmentation of `configs/student.py`; weights and pictures are
    random. Decoding pictures is left out on all sides; outputs are read from disk in the background, as in training,
    from files that have just been written and are in the system's cache.

    Args:
      size, image_size, batch_size, dtype, matmul_dtype, neutral: see `Case`; size 'quick' is that of the experiments in
        `configs/`.
      teacher_size: its encoder's; None: as the student's.
      rounds: the figures are their medians.
      seconds: how long each side runs in a round.

    Returns:
      `images_per_second`: {`inside`, `stored`, `alone`}, with the teacher in the step, with stored outputs, and without
      a teacher; `ratio`: stored to inside; `ratio_per_round`; `rounds`; `bytes_per_example` on disk, of which training
      reads `bytes_read_per_example`; `precomputed_per_second`: examples, looked at twice and written; `epochs_to_pay`:
      after how many passes of a training over the data precomputing has been worth it (None: never), and
      `steps_to_pay_per_1000_examples`; the settings; processor, load, threads, versions.

    Raises:
      UserError: if a setting cannot be measured.
    """
    case = make_case(
        dtype,
        size=size,
        image_size=image_size,
        batch_size=batch_size,
        matmul_dtype=matmul_dtype,
        neutral=neutral,
        lora_rank=0,
    )
    teacher_case = dataclasses.replace(case, size=teacher_size or size, neutral=False)
    machine = describe()
    config = _config(case, teacher_case)
    teacher = _teacher_config(config, teacher_case)
    mesh = sharding.create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    with tempfile.TemporaryDirectory() as folder:
        manifest, precomputed = _precompute(config, teacher, Path(folder))
        outputs = PrecomputedOutputs(folder)
        student = config.copy_and_resolve_references()
        alone = config.copy_and_resolve_references()
        alone.loss = ConfigDict({name: weight for name, weight in config.loss.items() if name not in _MATCHING})
        steps = {
            "inside": _step(student, mesh, None, teacher=teacher),
            "stored": _step(student, mesh, outputs),
            "alone": _step(alone, mesh, None),
        }
        sides = {name: lambda step=step: timed(step, batch_size, seconds) for name, step in steps.items()}
        rates = alternate(sides, rounds, "bench teacher")
    median = {name: statistics.median(each) for name, each in rates.items()}
    saved = 1 / median["inside"] - 1 / median["stored"]  # seconds per image
    epochs = 1 / precomputed / saved if saved > 0 else None
    return {
        "command": "teacher",
        "images_per_second": median,
        "ratio": median["stored"] / median["inside"],
        "ratio_per_round": spread([a / b for a, b in zip(rates["stored"], rates["inside"], strict=True)]),
        "rounds": {name: spread(each) for name, each in rates.items()},
        "bytes_per_example": manifest.example_bytes,
        "bytes_read_per_example": manifest.record_bytes,
        "precomputed_per_second": precomputed,
        "epochs_to_pay": epochs,
        "steps_to_pay_per_1000_examples": None if epochs is None else epochs * 1000 / batch_size,
        "settings": {"size": size, "teacher_size": teacher_case.size, "image_size": image_size}
        | {"batch_size": batch_size, "dtype": case.dtype, "matmul_dtype": matmul_dtype, "neutral": neutral},
        **machine,
    }


class _Frames:
    """Random frames with the fields of `painjax.data.sources.FrameSource`, in memory."""

    def __init__(self, config: ConfigDict):
        rng = np.random.default_rng(0)
        side, images = config.model.image_size, {"image": 3, "heatmap": 1}
        if config.model.neutral != "none":
            images["neutral_image"] = 3
        self._count = BATCHES * config.batch_size
        self._images = {
            name: rng.integers(0, 256, (self._count, side, side, channels), np.uint8)
            for name, channels in images.items()
        }
        self._aus = (rng.random((self._count, len(AU_MAX))) * np.array(AU_MAX)).astype(np.float32)
        self._pspi = (rng.random(self._count) * PSPI_MAX).astype(np.float32)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: pixels[index] for name, pixels in self._images.items()} | {
            "aus": self._aus[index],
            "pspi": self._pspi[index],
            "index": np.int32(index),
        }


def _precompute(config: ConfigDict, teacher: ConfigDict, folder: Path) -> tuple[Manifest, float]:
    """The outputs of a teacher in `folder`, and how many examples per second that took."""
    frames = _Frames(config)
    about = {"teacher": "", "teacher_step": 0, "teacher_sha256": "", "data_set": {}, "split": "train"}
    manifest = plan(teacher, len(frames), dtype="bfloat16", flip=True, **about)
    model = make_model(teacher)
    model.eval()
    compute = FrozenTeacher(model, teacher, manifest, config.batch_size, jax.devices()[:1])
    next(compute(frames, range(1)))  # compiles
    began = time.perf_counter()
    for i, examples in enumerate(manifest.shards):
        write_shard(manifest.shard_path(folder, i), manifest, compute(frames, examples))
    seconds = time.perf_counter() - began
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))
    return manifest, len(frames) / seconds


def _step(
    config: ConfigDict, mesh: jax.sharding.Mesh, outputs: PrecomputedOutputs | None, teacher: ConfigDict | None = None
) -> Callable[[], None]:
    """One training step: gets a batch, runs and waits for the result."""
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh, teacher)
        update = make_train_step(config, optimizer, shardings, mesh)
    batches = _batches(config, outputs)

    def step() -> None:
        nonlocal state
        with jax.set_mesh(mesh):
            state, terms = update(state, sharding.put_batch(next(batches), mesh))
        terms["loss"].block_until_ready()

    return step


def _batches(config: ConfigDict, outputs: PrecomputedOutputs | None) -> Iterator[dict[str, np.ndarray]]:
    frames = _Frames(config)

    def load(i: int) -> dict[str, Any]:
        index, flip = i % len(frames), i % 2 == 1
        taught = {} if outputs is None else outputs.read(index, flip)
        row = np.int32(i % config.batch_size)
        return frames[index] | taught | {"row": row, "flip": np.bool_(flip), "valid": np.True_}

    endless = grain.MapDataset.range(2**40).map(load).batch(config.batch_size)
    return iter(endless.to_iter_dataset(READ_OPTIONS))


def _config(case: Case, teacher: Case) -> ConfigDict:
    """The student's experiment, as far as a step reads it."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1_000_000,
            "batch_size": case.batch_size,
            "accumulate": 1,
            "ema_decay": 0.0,
            "frozen_dtype": "float32",
            "data": {
                "input": "image",
                "drop_neutral": 0.2,
                "label_noise": 0.0,
                "augment": {
                    "flip": 0.5, "shift": 0.0, "scale": 0.0, "brightness": 0.1, "contrast": 0.2, "saturation": 0.2,
                    "tint": 0.05, "noise": 0.02, "rotation": 0.0, "blur": 0.0, "erase": 0.0,
                },
            },
            "model": {
                "image_size": case.image_size,
                "patch_size": PATCH_SIZE,
                "width": case.width,
                "depth": case.depth,
                "heads": case.heads,
                "registers": 4,
                "layer_scale": 0.1,
                "neutral": "channels" if case.neutral else "none",
                "project_width": teacher.width,
                "dtype": case.dtype,
                "matmul_dtype": case.matmul_dtype,
            },
            "loss": {"pspi": 1.0, "aus": 1.0, "consistency": 0.1, "thresholds": 0.1, "heatmap": 1.0, "attention": 0.1}
            | _MATCHING,
            "optim": {
                "learning_rate": 1e-4,
                "schedule": "constant",
                "warmup_steps": 0,
                "final_fraction": 1.0,
                "weight_decay": 0.05,
                "b1": 0.9,
                "b2": 0.95,
                "clip_norm": 1.0,
                "groups": {"all": {"pattern": ".*", "rate": 1.0}},
            },
        }
    )  # fmt: skip


def _teacher_config(config: ConfigDict, case: Case) -> ConfigDict:
    teacher = config.copy_and_resolve_references()
    teacher.data.input = "heatmap"
    teacher.model.update({"in_channels": 1, "neutral": "none", "project_width": 0})
    teacher.model.update({"width": case.width, "depth": case.depth, "heads": case.heads})
    return teacher
