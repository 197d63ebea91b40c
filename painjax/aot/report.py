"""The whole way from an experiment and a slice's name to what training would need there, and that as text."""

import json
from typing import Any

import jax
from ml_collections import ConfigDict

from painjax import outline
from painjax.aot import collectives, program, roofline, traffic
from painjax.aot.compilation import CompiledStep, compile_step
from painjax.aot.topology import SHAPES, Topology, canonical, chips, describe

BATCH_PER_DEVICE = 128  # examples, of which a ViT-L with its reference takes a third of the smallest chip's memory


def main(
    topology: str, config: ConfigDict, teacher: ConfigDict | None = None, batch_per_device: int | None = None
) -> dict[str, Any]:
    """Compiles the train step of `config` for a TPU slice.

    Args:
      topology: the slice's name, as of `topology.canonical`.
      config: the experiment.
      teacher: its teacher's, where it has one of other sizes than its own.
      batch_per_device: examples on each chip, instead of `config.batch_size` over all.

    Returns:
      A JSON object. `fits`, `peak_bytes_per_device`, `hbm_bytes` and, in `memory`, the peak's parts; `flops_per_step`
      (products on all chips); `collectives`, {name: {count, bytes}} of a step and a chip, `hbm_traffic_bytes` of the
      same, and `program_from`, the slice whose program they were read in; `roofline`; `scaling`, a row per number of
      chips; `efficiency_256`; `assumptions`. Fields that are not known are None: all about time where it does not fit.

    Raises:
      UserError: if the slice is not known, libtpu not installed, or the experiment does not fit the slice's mesh.
    """
    name = canonical(topology)  # a mistyped one is refused before anything else is looked at
    config = outline.complete(config)
    teacher = outline.teacher_of(config, teacher)
    slice_ = describe(name)
    devices = len(slice_.devices)
    if batch_per_device is not None:
        config.batch_size = batch_per_device * devices
    step = compile_step(config, teacher, slice_)
    found = {
        "topology": slice_.name,
        "chip": slice_.chip.name,
        "devices": devices,
        "mesh": dict(step.mesh),
        "batch_size": config.batch_size,
        "batch_per_device": config.batch_size / devices,
        "fits": step.fits,
        "peak_bytes_per_device": step.memory["peak"],
        "hbm_bytes": slice_.chip.hbm_bytes,
        "memory": dict(step.memory),
        "flops_per_step": step.flops,
        "compile_seconds": step.seconds,
    }
    return found | _read_program(step, slice_, config, teacher) | {"assumptions": list(roofline.ASSUMPTIONS)}


def _read_program(
    step: CompiledStep, slice_: Topology, config: ConfigDict, teacher: ConfigDict | None
) -> dict[str, Any]:
    """What the program's text tells: that of the slice or, where libtpu cannot print it, of a slice of 16 chips."""
    unknown = ("program_from", "collectives", "hbm_traffic_bytes", "roofline", "scaling", "efficiency_256")
    result: dict[str, Any] = dict.fromkeys(unknown) | {"no_program": step.no_text}
    source, mesh = slice_.name, step.mesh
    text, per_device = step.text, step.flops / len(slice_.devices)
    if step.fits and text is None:
        family = slice_.name.partition(":")[0]
        small = describe(next(f"{family}:{shape}" for shape in SHAPES[family] if chips(shape) == 16))
        config = config.copy_and_resolve_references()
        config.batch_size = config.batch_size // len(slice_.devices) * len(small.devices)
        other = compile_step(config, teacher, small)
        source, mesh, text = small.name, other.mesh, other.text
    if text is None:
        return result
    parsed = program.parse(text)
    found = collectives.find(parsed, mesh)
    moved = traffic.hbm_bytes(parsed)
    free = next((axis for axis, size in config.mesh.items() if size == -1), "data")
    estimate = roofline.make_roofline(per_device, moved, found, slice_.chip, slice_.axes, mesh, free)
    return result | {
        "program_from": source,
        "collectives": collectives.totals(found),
        "hbm_traffic_bytes": moved,
        "roofline": {
            "products_s": estimate.products_s,
            "memory_s": estimate.memory_s,
            "collectives_s": estimate.step_s(len(slice_.devices)) - max(estimate.products_s, estimate.memory_s),
            "step_s": estimate.step_s(len(slice_.devices)),
            "link_bytes_per_s": estimate.link_bytes_per_s,
        },
        "scaling": [
            {
                "chips": n,
                "step_s": estimate.step_s(n),
                "efficiency": estimate.efficiency(n),
                "efficiency_overlapped": estimate.efficiency(n, overlapped=True),
            }
            for n in roofline.SCALES
        ],
        "efficiency_256": estimate.efficiency(256),
    }


def text_of(found: dict[str, Any]) -> str:
    """The object of `main` for people."""
    gib = 2**30
    mesh = " x ".join(f"{axis} {size}" for axis, size in found["mesh"].items())
    lines = [
        f"{found['topology']}: {found['devices']} chips {found['chip']}, mesh {mesh}",
        f"batch {found['batch_size']}, {found['batch_per_device']:g} examples per chip; compiled in "
        f"{found['compile_seconds']:.0f} s (jax {jax.__version__})",
        "",
        f"memory per chip    {found['peak_bytes_per_device'] / gib:8.2f} GiB of {found['hbm_bytes'] / gib:.0f} GiB: "
        f"{'fits' if found['fits'] else 'DOES NOT FIT'}",
    ]
    lines += [f"  {part:16} {size / gib:8.2f} GiB" for part, size in found["memory"].items() if part not in ("peak",)]
    lines.append(f"products           {found['flops_per_step'] / 1e12:8.1f} TFLOP per step, recomputation included")
    if found["collectives"] is None:
        reason = found["no_program"]
        return "\n".join([*lines, f"The program cannot be read, so nothing is said of time: {reason}."])
    lines.append(f"memory traffic     {found['hbm_traffic_bytes'] / gib:8.1f} GiB per step and chip")
    if found["program_from"] != found["topology"]:
        lines.append(f"Collectives and traffic are those of {found['program_from']}: {found['no_program']}")
    lines += ["", "collective             count   MiB per step and chip"]
    lines += [
        f"{kind:18} {sums['count']:9d} {sums['bytes'] / 2**20:12.1f}" for kind, sums in found["collectives"].items()
    ]
    times = found["roofline"]
    lines += [
        "",
        f"step estimated     {times['step_s'] * 1e3:8.1f} ms: products {times['products_s'] * 1e3:.1f} beside memory "
        f"{times['memory_s'] * 1e3:.1f}, then collectives {times['collectives_s'] * 1e3:.1f}",
        "",
        "chips   ms per step   efficiency   with overlap",
    ]
    lines += [
        f"{row['chips']:5d} {row['step_s'] * 1e3:13.1f} {row['efficiency']:12.1%} {row['efficiency_overlapped']:14.1%}"
        for row in found["scaling"]
    ]
    return "\n".join([*lines, "", "Assumed:", *(f"- {each}" for each in found["assumptions"])])


def json_of(found: dict[str, Any]) -> str:
    """The object of `main` on one line."""
    return json.dumps(found, allow_nan=False)
