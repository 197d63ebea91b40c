"""Pickles read as data: nothing that a file names is imported, called or written to.

A pickle is a program for a small stack machine. This one runs its instructions but for those that reach outside: what
the file would look up becomes a `Name`, what it would call or build a `Record` of the arguments and the state. Time and
memory stay in proportion to the file, whatever sizes it claims.

Source: PEP 307, PEP 3154, PEP 574; Python's pickletools.py describes every instruction.
"""

import dataclasses
import pickle  # noqa: TID251  # its names of the instructions, and nothing else
import struct
from collections.abc import Container

INSTRUCTIONS = 1_000_000  # of a file; some hundreds make a dictionary of arrays


class Refused(ValueError):
    """The file names something that is no array; the message says what."""


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or function that the file names."""

    module: str
    name: str


@dataclasses.dataclass(eq=False)
class Record:
    """What the file would make by calling `maker` with `arguments`, and then give `state`."""

    maker: Name
    arguments: tuple
    state: object = None


def read(data: bytes, names: Container[tuple[str, str]]):
    """What a pickle holds: Python's dictionaries (but for keys that are no text, bytes or integer), lists, tuples,
    texts, bytes and numbers, with `Record`s for everything else. Texts of Python 2 are taken as latin1.

    Args:
      data: the file.
      names: (module, name) of all that the file may name.

    Raises:
      Refused: if the file names anything else.
      ValueError, LookupError, TypeError, ArithmeticError: if it is no pickle, or a damaged one.
    """
    machine = _Machine(data, names)
    for _ in range(INSTRUCTIONS):
        if (opcode := machine.take(1)) == pickle.STOP:
            return machine.stack.pop()
        machine.run(opcode)
    raise ValueError(f"more than {INSTRUCTIONS:,} instructions")


def _latin1(data: bytes) -> str:
    return data.decode("latin1")


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _integer(data: bytes) -> int:
    if len(data) > 16:
        raise ValueError(f"an integer of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False, pickle.EMPTY_TUPLE: ()}
_NUMBERS = {pickle.BININT: "<i", pickle.BININT1: "<B", pickle.BININT2: "<H", pickle.BINFLOAT: ">d"}
_COUNTED = {  # the format of the number of bytes, and what they are
    pickle.SHORT_BINSTRING: ("<B", _latin1), pickle.BINSTRING: ("<i", _latin1),
    pickle.SHORT_BINUNICODE: ("<B", _utf8), pickle.BINUNICODE: ("<I", _utf8), pickle.BINUNICODE8: ("<Q", _utf8),
    pickle.SHORT_BINBYTES: ("<B", bytes), pickle.BINBYTES: ("<I", bytes), pickle.BINBYTES8: ("<Q", bytes),
    pickle.BYTEARRAY8: ("<Q", bytes), pickle.LONG1: ("<B", _integer), pickle.LONG4: ("<i", _integer),
}  # fmt: skip
_BOOLEANS = {b"00": False, b"01": True}
_LINES = {
    pickle.INT: lambda line: _BOOLEANS[line] if line in _BOOLEANS else int(line),
    pickle.LONG: lambda line: int(line.removesuffix(b"L")),
    pickle.FLOAT: float,
    pickle.STRING: lambda line: line.strip()[1:-1].decode("unicode_escape"),  # repr() of Python 2
    pickle.UNICODE: lambda line: line.decode("raw-unicode-escape"),
}
_PUTS = {pickle.BINPUT: "<B", pickle.LONG_BINPUT: "<I"}
_GETS = {pickle.BINGET: "<B", pickle.LONG_BINGET: "<I"}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
_SET = Name("builtins", "set")


class _Machine:
    def __init__(self, data: bytes, names: Container[tuple[str, str]]):
        self._data, self._at, self._names = data, 0, names
        self.stack, self._marks, self._memo = [], [], {}

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise ValueError(f"{count} bytes wanted at {self._at} of {len(self._data)}")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, form: str):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def _line(self) -> bytes:
        return self.take(self._data.index(b"\n", self._at) + 1 - self._at)[:-1]

    def _marked(self) -> list:
        """Takes what lies above the last mark."""
        mark = self._marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _name(self, module, name) -> Name:
        if not (isinstance(module, str) and isinstance(name, str) and (module, name) in self._names):
            raise Refused(f"{module}.{name}")
        return Name(module, name)

    def _record(self, maker, arguments) -> None:
        if not (isinstance(maker, Name) and isinstance(arguments, (tuple, list))):
            raise ValueError(f"a {type(maker).__name__} is called")
        self.stack.append(Record(maker, tuple(arguments)))

    def _top(self, kind: type):
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"a {type(self.stack[-1]).__name__} is filled as if it were a {kind.__name__.lower()}")
        return self.stack[-1]

    def _set_items(self, items: list) -> None:
        # hashing anything else may take time without end, or all of the stack
        pairs = zip(items[::2], items[1::2], strict=True)
        self._top(dict).update((key, value) for key, value in pairs if isinstance(key, (str, bytes, int)))

    def run(self, opcode: bytes) -> None:
        """Runs one instruction."""
        stack = self.stack
        if opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _NUMBERS:
            stack.append(self._number(_NUMBERS[opcode]))
        elif opcode in _COUNTED:
            form, decoded = _COUNTED[opcode]
            stack.append(decoded(self.take(self._number(form))))
        elif opcode in _LINES:
            stack.append(_LINES[opcode](self._line()))
        elif opcode in _PUTS:
            self._memo[self._number(_PUTS[opcode])] = stack[-1]
        elif opcode in _GETS:
            stack.append(self._memo[self._number(_GETS[opcode])])
        elif opcode in _TUPLES:
            stack[-_TUPLES[opcode] :] = [tuple(stack[-_TUPLES[opcode] :])]
        else:
            self._run_other(opcode)

    def _run_other(self, opcode: bytes) -> None:
        stack = self.stack
        match opcode:
            case pickle.PROTO:
                self._number("<B")
            case pickle.FRAME:
                self._number("<Q")
            case pickle.MARK:
                self._marks.append(len(stack))
            case pickle.POP:
                stack.pop()
            case pickle.POP_MARK:
                self._marked()
            case pickle.DUP:
                stack.append(stack[-1])
            case pickle.PUT:
                self._memo[int(self._line())] = stack[-1]
            case pickle.GET:
                stack.append(self._memo[int(self._line())])
            case pickle.MEMOIZE:
                self._memo[len(self._memo)] = stack[-1]
            case pickle.TUPLE:
                stack.append(tuple(self._marked()))
            case pickle.EMPTY_LIST:
                stack.append([])
            case pickle.LIST:
                stack.append(self._marked())
            case pickle.APPEND:
                item = stack.pop()
                self._top(list).append(item)
            case pickle.APPENDS:
                items = self._marked()
                self._top(list).extend(items)
            case pickle.EMPTY_DICT:
                stack.append({})
            case pickle.DICT:
                items = self._marked()
                stack.append({})
                self._set_items(items)
            case pickle.SETITEM:
                value, key = stack.pop(), stack.pop()
                self._set_items([key, value])
            case pickle.SETITEMS:
                self._set_items(self._marked())
            case pickle.EMPTY_SET:
                self._record(_SET, ())
            case pickle.FROZENSET:
                self._record(_SET, self._marked())
            case pickle.ADDITEMS:
                self._marked()  # nobody reads sets
                self._top(Record)
            case pickle.GLOBAL:
                stack.append(self._name(_utf8(self._line()), _utf8(self._line())))
            case pickle.STACK_GLOBAL:
                name, module = stack.pop(), stack.pop()
                stack.append(self._name(module, name))
            case pickle.REDUCE | pickle.NEWOBJ:
                arguments, maker = stack.pop(), stack.pop()
                self._record(maker, arguments)
            case pickle.NEWOBJ_EX:
                _, arguments, maker = stack.pop(), stack.pop(), stack.pop()
                self._record(maker, arguments)
            case pickle.OBJ:
                maker, *arguments = self._marked()
                self._record(maker, arguments)
            case pickle.INST:
                maker = self._name(_utf8(self._line()), _utf8(self._line()))
                self._record(maker, self._marked())
            case pickle.BUILD:
                state = stack.pop()
                self._top(Record).state = state
            case pickle.EXT1 | pickle.EXT2 | pickle.EXT4 | pickle.PERSID | pickle.BINPERSID:
                raise Refused("an object from outside the file")
            case _:
                raise ValueError(f"{opcode!r} at {self._at - 1} is no instruction")
