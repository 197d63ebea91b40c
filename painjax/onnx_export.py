"""ONNX: the model's functions as files for onnxruntime, by jax2onnx, with any batch size."""

import logging
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun
from tqdm import tqdm

from painjax.errors import UserError
from painjax.exportable import Exportable
from painjax.model_card import HowTo
from painjax.serving import NOTE, Function, serving_functions

# A file holds the weights that it uses, so this is one file less: enrolling a person and predicting says the same.
_LEFT_OUT = "predict_with_neutral"


def write_onnx(model: Exportable, folder: Path) -> HowTo:
    """Writes an `.onnx` file for each of `painjax.serving`'s functions, but for `predict_with_neutral`, into `folder`.

    Weights beyond what one file can hold lie beside it (`.onnx.data`).

    Args:
      model: with its adapters merged.
      folder: an existing folder.

    Raises:
      UserError: if jax2onnx is not installed.
    """
    jax2onnx = _jax2onnx()
    functions = [function for function in serving_functions(model) if function.name != _LEFT_OUT]
    for function in tqdm(functions, "onnx", unit="function", leave=False, disable=None):
        _write(jax2onnx, model, function, folder / f"{function.name}.onnx")
    return HowTo(
        format="ONNX, float32, any batch size",
        library="onnx",
        install="pip install onnxruntime",
        usage=_usage(model, {function.name for function in functions}),
        notes=(NOTE,) if model.kind == "vitpain" else (),
    )


def _write(jax2onnx: ModuleType, model: Exportable, function: Function, path: Path) -> None:
    shapes, tree = jax.tree.flatten(tuple(function.inputs.values()))
    params = jax.tree.map(jnp.asarray, model.params)

    def flat(*arrays):
        return jax.tree.leaves(function.call(params, *jax.tree.unflatten(tree, arrays)))

    # Traced here: jax2onnx traces with layers of its own in the place of Flax's, not all of which can be vmapped. And
    # without jit, where a scan is a Python loop: ONNX's loops keep onnxruntime from fusing what is inside them.
    with jax.disable_jit():
        traced = jax.make_jaxpr(flat)(*shapes)
    jax2onnx.to_onnx(
        jaxpr_as_fun(traced),
        shapes,
        model_name=function.name,
        return_mode="file",
        output_path=path,
        input_names=_names(function.inputs),
        output_names=_names(jax.eval_shape(function.call, model.params, *function.inputs.values())),
    )


def _names(tree: dict) -> list[str]:
    """The innermost names, in the order of the leaves."""
    if list(tree) != sorted(tree) and any(isinstance(value, dict) for value in tree.values()):
        raise ValueError(f"{list(tree)} would be flattened in another order.")
    return [str(path[-1].key) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _jax2onnx() -> ModuleType:
    try:
        import jax2onnx
    except ImportError as error:
        raise UserError(f"--format=onnx needs jax2onnx ({error}): pip install 'painjax[onnx]'.") from error
    # They warn of every plugin for another library and of every shape that nobody needs to know.
    for library in ("jax2onnx", "onnx_ir"):
        logging.getLogger(library).setLevel(logging.ERROR)
    return jax2onnx


def _usage(model: Exportable, names: set[str]) -> str:
    size, channels = model.preprocessing["size"], model.config.in_channels
    first = "encode" if model.kind == "encoder" else "predict"
    code = f"""import numpy as np
import onnxruntime


def load(name):
    session = onnxruntime.InferenceSession(f"{{name}}.onnx", providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(outputs, session.run(None, inputs)))


image = np.zeros((2, {size}, {size}, {channels}), np.uint8)  # faces, 0..255
found = load("{first}")(image=image)
print({{name: value.shape for name, value in found.items()}})
"""
    if "enrol" in names:
        code += f"""
neutral = np.zeros((1, {size}, {size}, {channels}), np.uint8)  # the same person at rest: one picture or several
reference = load("enrol")(neutral=neutral)
print(load("predict_enrolled")(image=image, **reference)["pspi"])
"""
    return code
