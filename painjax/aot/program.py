"""A compiled program as text (HLO): its instructions, and how often each one runs."""

import dataclasses
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\(")
_CALLED = re.compile(r"\b(calls|body|condition|to_apply|\w+_computations)=(\{[^}]*\}|%?[\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](\{[^}]*\})?")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation: `%name = type opcode(operands), attributes`."""

    name: str
    type: str
    opcode: str
    arguments: str
    attributes: str
    root: bool

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose results this one takes."""
        return re.findall(r"%([\w.\-]+)", self.arguments)

    def called(self, attribute: str) -> list[str]:
        """The computations that this instruction names as `attribute`, such as 'body'."""
        found = [value for name, value in _CALLED.findall(self.attributes) if name == attribute]
        return [name for value in found for name in re.findall(r"[\w.\-]+", value)]


@dataclasses.dataclass(frozen=True)
class Computation:
    """A function of the program: its instructions by name, in order."""

    name: str
    instructions: dict[str, Instruction]

    def operand_types(self, instruction: Instruction) -> list[str]:
        """The types of an instruction's operands."""
        return [self.instructions[name].type for name in instruction.operands]

    @property
    def root(self) -> Instruction:
        """The instruction whose result is the computation's."""
        return next(each for each in self.instructions.values() if each.root)

    def constant(self, name: str) -> int:
        """The value of a constant, or of a copy of one."""
        instruction = self.instructions[name]
        while instruction.opcode == "copy":
            instruction = self.instructions[instruction.operands[0]]
        if instruction.opcode != "constant":
            raise ValueError(f"{name} is a {instruction.opcode} where a constant was expected.")
        return int(instruction.arguments)


@dataclasses.dataclass(frozen=True)
class Program:
    """All computations, and the name of the one that is run."""

    computations: dict[str, Computation]
    entry: str

    def runs(self) -> Iterator[tuple[Computation, int]]:
        """Every computation that is scheduled by itself (not inside a fusion), with how often it runs.

        The body of a loop counts as often as the loop goes round, each branch of a condition once, and what an
        asynchronous pair wraps once, at its start. A loop whose length the compiler does not know raises ValueError.
        """
        return self._runs(self.entry, 1)

    def _runs(self, name: str, times: int) -> Iterator[tuple[Computation, int]]:
        computation = self.computations[name]
        yield computation, times
        for instruction in computation.instructions.values():
            if instruction.opcode == "while":
                trips = self._trips(computation, instruction)
                inner = [(body, trips) for body in instruction.called("body")]
            elif instruction.opcode in ("call", "conditional", "async-start"):
                attributes = ("to_apply", "calls", "branch_computations", "called_computations")
                inner = [(called, 1) for name in attributes for called in instruction.called(name)]
            else:
                continue
            for called, trips in inner:
                yield from self._runs(called, times * trips)

    def _trips(self, around: Computation, loop: Instruction) -> int:
        """How often a loop goes round: said on CPU; on TPU it counts from one constant to another."""
        if known := _TRIPS.search(loop.attributes):
            return int(known.group(1))
        (condition,), (body,) = (
            [self.computations[name] for name in loop.called(part)] for part in ("condition", "body")
        )
        test = condition.root
        index = condition.instructions[test.operands[0]]
        if test.opcode != "compare" or "direction=LT" not in test.attributes or index.opcode != "get-tuple-element":
            raise ValueError(f"Cannot tell how often the loop {loop.name} runs: it ends by {test.opcode}.")
        place = int(re.search(r"index=(\d+)", index.attributes).group(1))
        start = around.constant(around.instructions[loop.operands[0]].operands[place])
        added = body.instructions[body.root.operands[place]]
        if added.opcode != "add":
            raise ValueError(f"Cannot tell how often the loop {loop.name} runs: its index moves by {added.opcode}.")
        return -(-(condition.constant(test.operands[1]) - start) // body.constant(added.operands[1]))


def parse(text: str) -> Program:
    """The program from `jax.stages.Compiled.as_text()`."""
    computations, entry, name = {}, "", None
    for line in text.splitlines():
        if name is None:
            opened = _COMPUTATION.match(line)
            if opened and "->" in line:
                name = opened.group(2)
                entry = name if opened.group(1) else entry
                computations[name] = Computation(name, {})
        elif line.startswith("}"):
            name = None
        elif found := _INSTRUCTION.match(line):
            root, own, kind, opcode = found.groups()
            arguments = _split(line[found.end() :])
            computations[name].instructions[own] = Instruction(own, kind, opcode, *arguments, bool(root))
    if not entry:
        raise ValueError("This is no text of a compiled program: it has no ENTRY.")
    return Program(computations, entry)


def sizes(kind: str) -> list[int]:
    """Bytes of every array in a type such as '(bf16[8,128]{1,0}, f32[])'."""
    found = []
    for element, bits, shape, _ in _ARRAY.findall(kind):
        count = 1
        for side in filter(None, shape.split(",")):
            count *= int(side)
        found.append(count if element == "pred" else -(-count * int(bits) // 8))
    return found


def _split(rest: str) -> tuple[str, str]:
    """The arguments and the attributes, from what follows an opcode's opening parenthesis."""
    depth, end = 1, len(rest)
    for at, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            end = at
            break
    return rest[:end], rest[end + 1 :]
