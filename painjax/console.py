"""What the command line prints for people to read: tables of numbers, in text."""

from pathlib import Path
from typing import Any

from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS


def evaluation_text(result: dict[str, Any]) -> str:
    reference = "with neutral reference" if result["headline"] == "with_neutral" else "without neutral reference"
    names = ["mae", "rmse", "pcc", "icc", *(f"auroc@{k}" for k in PSPI_THRESHOLDS)]
    constant = result["baselines"]["constant"]
    lines = [
        f"{result['checkpoint']} at step {result['step']}, split {result['split']}: {result['n']} frames of "
        f"{result['identities']} identities, {reference}",
        "",
        f"{'PSPI':20}" + "".join(f"{name:>9}" for name in names),
    ]
    for protocol, summary in result["protocols"].items():
        lines.append(f"{protocol.replace('_', ' '):20}" + "".join(_number(summary["pspi"][name]) for name in names))
    lines.append(f"{'best constant':20}" + "".join(_number(constant.get(name)) for name in names))
    lines += ["", f"{'action unit':20}" + "".join(f"{name:>12}" for name in ("mae", "const. mae", "pcc", "icc"))]
    for name in AU_NAMES:
        unit = result["aus"][name]
        values = (unit["mae"], constant["aus"][name]["mae"], unit["pcc"], unit["icc"])
        lines.append(f"{name:20}" + "".join(_number(value, 12) for value in values))
    return "\n".join(lines)


def prediction_text(result: dict[str, Any]) -> str:
    """Of `painjax.predict.main`: a row per picture and frame, then a line per video; empty if there is none."""
    lines = _picture_rows(result["predictions"]) if result["predictions"] else []
    for found in result["videos"]:
        lines.append(_video_line(found))
    if lines:
        lines.append("\nPSPI 0..16; AU43 0..1, other action units 0..5. An estimate for research, not a diagnosis.\n")
    return "\n".join(lines)


def _picture_rows(predictions: list[dict[str, Any]]) -> list[str]:
    names = [_name(found) for found in predictions]
    width = max(5, *map(len, names))
    lines = [f"{'image':{width}}{'PSPI':>7}" + "".join(f"{name:>7}" for name in AU_NAMES) + "  P(PSPI>=1)"]
    for name, found in zip(names, predictions, strict=True):
        values = [found["pspi"], *(found["aus"][unit] for unit in AU_NAMES)]
        lines.append(
            f"{name:{width}}"
            + "".join(_number(v, 7, 2) for v in values)
            + _number(found["thresholds"]["pspi>=1"], 12, 2)
        )
    return lines


def _name(found: dict[str, Any]) -> str:
    name = Path(found["image"]).name
    return f"{name} {found['time_s']:.2f} s" if "time_s" in found else name


def _video_line(found: dict[str, Any]) -> str:
    name, frames, lost = Path(found["video"]).name, found["frames"], found["frames_without_face"]
    seen = f"{name}: {frames} frames" + (f", {lost} without a face" if lost else "")
    if found["mean_pspi"] is None:
        return seen
    return (
        f"{seen}; PSPI {found['mean_pspi']:.2f} on average, {found['max_pspi']:.2f} at {found['max_pspi_time_s']:.2f} s"
    )


def bench_text(result: dict[str, Any]) -> str:
    """Of `painjax bench`: rates beside PyTorch's, their ratio over the rounds, and what bounds them."""
    rows = [("PainJAX", "images_per_second"), ("PainJAX, enrolled", "images_per_second_enrolled")]
    rows.append(("PyTorch", "torch_images_per_second"))
    lines = [f"{name:20}{result[key]:9.2f} images/s" for name, key in rows if key in result]
    low, high = result["ratio_per_round"]["min"], result["ratio_per_round"]["max"]
    lines.append(f"{'ratio':20}{result['ratio']:9.2f}  ({low:.2f} to {high:.2f} over the rounds)")
    if "ratio_enrolled" in result:
        lines.append(f"{'ratio, enrolled':20}{result['ratio_enrolled']:9.2f}")
    lines.append(
        f"{result['gemm_gflops']:.0f} and {result['torch_gemm_gflops']:.0f} GFLOP/s on one large product bound "
        f"the {result['gflops']:.0f} and {result['torch_gflops']:.0f} reached"
    )
    return "\n".join(lines)


def bench_host_text(result: dict[str, Any]) -> str:
    """Of `painjax bench host`."""
    parts = (("rows to the devices", "put_batch_ms"), ("call of the step", "dispatch_ms"), ("look at it", "guard_ms"))
    lines = [f"{name:24}{result[key]:8.3f} ms" for name, key in parts]
    lines.append(f"{'host, each step':24}{result['host_ms']:8.3f} ms  ({result['host_cpu_ms']:.3f} of it running)")
    lines.append(f"{'then the device':24}{result['wait_ms']:8.3f} ms, at a width that computes next to nothing")
    lines.append(f"{result['depth']} layers, {result['arrays']} arrays; load {result['load_average']:.1f} at the start")
    return "\n".join(lines)


def dry_run_text(found: dict[str, Any]) -> str:
    """Of `painjax train --dry_run`: every parameter's place, then what the step needs."""
    rows = [("parameter", "shape", "dtype", "logical axes", "split over", "on each device")]
    for array in found["arrays"]:
        axes = [", ".join(axis or "-" for axis in array[kind]) for kind in ("logical", "spec")]
        shape = " x ".join(map(str, array["shape"]))
        rows.append((array["path"], shape, array["dtype"], *axes, _size(array["bytes"])))
    lines = [*_columns(rows), ""]
    rows = [("parameters", "trained", "frozen")]
    rows += [(row["part"], f"{row['trained']:,}", f"{row['frozen']:,}") for row in found["parameters"]]
    totals = [sum(row[kind] for row in found["parameters"]) for kind in ("trained", "frozen")]
    lines += [*_columns([*rows, ("all", *(f"{total:,}" for total in totals))]), ""]
    rows = [("optimizer group", "times the rate", "parameters")]
    rows += [(row["group"], f"{row['rate']:g}", f"{row['parameters']:,}") for row in found["optimizer_groups"]]
    lines += [*_columns(rows), ""]
    memory = dict(found["memory"])
    compiled = memory.pop("compiled")
    rows = [("memory of each device", "")] + [(name, _size(size)) for name, size in memory.items()]
    rows += [(f"the compiled step: {name}", _size(size)) for name, size in compiled.items()]
    mesh = ", ".join(f"{axis} {size}" for axis, size in found["mesh"].items())
    step, model = found["flops"]["step"], found["flops"]["model"]
    lines += [
        *_columns(rows),
        "",
        f"{found['devices']} x {found['device']}: {mesh}; batch of {found['batch_size']}",
        f"{step / 1e12:.4g} TFLOP per step, {step / found['devices'] / 1e12:.4g} on each device; {model / 1e12:.4g} "
        "without augmentation and recomputation",
    ]
    return "\n".join(lines + [f"Assumed: {sentence}" for sentence in found["assumed"]])


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of aligned columns, the first one to the left; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _size(count: int) -> str:
    """Bytes, as people write them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def bench_input_text(result: dict[str, Any]) -> str:
    """Of `painjax bench input`: a line per stage, then what many cores would give and a student would eat."""
    lines = [f"{name:32}{rate:10.0f} frames/s" for name, rate in result["frames_per_second"].items()]
    estimate = result["estimate"]
    lines.append(
        f"{result['pictures']} pictures of {result['side']} px per frame, {result['decoder']}; load "
        f"{result['load_average']:.1f}; {result['per_core']:.0f} frames/s per core at best"
    )
    lines.append(
        f"{estimate['cores']} such cores would give {estimate['frames_per_second']:.0f} frames/s if they scaled; a "
        f"ViT-S student at {estimate['student_side']} px with neutral reference would take "
        f"{estimate['student_frames_per_second']:.0f} on one H200 at {100 * estimate['mfu']:.0f} % of its bfloat16 peak"
    )
    return "\n".join(lines)


def bench_teacher_text(result: dict[str, Any]) -> str:
    """Of `painjax bench teacher`: a student's rates with and without its teacher, and when precomputing pays."""
    names = {"inside": "teacher in the step", "stored": "stored outputs", "alone": "no teacher"}
    lines = [f"{names[name]:20}{rate:9.2f} images/s" for name, rate in result["images_per_second"].items()]
    low, high = result["ratio_per_round"]["min"], result["ratio_per_round"]["max"]
    lines.append(f"{'stored / in step':20}{result['ratio']:9.2f}  ({low:.2f} to {high:.2f} over the rounds)")
    lines.append(
        f"{result['bytes_per_example']} bytes per example on disk, {result['bytes_read_per_example']} of them read; "
        f"{result['precomputed_per_second']:.0f} examples per second precomputed"
    )
    epochs = result["epochs_to_pay"]
    lines.append(
        "Precomputing does not pay here."
        if epochs is None
        else f"Precomputing pays after {epochs:.1f} passes over the data: "
        f"{result['steps_to_pay_per_1000_examples']:.0f} steps per 1000 examples."
    )
    return "\n".join(lines)


def doctor_text(checks: list[Any]) -> str:
    """Of `painjax doctor`: a line per check, the way to mend it below."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.state:8}{check.name:{width}}  {check.found}")
        if check.fix:
            lines.append(f"{'':8}{'':{width}}  -> {check.fix}")
    wrong = sum(check.state == "problem" for check in checks)
    lines.append(f"\n{'Everything works.' if not wrong else f'Problems: {wrong}.'}")
    return "\n".join(lines)


def _number(value: float | None, width: int = 9, digits: int = 3) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"
