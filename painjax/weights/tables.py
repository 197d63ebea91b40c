"""Strict conversion between a layout of theirs and our parameters, by one table for both directions.

Strict means: every parameter of the model is filled exactly once, every tensor of the file is used or is named among
those that may be left out, shapes are right and values finite. All that is wrong is told in one error.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from painjax.errors import UserError
from painjax.model_folder import flatten, parameter_shapes, unflatten
from painjax.models.vit import ViTConfig
from painjax.weights.layout import BLOCK, Layout, Row, Shapes
from painjax.weights.tensors import FLOATS, Tensors


def from_theirs(tensors: Tensors, config: ViTConfig, layout: Layout, source: str) -> dict[str, Any]:
    """Our parameters, nested dicts of float32, from the tensors of a file.

    Args:
      tensors: the file's tensors, by the layout's names; each is read once.
      config: the model's configuration.
      layout: whose names these are.
      source: the file's name, for the error.

    Raises:
      UserError: naming every tensor that is missing, unexpected, of a wrong shape or type, or not finite.
    """
    ours = parameter_shapes(layout.kind, dataclasses.asdict(config))
    rows = [r for r in layout.rows(config) if set(r.ours) <= set(ours)]
    unfilled = sorted(set(ours) - {name for r in rows for name in r.ours})
    if unfilled:
        raise UserError(f"{layout.title} has nothing to fill {', '.join(unfilled)} with, which the model needs.")
    problems = _misfits(tensors, layout, config, rows, ours)
    flat = {}
    if not problems:
        flat, problems = _convert(rows, tensors, ours, config.depth)
    if problems:
        lines = [f"{name} {what}" for what, names in problems.items() for name in _grouped(names)]
        raise UserError(
            f"{source} does not hold the weights of {layout.title} of width {config.width} with {config.depth} blocks: "
            f"{'; '.join(lines)}. The file is damaged, or of another architecture."
        )
    return unflatten(flat)


def to_theirs(params: Mapping[str, Any], config: ViTConfig, layout: Layout) -> dict[str, np.ndarray]:
    """The tensors that `from_theirs` would make these parameters of; what is left out there is zeros here.

    Raises:
      UserError: if the layout cannot hold some of the parameters.
    """
    flat = {name: np.asarray(value) for name, value in flatten(params).items()}
    rows = [r for r in layout.rows(config) if set(r.ours) <= set(flat)]
    homeless = sorted(set(flat) - {name for r in rows for name in r.ours})
    if homeless:
        lora = any("lora_" in name for name in homeless)
        hint = " Merge the LoRA adapters first (painjax.models.lora.merge)." if lora else ""
        raise UserError(f"{layout.title} has no place for {', '.join(homeless)}.{hint}")
    tensors = {}
    for r in rows:
        values = [flat[name] for name in r.ours]
        for block in range(config.depth if _in_blocks(r) else 1):
            parts = [value[block] for value in values] if _in_blocks(r) else values
            for name, value in zip(_names(r, block), r.transform.backward(parts), strict=True):
                tensors[name] = np.ascontiguousarray(value)
    for unused in layout.unused(config):
        if unused.written is not None:
            tensors[unused.names] = unused.written
    return tensors


def _misfits(
    tensors: Tensors, layout: Layout, config: ViTConfig, rows: list[Row], ours: Shapes
) -> dict[str, list[str]]:
    """What can be told to be wrong without reading a tensor: {what: names}."""
    expected = {name: shape for r in rows for name, shape in _their_shapes(r, ours, config.depth).items()}
    left_out = [re.compile(unused.names) for unused in layout.unused(config)]
    problems: dict[str, list[str]] = {}
    for name, shape in expected.items():
        entry = tensors.entries.get(name)
        if entry is None:
            problems.setdefault("is missing", []).append(name)
        elif entry.shape != shape:
            problems.setdefault(f"has shape {entry.shape}, expected {shape}", []).append(name)
        elif entry.dtype not in FLOATS:
            problems.setdefault(f"is of type {entry.dtype}, expected one of {', '.join(sorted(FLOATS))}", []).append(
                name
            )
    for name, entry in tensors.entries.items():
        empty = 0 in entry.shape
        if name not in expected and not empty and not any(names.fullmatch(name) for names in left_out):
            problems.setdefault("is not part of such a model", []).append(name)
    return problems


def _convert(
    rows: list[Row], tensors: Tensors, shapes: Shapes, depth: int
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    flat, problems = {}, {}
    for r in rows:
        for name in r.ours:
            if name in flat:
                raise ValueError(f"The table fills {name} twice.")
            flat[name] = np.empty(shapes[name], np.float32)
        for block in range(depth if _in_blocks(r) else 1):
            parts = []
            for name in _names(r, block):
                value, wrong = _float32(tensors[name])
                parts.append(value)
                if wrong:
                    problems.setdefault(wrong, []).append(name)
            for name, value in zip(r.ours, r.transform.forward(parts), strict=True):
                flat[name][block if _in_blocks(r) else ...] = value
    return flat, problems


def _float32(value: np.ndarray) -> tuple[np.ndarray, str]:
    """`value` in float32, and what is wrong with it."""
    with np.errstate(over="ignore"):
        single = value.astype(np.float32)
    if np.isfinite(single).all():
        return single, ""
    if value.dtype == np.float64 and np.isfinite(value).all():
        return single, "has values beyond the range of float32"
    return single, "has values that are not finite"


def _in_blocks(r: Row) -> bool:
    return BLOCK in r.theirs[0]


def _names(r: Row, block: int) -> list[str]:
    return [name.replace(BLOCK, str(block)) for name in r.theirs]


def _their_shapes(r: Row, ours: Shapes, depth: int) -> dict[str, tuple[int, ...]]:
    inner = [ours[name][1:] if _in_blocks(r) else ours[name] for name in r.ours]
    theirs = r.transform.backward([np.broadcast_to(np.float32(0), shape) for shape in inner])
    blocks = range(depth if _in_blocks(r) else 1)
    return {name: x.shape for block in blocks for name, x in zip(_names(r, block), theirs, strict=True)}


def _grouped(names: list[str]) -> list[str]:
    """Names that differ in one number only, told as one: 'blocks.0-11.norm1.weight'."""
    groups: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        pattern = name if number is None else f"{name[: number.start()]}{BLOCK}{name[number.end() :]}"
        groups.setdefault(pattern, []).append(int(number.group()) if number else 0)
    return [pattern.replace(BLOCK, _ranges(sorted(blocks))) for pattern, blocks in groups.items()]


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
