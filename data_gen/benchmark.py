"""`painjax bench generate`: frames per second of the generator, stage by stage, beside a naive pyrender loop.

Two measurements in one run: the real driver with its processes and TFDS's writer of array_record files, by the wall
clock; and `stage_times` and `naive_loop` on one core each, by processor time, taking turns.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_gen import generate, naive_loop, plan, processes, stage_times
from data_gen.face_models import FACE_MODELS
from data_gen.generator_config import GeneratorConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark from a command line; 0."""
    options = _options(arguments)
    result = benchmark(
        GeneratorConfig(options.face_model, options.size, texture_size=options.texture_size),
        options.identities,
        processes.worker_count() if options.workers is None else options.workers,
    )
    print(json.dumps(result, allow_nan=False) if options.json else _text(result))  # noqa: T201
    return 0


def benchmark(config: GeneratorConfig, identities: int, workers: int) -> dict:
    """Measures the generator.

    Args:
      config: what to generate.
      identities: how many are timed, beside the first ones, which warm the processes up.
      workers: rendering processes.

    Returns:
      `frames_per_second` from end to end by the wall clock; `ratio_vs_naive_per_core`; `workers`; `stages`, frames per
      second of each stage alone on one core; `stage_ms`; `frame_ms` and `naive_frame_ms`, processor time; what
      `lower_bound_ms` GL and the encoders alone need; `peak_memory_mib` of one process; and what was asked for.

    Raises:
      RuntimeError: if OpenGL, TFDS or array_record is not there; the message says what to install.
    """
    if identities < 1 or workers < 1:
        raise ValueError(f"identities is {identities} and workers is {workers}; expected at least 1 of each.")
    frames_per_second, write_ms = _end_to_end(config, identities, workers)
    measured = _per_core(config, identities)
    stage_ms = measured["stage_ms"] | {"write": write_ms}
    return {
        "frames_per_second": frames_per_second,
        "ratio_vs_naive_per_core": (measured["naive_frame_ms"] + write_ms) / (measured["frame_ms"] + write_ms),
        "workers": workers,
        "stages": {name: 1000 / max(ms, 1e-6) for name, ms in stage_ms.items()},
        **measured,
        "stage_ms": stage_ms,
        "face_model": config.face_model,
        "image_size": config.image_size,
        "texture_size": config.texture_size,
        "identities": identities,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


def _end_to_end(config: GeneratorConfig, identities: int, workers: int) -> tuple[float, float]:
    """Frames per second by the wall clock, and the writing process' milliseconds for each frame."""
    folder = Path(tempfile.mkdtemp(prefix="painjax_bench_"))
    warm = workers * plan.frames_per_identity(config.plan)  # frames of the first identity of every process
    writer, start, spent, count = None, 0.0, 0.0, 0
    try:
        for key, example in generate.generate(config, range(identities + workers), workers):
            writer = writer or _writer(example, folder)
            begin = time.process_time()
            writer.write(key, example)
            count += 1
            spent += time.process_time() - begin
            if count == warm:
                start = time.perf_counter()
        begin = time.process_time()
        writer.finalize()
        spent += time.process_time() - begin
        seconds = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    return (count - warm) / seconds, 1000 * spent / count


def _writer(example: dict, folder: Path):
    """TFDS's writer of shuffled array_record files, for examples like this one."""
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import example_serializer, file_adapters, naming, writer
    except ImportError as error:
        raise RuntimeError(f"The write stage needs TFDS ({error}); run: pip install 'painjax[generate]'.") from error

    def info(value):
        if isinstance(value, dict):
            return {name: info(part) for name, part in value.items()}
        if isinstance(value, (bytes, str)):
            return tfds.features.TensorInfo(shape=(), dtype=np.object_)
        array = np.asarray(value)
        return tfds.features.TensorInfo(shape=array.shape, dtype=array.dtype)

    file_format = file_adapters.FileFormat.ARRAY_RECORD
    template = naming.ShardedFileTemplate(
        data_dir=folder, dataset_name="benchmark", split="train", filetype_suffix=file_format.file_suffix
    )
    return writer.Writer(
        serializer=example_serializer.ExampleSerializer(info(example)),
        filename_template=template,
        hash_salt="train",
        disable_shuffling=False,
        example_writer=writer.ExampleWriter(file_format=file_format),
    )


def _per_core(config: GeneratorConfig, identities: int) -> dict:
    """Processor time of the real thing and of the naive loop, each in a process of its own, taking turns."""
    real, naive = [], []
    with processes.pool(1) as ours, processes.pool(1) as theirs:
        with processes.while_starting():
            for pool, side in ((ours, stage_times), (theirs, naive_loop)):
                pool.submit(side.identity_seconds, config, 0).result()  # warms up
        for index in range(1, identities + 1):
            real.append(ours.submit(stage_times.identity_seconds, config, index).result())
            naive.append(theirs.submit(naive_loop.identity_seconds, config, index).result())
        memory = ours.submit(stage_times.peak_memory_mib).result()
        bound = ours.submit(stage_times.lower_bound_ms, config).result()
    to_ms = 1000 / (identities * plan.frames_per_identity(config.plan))
    return {
        "frame_ms": to_ms * sum(sum(stages.values()) for stages in real),
        "naive_frame_ms": to_ms * sum(naive),
        "stage_ms": {name: to_ms * sum(stages[name] for stages in real) for name in real[0]},
        "lower_bound_ms": bound,
        "peak_memory_mib": memory,
    }


def _text(result: dict) -> str:
    lines = [
        f"{result['frames_per_second']:.1f} frames/s from end to end: {result['workers']} processes on "
        f"{result['cores']} cores at load {result['load_average']:.1f} ({result['face_model']}, "
        f"{result['image_size']} px)",
        f"{result['frame_ms']:.0f} ms of one core for a frame, {result['naive_frame_ms']:.0f} ms in a plain pyrender "
        f"loop: {result['ratio_vs_naive_per_core']:.1f} times as fast; {result['peak_memory_mib']} MiB for a process",
    ]
    for name, ms in result["stage_ms"].items():
        lines.append(f"  {name:14s} {ms:7.2f} ms  {result['stages'][name]:8.0f} frames/s")
    alone = ", ".join(f"{name} {ms:.1f} ms" for name, ms in result["lower_bound_ms"].items())
    return "\n".join([*lines, f"OpenGL and the encoders alone, without geometry and paint: {alone}"])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="painjax bench generate", description=__doc__.split("\n\n")[0])
    parser.add_argument("--face_model", choices=FACE_MODELS, default="procedural")
    parser.add_argument("--size", type=int, default=224, help="side of the frames in pixels")
    parser.add_argument("--texture_size", type=int, default=1024)
    parser.add_argument("--identities", type=int, default=4)
    parser.add_argument("--workers", type=int, help="default: PAINJAX_WORKERS, else one for each core")
    parser.add_argument("--json", action="store_true", help="prints one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
