"""The communication in a compiled program: which collectives, how often, how large, between which devices."""

import dataclasses
import math
import re
from collections.abc import Mapping

import numpy as np

from painjax.aot.program import Computation, Instruction, Program, sizes

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of the program.

    kind: of `KINDS`. count: how often a step runs it. bytes: of the larger of what one device puts in and gets out,
    each time. axes: the mesh axes along which its devices lie. asynchronous: whether the compiler lets it go on while
    something else is computed.
    """

    kind: str
    count: int
    bytes: int
    axes: tuple[str, ...]
    asynchronous: bool


def find(program: Program, mesh: Mapping[str, int]) -> list[Collective]:
    """Every collective of a program compiled for `mesh` (sizes of its axes by name, in order).

    TPU programs hide them in fusions: a reduce-scatter is an all-reduce in one called all-reduce-scatter, and an
    asynchronous collective stands in three, its start, the work done meanwhile, and its end. One channel is one
    collective.
    """
    found = []
    for computation, times in program.runs():
        seen = set()
        for outer in computation.instructions.values():
            for inside, instruction in _collectives(program, computation, outer):
                channel = re.search(r"channel_id=(\d+)", instruction.attributes)
                key = channel.group(1) if channel else instruction.name
                if key not in seen:
                    seen.add(key)
                    found.append(_collective(inside, instruction, outer, times, mesh))
    return found


def totals(collectives: list[Collective]) -> dict[str, dict[str, int]]:
    """{kind: {'count', 'bytes'}} of a step and a device, for all of `KINDS`; 'bytes' of all runs together."""
    return {
        kind: {
            "count": sum(each.count for each in collectives if each.kind == kind),
            "bytes": sum(each.count * each.bytes for each in collectives if each.kind == kind),
        }
        for kind in KINDS
    }


def members(attributes: str, devices: int) -> list[int]:
    """The devices of an instruction's first group, from its replica_groups in any of the four ways they are written, or
    the two ends of its first source-target pair."""
    if pair := re.search(r"source_target_pairs=\{\{(\d+),(\d+)\}", attributes):
        return [int(end) for end in pair.groups()]
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return [int(device) for device in listed.group(1).split(",")]
    if "replica_groups={}" in attributes:
        return list(range(devices))
    if tiled := re.search(r"replica_groups=\[(\d+),(\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", attributes):
        groups, size = int(tiled.group(1)), int(tiled.group(2))
        return _order(tiled.group(3), groups * size).reshape(groups, size)[0].tolist()
    if named := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((.*?)\))? \{([^}]*)\}", attributes):
        shape = {axis: int(size) for axis, size in re.findall(r"'(\w+)'=(\d+)", named.group(1))}
        ids = _order(named.group(2), math.prod(shape.values())).reshape(tuple(shape.values()))
        chosen = _taken(re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", named.group(3)), shape)
        return ids[np.ix_(*(chosen.get(axis, [0]) for axis in shape))].reshape(-1).tolist()
    raise ValueError(f"Cannot read the devices of a collective: {attributes[:200]}")


def _order(written: str | None, devices: int) -> np.ndarray:
    """All devices in the order of '[2,4]T(1,0)' (numbered as a 2 x 4 array, then transposed) or of a plain list."""
    if written is None:
        return np.arange(devices)
    if tiled := re.fullmatch(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", written):
        shape, order = ([int(each) for each in part.split(",")] if part else None for part in tiled.groups())
        return np.arange(devices).reshape(shape).transpose(order).reshape(-1)
    return np.array([int(each) for each in written.split(",")])


def _taken(chosen: list[tuple[str, str, str]], shape: Mapping[str, int]) -> dict[str, list[int]]:
    """Indices along each chosen axis; of an axis 'x':(m)k, split into m x k x rest, only those along k."""
    taken = {}
    for axis, before, size in chosen:
        stride = shape[axis] // (int(before) * int(size)) if size else 1
        taken[axis] = [i * stride for i in range(int(size) if size else shape[axis])]
    return taken


def _collectives(
    program: Program, computation: Computation, outer: Instruction
) -> list[tuple[Computation, Instruction]]:
    """The collective that an instruction is, or those of the fusion that it calls, each in its computation."""
    if outer.opcode == "fusion":
        return [
            (called, each)
            for called in (program.computations[name] for name in outer.called("calls"))
            for each in called.instructions.values()
            if each.opcode.removesuffix("-start") in KINDS
        ]
    return [(computation, outer)] if outer.opcode.removesuffix("-start") in KINDS else []


def _collective(
    inside: Computation, instruction: Instruction, outer: Instruction, times: int, mesh: Mapping[str, int]
) -> Collective:
    kind = instruction.opcode.removesuffix("-start")
    group = members(instruction.attributes, math.prod(mesh.values()))
    if kind == "all-reduce" and inside.name.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"
    size = sum(sum(sizes(each)) for each in inside.operand_types(instruction))
    places = np.array(np.unravel_index(group, tuple(mesh.values())))  # [axes, devices]
    axes = tuple(axis for axis, along in zip(mesh, places, strict=True) if len(set(along)) > 1)
    return Collective(
        kind=kind,
        count=times,
        bytes=size * len(group) if kind == "all-gather" else size,
        axes=axes,
        asynchronous=instruction.opcode.endswith("-start") or outer.name.startswith("async-collective-start"),
    )
