"""What a layout is: how one program names and shapes the tensors of its models, as a table."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from painjax.errors import UserError
from painjax.models.vit import ViTConfig
from painjax.weights.transforms import SAME, TRANSPOSED, Transform

BLOCK = "{block}"  # in a name of theirs: the number of the block. Our blocks are stacked on a leading axis.
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Row:
    """Tensors of theirs and the parameters of ours that they make, most often one of each."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    transform: Transform = SAME


@dataclasses.dataclass(frozen=True)
class Unused:
    """Tensors of theirs that may be there and say nothing about our model.

    `names` is a regular expression. Where their code expects the tensor all the same, it is a plain name, and `written`
    is what is written for it.
    """

    names: str
    why: str
    written: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one program names and shapes the tensors of its models.

    kind: what it makes, 'encoder' or 'vitpain'.
    markers: names that together only this layout has, possibly behind a prefix.
    sizes: from the shapes of the tensors to those fields of the model's configuration that they tell; the epsilon of
      the norms, which they do not, is that of the published models of the layout.
    rows: the table for a configuration; a row whose parameters the model has not is passed over.
    unused: what may be left out.
    renamed: (regular expression, replacement) for other spellings of the same names.
    """

    name: str
    title: str
    kind: str
    markers: tuple[str, ...]
    sizes: Callable[[Shapes], dict[str, Any]]
    rows: Callable[[ViTConfig], list[Row]]
    unused: Callable[[ViTConfig], list[Unused]]
    renamed: tuple[tuple[str, str], ...] = ()


def row(theirs: str | tuple[str, ...], ours: str | tuple[str, ...], transform: Transform = SAME) -> Row:
    """A `Row`; a single name needs no tuple."""
    return Row(*((names,) if isinstance(names, str) else names for names in (theirs, ours)), transform)


def linear(theirs: str, ours: str) -> list[Row]:
    """A linear layer: its weight, [outputs, inputs] there and [inputs, outputs] here, and its bias."""
    return [row(f"{theirs}.weight", f"{ours}/kernel", TRANSPOSED), row(f"{theirs}.bias", f"{ours}/bias")]


def norm(theirs: str, ours: str) -> list[Row]:
    """A LayerNorm."""
    return [row(f"{theirs}.weight", f"{ours}/scale"), row(f"{theirs}.bias", f"{ours}/bias")]


def patch_sizes(shapes: Shapes, name: str) -> dict[str, int]:
    """What the convolution that embeds patches, [D, C, p, p], tells."""
    shape = shapes[name]
    if len(shape) != 4 or shape[2] != shape[3]:
        raise UserError(f"{name} has shape {tuple(shape)}; expected [width, channels, p, p] with square patches.")
    return {"width": shape[0], "in_channels": shape[1], "patch_size": shape[2]}


def depth(shapes: Shapes, blocks: str) -> int:
    """How many blocks there are; `blocks` is what stands before their number."""
    numbers = [re.match(rf"{re.escape(blocks)}(\d+)\.", name) for name in shapes]
    return 1 + max(int(number.group(1)) for number in numbers if number)


def learned_positions(shapes: Shapes, name: str) -> dict[str, Any]:
    """What a table of positions, [1, G*G (+ 1 for CLS), D], tells."""
    shape = shapes[name]
    rows = shape[1] if len(shape) == 3 else 0
    for prefix in (False, True):
        side = math.isqrt(max(rows - prefix, 0))
        if side and side * side == rows - prefix:
            return {"position": "learned", "position_grid": side, "position_prefix": prefix}
    raise UserError(
        f"{name} has shape {tuple(shape)}; expected [1, G*G, width] or [1, 1 + G*G, width], a square of places."
    )


def require(config: ViTConfig, layout: str, **fields: tuple[Any, ...]) -> None:
    """Raises UserError if a field of `config` has a value that the layout cannot express."""
    for name, allowed in fields.items():
        if getattr(config, name) not in allowed:
            raise UserError(
                f"model.{name} is {getattr(config, name)!r}, which the layout of {layout} cannot express; it has "
                f"{' or '.join(repr(value) for value in allowed)}."
            )
