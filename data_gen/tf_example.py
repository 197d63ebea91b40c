"""Examples as the messages `tf.train.Example` that TFDS writes and reads, with neither TFDS nor protobuf installed.

The format: https://protobuf.dev/programming-guides/encoding, and example.proto and feature.proto of TensorFlow.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_SIZED = 2  # wire type of messages, texts and packed lists
_FEATURES, _ENTRY, _KEY, _VALUE, _LIST = 1, 1, 1, 2, 1  # numbers of the fields on the way to a list of values
_BYTES, _FLOATS, _INTS = 1, 2, 3  # which of them a feature has


def serialize(example: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> bytes:
    """The message of a nested dict of arrays, numbers, texts and encoded pictures.

    Args:
      example: parts are joined with '/'; floats are float32, integers and bools have at most 64 bits.
      labels: fields that are stored as their places in a list of names, by path; they may be places already.

    Raises:
      ValueError: if a label is none of its names.
      TypeError: if a value is nothing of all that.
    """
    entries = []
    for path, value in sorted(_flat(example)):
        if path in labels and isinstance(value, str):
            if value not in labels[path]:
                raise ValueError(f"{path} is {value!r}; expected one of {', '.join(labels[path])}.")
            value = labels[path].index(value)
        entries.append(_sized(_ENTRY, _sized(_KEY, path.encode()) + _sized(_VALUE, _feature(path, value))))
    return _sized(_FEATURES, b"".join(entries))


def _flat(example: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in example.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _feature(path: str, value: Any) -> bytes:
    if isinstance(value, str | bytes):
        return _sized(_BYTES, _sized(_LIST, value.encode() if isinstance(value, str) else value))
    numbers = np.asarray(value).ravel()
    if numbers.dtype == np.float32:
        return _sized(_FLOATS, _sized(_LIST, numbers.astype("<f4").tobytes()))
    if numbers.dtype.kind in "iub":
        return _sized(_INTS, _sized(_LIST, b"".join(_varint(int(number) % 2**64) for number in numbers)))
    raise TypeError(f"{path} is of type {numbers.dtype}; expected float32, integers, bools, text or bytes.")


def _sized(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _SIZED) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """An integer 0 <= number < 2**64: seven bits to a byte, the lowest first, the last one without its top bit."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
