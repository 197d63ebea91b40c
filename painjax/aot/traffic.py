"""How many bytes a compiled program moves to and from a device's memory.

The compiler's own count takes the body of a loop once, however often it runs.
"""

import re

from painjax.aot.program import Computation, Instruction, Program, sizes

# They name, arrange or wait for memory, or are counted where they are called.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "iota"),
    *("partition-id", "after-all", "optimization-barrier", "copy-done", "async-start", "async-update", "async-done"),
    *("slice-done", "all-gather-done", "all-reduce-done", "collective-permute-done"),
}
_ELSEWHERE = re.compile(r"[a-z]+\d*\w*\[[\d,]*\]\{[^}]*S\([1-9]\d*\)[^}]*\}")  # arrays kept on the chip (VMEM, SMEM)


def hbm_bytes(program: Program) -> int:
    """Read and written by one step on one device; what a fusion takes of an array by slicing counts as the slice."""
    return sum(
        times * _of_instruction(program, computation, each)
        for computation, times in program.runs()
        for each in computation.instructions.values()
        if each.opcode not in _FREE
    )


def _of_instruction(program: Program, computation: Computation, instruction: Instruction) -> int:
    types = computation.operand_types(instruction)
    result = _bytes(instruction.type)
    if instruction.opcode == "dynamic-slice":
        return result + min(result, _bytes(types[0]))
    if instruction.opcode == "dynamic-update-slice":
        return 2 * _bytes(types[1])
    if instruction.opcode.endswith("-start"):  # its type names the operand once more
        return 2 * sum(map(_bytes, types))
    if instruction.opcode != "fusion":
        return result + sum(map(_bytes, types))
    (called,) = (program.computations[name] for name in instruction.called("calls"))
    return _of_fusion(called, types, result)


def _of_fusion(called: Computation, types: list[str], result: int) -> int:
    total = result
    users: dict[str, list[Instruction]] = {}
    for each in called.instructions.values():
        for name in each.operands:
            users.setdefault(name, []).append(each)
    for each in called.instructions.values():
        if each.opcode != "parameter":
            continue
        whole = _bytes(types[int(each.arguments)])
        taking = users.get(each.name, [])
        if taking and all(user.opcode == "dynamic-slice" for user in taking):
            total += min(whole, sum(sum(sizes(user.type)) for user in taking))
        elif taking and all(user.opcode == "dynamic-update-slice" and user.operands[0] == each.name for user in taking):
            # Written in place: the result is the whole array, and only the update of it is touched.
            update = sum(sum(sizes(called.instructions[user.operands[1]].type)) for user in taking)
            total += min(whole, update) - min(whole, result)
        else:
            total += whole
    return max(total, 0)


def _bytes(kind: str) -> int:
    return sum(sizes(_ELSEWHERE.sub("", kind)))
