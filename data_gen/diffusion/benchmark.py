"""`painjax bench paint`: portraits and backdrops per second, and the GPU-hours that the full data set takes.

Models have random weights at the published sizes, which take as long as real ones, or are your own. What is timed is
`pipelines.Painter`, from conditions to pictures, in whole batches; drawing the heads and looking at pictures is not.
"""

import argparse
import dataclasses
import functools
import json
import os
import resource
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np

from data_gen import plan
from data_gen.diffusion import flops, pipelines, random_models, sources
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig, SideViewConfig
from data_gen.diffusion.pipelines import Painter, Start
from data_gen.variants import VARIANTS

FULL = VARIANTS["full_backdrop"]
USUAL_SIZE = {"sd": sources.SD_SIZE, "sdxl": sources.SDXL_SIZE}
PEAKS = {"H200": 989e12, "A100": 312e12, "L4": 121e12}  # dense float16 FLOP/s by NVIDIA's data sheets
SHARE = 0.4  # of the peak, that estimates suppose
KINDS = ("portrait", "backdrop")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark from a command line; raises what `benchmark` does, and ValueError for options that contradict
    each other."""
    options = _options(arguments)
    if (options.model is None) != (options.controlnet is None):
        raise ValueError("Your own models are --model and --controlnet together; else give neither of them.")
    if options.model and options.family:
        raise ValueError("Random weights are of a --family, your own are --model and --controlnet: give one of both.")
    config, family = FULL.generator.diffusion, None if options.model else options.family or "sd"
    if family:
        config = dataclasses.replace(config, model=f"random {family}", controlnet=f"random {family}")
        config = _changed(config, size=USUAL_SIZE[family] if options.size is None else options.size, model=None)
    else:
        config = dataclasses.replace(config, model=options.model, controlnet=options.controlnet)
        config = sources.pinned(_changed(config, size=options.size, model=None))
    result = benchmark(config, family, options.steps, options.batch, options.rounds)
    print(json.dumps(result, allow_nan=False) if options.json else _text(result))  # noqa: T201


def benchmark(config: DiffusionConfig, family: str | None, steps: int | None, batch: int | None, rounds: int) -> dict:
    """Measures painting.

    Args:
      config: the data set's settings with backdrops and sizes; pinned, unless weights are random.
      family: of `random_models.SIZES`, for random weights; None: the models of `config` are loaded.
      steps, batch: to be timed instead of the settings' own.
      rounds: batches that are timed, after one that warms up; 0: nothing is timed, operations are counted only.

    Returns:
      `portraits_per_second` and `backdrops_per_second` as timed; `flops_per_portrait` and `flops_per_backdrop` by the
      data set's settings; `gpu_hours_full`, `measured` and `estimated`, of `full_diffusion`, `full_backdrop` and what
      side views add to either, where no picture is refused; how many `pictures` these are; and what ran where. With
      other steps than the settings', `measured` is in proportion to operations. What was not timed is None.

    Raises:
      ModuleNotFoundError: if torch or diffusers is not there; the message has the pip command.
      ValueError: if there are no such steps, batch or rounds; and what `pipelines.load` raises.
      RuntimeError: if memory does not hold one picture.
    """
    if rounds < 0:
        raise ValueError(f"rounds is {rounds}; expected 0 or more.")
    changes = {name: value for name, value in (("steps", steps), ("batch", batch)) if value is not None}
    timed, shapes, load = _changed(config, **changes), None, pipelines.load
    if family:
        shapes = random_models.networks(family, "meta", "float32")
        made = random_models.networks(family, *pipelines.place(config)) if rounds else None
        load = functools.partial(random_models.painter, made)
    operations, rates, hours, about = {}, dict.fromkeys(KINDS), {}, {}
    batches = {"portrait": timed.batch, "backdrop": timed.backdrop.batch}
    for kind in KINDS:
        painter = load(timed, _inpaint(timed, kind)) if rounds or not family else None
        parts = shapes or painter.pipeline.components
        operations[kind] = flops.count(parts, config, _inpaint(config, kind))
        if rounds:
            rates[kind] = _pictures_per_second(painter, _inpaint(timed, kind) or timed, rounds)
            batches[kind], about = painter.batch, painter.about
            ran = flops.count(parts, timed, _inpaint(timed, kind)) if steps else operations[kind]
            hours[kind] = operations[kind] / ran / rates[kind] / 3600
        painter = parts = None  # before the next is loaded: a GPU may not hold both
    pictures = full_pictures(batches)
    return {
        "portraits_per_second": rates["portrait"],
        "backdrops_per_second": rates["backdrop"],
        "flops_per_portrait": operations["portrait"],
        "flops_per_backdrop": operations["backdrop"],
        "gpu_hours_full": {
            "measured": _hours(pictures, hours) if rounds else None,
            "estimated": {
                chip: _hours(pictures, {kind: each / (SHARE * peak) / 3600 for kind, each in operations.items()})
                for chip, peak in PEAKS.items()
            },
        },
        "share_of_peak": SHARE,
        "pictures": pictures,
        "model": config.model,
        "size": config.size,
        "steps": config.steps,
        "steps_timed": timed.steps if rounds else None,
        "batch": batches,
        "rounds": rounds,
        "device": about.get("device"),
        "precision": about.get("precision"),
        "software": about.get("software"),
        "peak_memory_gib": _peak_memory_gib() if rounds else None,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
    }


def full_pictures(batches: Mapping[str, int]) -> dict[str, int]:
    """How many pictures `full` takes of each kind: those of its people, of all their frames and neutral references, and
    of both sides, for those who ask. Batches are painted whole, so that what fills up the last one is among them."""
    generator, people = FULL.generator, FULL.identities
    seeds = plan.example_seeds(generator.dataset_seed, 0, generator.plan)
    _, _, frames = plan.needed(seeds, generator.neutral_variation)
    return {
        "portrait": _filled(people, batches["portrait"]),
        "backdrop": people * _filled(len(frames), batches["backdrop"]),  # a person at a time
        "side_view": len(SideViewConfig.yaws) * _filled(people, batches["backdrop"]),
    }


def _filled(count: int, batch: int) -> int:
    return -(-count // batch) * batch


def _hours(pictures: Mapping[str, int], hours: Mapping[str, float]) -> dict[str, float]:
    """Of variants of the data set, by the hours of one picture; a side view takes what a backdrop does."""
    portraits = pictures["portrait"] * hours["portrait"]
    return {
        "full_diffusion": portraits,
        "full_backdrop": portraits + pictures["backdrop"] * hours["backdrop"],
        "side_views": pictures["side_view"] * hours["backdrop"],
    }


def _changed(config: DiffusionConfig, **changes) -> DiffusionConfig:
    """The settings with changes to both those of portraits and those of backdrops; `model` is the backdrops' alone."""
    backdrop = dataclasses.replace(config.backdrop, **changes)
    changes.pop("model", None)
    return dataclasses.replace(config, backdrop=backdrop, **changes)


def _inpaint(config: DiffusionConfig, kind: str) -> InpaintConfig | None:
    return config.backdrop if kind == "backdrop" else None


def _pictures_per_second(painter: Painter, settings: DiffusionConfig | InpaintConfig, rounds: int) -> float:
    """Of whole batches: the median round's, after one that warms up and finds the batch that memory allows."""
    rates, size, inpaints = [], settings.size, isinstance(settings, InpaintConfig)
    side = np.arange(size)
    disc = np.hypot(*np.meshgrid(side - size / 2, side - size / 2)) < 0.3 * size
    depth, around = np.where(disc, np.uint8(200), np.uint8(0)), Start(np.zeros((size, size, 3), np.uint8), ~disc)
    while len(rates) < 1 + rounds:
        count = painter.batch
        begin = time.perf_counter()
        painter.paint(
            [[depth]] * count, ["a"] * count, ["a"] * count, list(range(count)), [around] * count if inpaints else None
        )
        rates.append(count / (time.perf_counter() - begin))
        if painter.batch != count:  # memory gave out: smaller batches are what is timed
            rates.clear()
    return statistics.median(rates[1:])


def _peak_memory_gib() -> float:
    """Of the GPU, by what torch took of it; where there is none, of this process."""
    _, torch, _ = pipelines.libraries()
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _text(result: dict) -> str:
    lines = [f"{result['model']}, {result['size']} px, {result['steps']} steps"]
    for kind in KINDS:
        rate, timed = result[f"{kind}s_per_second"], ""
        if rate is not None:
            timed = f"; {rate:.3g}/s, {result['batch'][kind]} at a time, {result['steps_timed']} steps"
        lines.append(f"  {kind:8s} {result[f'flops_per_{kind}'] / 1e12:7.1f} TFLOP{timed}")
    if result["rounds"]:
        lines.append(
            f"  on {result['device']} in {result['precision']}, {result['peak_memory_gib']:.1f} GiB; "
            f"{result['cores']} cores at load {result['load_average']:.1f}; {result['software']}"
        )
    hours, pictures = result["gpu_hours_full"], result["pictures"]
    columns = {"full_diffusion": "portrait", "full_backdrop": "backdrop", "side_views": "side_view"}
    rows = {} if hours["measured"] is None else {f"measured on {result['device']}": hours["measured"]}
    for chip, each in hours["estimated"].items():
        rows[f"{chip} at {result['share_of_peak']:.0%} of its peak"] = each
    lines.append(f"{'Hours of one, none refused':40s}" + "".join(f"{name:>18s}" for name in columns))
    lines.append(f"  {'pictures of its own':38s}" + "".join(f"{pictures[kind]:18,}" for kind in columns.values()))
    lines += [f"  {name:38s}" + "".join(f"{row[column]:18.2f}" for column in columns) for name, row in rows.items()]
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="painjax bench paint", description=__doc__.split("\n\n")[0])
    parser.add_argument("--family", choices=random_models.SIZES, help="random weights (default: sd)")
    parser.add_argument("--model", metavar="ID", help="your own pipeline instead, for both: hub id or folder")
    parser.add_argument("--controlnet", metavar="ID", help="its ControlNet for depth")
    parser.add_argument("--size", type=int, metavar="S", help="side in pixels (default: what is usual for the model)")
    parser.add_argument("--steps", type=int, metavar="N", help="to time (default: the data set's)")
    parser.add_argument("--batch", type=int, metavar="B", help="pictures at a time (default: the data set's)")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="batches to time; 0 counts operations only (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="prints one JSON object")
    return parser.parse_args(arguments)
