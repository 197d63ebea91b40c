"""StableHLO: the model's functions as files that any program with JAX calls, without PainJAX and without Flax.

The weights lie beside them, once for all functions, in a file that NumPy reads. (Inside each function they would be
stored as often as there are functions, a function may not exceed 2 GB, and XLA would spend minutes folding them.)
"""

from pathlib import Path

import jax
import numpy as np
from jax import export
from tqdm import tqdm

from painjax.exportable import Exportable
from painjax.model_card import HowTo
from painjax.model_folder import flatten, unflatten
from painjax.serving import NOTE, Function, serving_functions

PARAMETERS = "parameters.npz"
PLATFORMS = ("cpu", "cuda", "tpu")
_INSTALL = "pip install 'jax>=0.10'"


def write_stablehlo(model: Exportable, folder: Path) -> HowTo:
    """Writes `parameters.npz` and a `.stablehlo` file for each of `painjax.serving`'s functions into `folder`.

    Args:
      model: with its adapters merged.
      folder: an existing folder.
    """
    params = flatten(model.params)  # a flat dict: the caller needs no more than `dict(np.load(...))`
    np.savez(folder / PARAMETERS, **params)
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in params.items()}
    functions = serving_functions(model)
    for function in tqdm(functions, "stablehlo", unit="function", leave=False, disable=None):
        with jax.default_matmul_precision("highest"):  # float32 everywhere: accelerators would take fewer bits
            exported = export.export(_jitted(function), platforms=PLATFORMS)(shapes, *function.inputs.values())
        (folder / f"{function.name}.stablehlo").write_bytes(exported.serialize())
    return HowTo(
        format="StableHLO for CPU, CUDA and TPU, any batch size",
        library="jax",
        install=_INSTALL,
        usage=_usage(model, {function.name for function in functions}),
        notes=(
            *([NOTE] if model.kind == "vitpain" else []),
            f"Written by JAX {jax.__version__}; later versions read it for at least six months (see `jax.export`).",
        ),
    )


def _jitted(function: Function):
    return jax.jit(lambda params, *inputs: function.call(unflatten(params), *inputs))


def _usage(model: Exportable, names: set[str]) -> str:
    size, channels = model.preprocessing["size"], model.config.in_channels
    first = "encode" if model.kind == "encoder" else "predict"
    code = f"""import jax
import numpy as np
from jax import export

parameters = dict(np.load("{PARAMETERS}"))


def load(name):
    with open(f"{{name}}.stablehlo", "rb") as file:
        return jax.jit(export.deserialize(bytearray(file.read())).call)


image = np.zeros((2, {size}, {size}, {channels}), np.uint8)  # faces, 0..255
found = load("{first}")(parameters, image)
print({{name: value.shape for name, value in found.items()}})
"""
    if "enrol" in names:
        code += f"""
neutral = np.zeros((1, {size}, {size}, {channels}), np.uint8)  # the same person at rest: one picture or several
reference = load("enrol")(parameters, neutral)
print(load("predict_enrolled")(parameters, image, reference)["pspi"])
"""
    return code
