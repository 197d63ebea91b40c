"""How tensors of theirs become parameters of ours, and back: pairs of functions that undo each other.

A transform takes the list of tensors that belong together and gives the list of parameters that they make; most often
both have one entry. Ours are [inputs, outputs] and channels last, PyTorch's are [outputs, inputs] and channels first.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

Arrays = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Transform:
    """`forward` makes ours of theirs, `backward` theirs of ours. Either raises ValueError on shapes that cannot be."""

    forward: Callable[[Arrays], Arrays]
    backward: Callable[[Arrays], Arrays]


def _each(forward: Callable, backward: Callable) -> Transform:
    return Transform(lambda xs: [forward(x) for x in xs], lambda xs: [backward(x) for x in xs])


SAME = _each(lambda x: x, lambda x: x)
TRANSPOSED = _each(lambda x: x.T, lambda x: x.T)  # [O, I] <-> [I, O]
POINTWISE = _each(lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None])  # [O, I, 1, 1] <-> [I, O]


def patches(size: int) -> Transform:
    """A convolution of stride and extent `size`, [O, C, p, p], as a linear map of flattened patches, [p*p*C, O]."""

    def backward(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(size, size, -1, kernel.shape[-1]).transpose(3, 2, 0, 1)

    return _each(lambda x: x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]), backward)


def joined(parts: int, each: Transform = SAME) -> Transform:
    """`parts` tensors, each transformed, side by side on the last axis of one parameter."""

    def forward(theirs: Arrays) -> Arrays:
        return [np.concatenate(each.forward(theirs), axis=-1)]

    return Transform(forward, lambda ours: each.backward(np.split(ours[0], parts, axis=-1)))


def divided(parts: int, each: Transform = SAME) -> Transform:
    """One tensor, transformed, whose last axis holds `parts` parameters side by side."""
    return Transform(
        lambda theirs: np.split(each.forward(theirs)[0], parts, axis=-1),
        lambda ours: each.backward([np.concatenate(ours, axis=-1)]),
    )


def stacked(each: Transform = SAME) -> Transform:
    """Several tensors, each transformed, on a new leading axis of one parameter."""
    return Transform(lambda theirs: [np.stack(each.forward(theirs))], lambda ours: each.backward(list(ours[0])))


# Biases of queries and values, none on keys: ours has zeros there, which the model holds at zero.
QUERY_VALUE = Transform(
    lambda theirs: [np.concatenate([theirs[0], np.zeros_like(theirs[0]), theirs[1]])],
    lambda ours: [np.split(ours[0], 3)[0], np.split(ours[0], 3)[2]],
)
