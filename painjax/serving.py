"""A model as pure functions from uint8 pictures to named arrays: what other programs call.

Pictures come as cameras and files have them, uint8 [B, S, S, C]; normalisation is inside. Everything is computed in
float32, whatever the model was trained in. The functions of a ViTPain:

    predict(image)                         without a neutral reference
    predict_with_neutral(image, neutral)   with a neutral picture for each row
    enrol(neutral)                         R neutral pictures of one person -> reference, once
    predict_enrolled(image, reference)     any number of frames of that person, one encoder pass each

The last three exist for models that can use a neutral reference. An encoder has one function, encode(image).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import export
from jaxtyping import Array, Float, UInt8

from painjax.data.transforms import Normalisation, normalise
from painjax.evaluate import clip_to_range
from painjax.exportable import Exportable
from painjax.model_folder import KINDS
from painjax.models.vit import unpatchify
from painjax.models.vitpain import Reference, ViTPainOutput

NOTE = (
    "Pictures are given as uint8, 0..255, cut and scaled as told below; normalisation is inside. `pspi` and `aus` are "
    "clipped to their ranges; `pspi_from_aus` is the PSPI formula on `aus`; `threshold_probability` is of PSPI >= 1, "
    "2, 3; `pspi_std`, where there is one, is the error that the model expects; `heatmap`, 0..1, is where it sees "
    "pain; `au_attention` is where each action unit's query looks, over the patches, row by row. All is computed in "
    "float32; where a model was set to round products to bfloat16 (`model.matmul_dtype`), PainJAX's own numbers differ "
    "a little, PSPI by about 0.01."
)


@dataclasses.dataclass(frozen=True)
class Function:
    """call(params, *inputs) -> dict of arrays; `inputs` are named shapes, in order, with symbolic rows.

    An input is a picture, or a dict of arrays such as `enrol` returns.
    """

    name: str
    call: Callable[..., dict[str, Array]]
    inputs: dict[str, Any]


def serving_functions(model: Exportable) -> list[Function]:
    """The functions of a model whose adapters are merged."""
    build = _builder(model)
    size, channels = model.preprocessing["size"], model.config.in_channels
    figures = Normalisation(tuple(model.preprocessing["mean"]), tuple(model.preprocessing["std"]))
    rows, references = export.symbolic_shape("B, R")

    def pictures(count: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, size, size, channels), jnp.uint8)

    def to_input(pixels: UInt8[Array, "B S S C"]) -> Float[Array, "B S S C"]:
        return normalise(pixels.astype(jnp.float32) / 255, figures)

    def encode(params, image):
        return {"tokens": build(params)(to_input(image))}

    def predict(params, image):
        return _named(build(params)(to_input(image)), model)

    def predict_with_neutral(params, image, neutral):
        return _named(build(params)(to_input(image), to_input(neutral)), model)

    def enrol(params, neutral):
        reference = build(params).enrol(to_input(neutral)[None])
        arrays = {field.name: getattr(reference, field.name) for field in dataclasses.fields(Reference)}
        # The tokens are for training; prediction looks at their keys and values.
        return {name: value for name, value in arrays.items() if value is not None and name != "tokens"}

    def predict_enrolled(params, image, reference):
        arrays = {field.name: reference.get(field.name) for field in dataclasses.fields(Reference)}
        return _named(build(params)(to_input(image), reference=Reference(**arrays)), model)

    if model.kind == "encoder":
        return [Function("encode", encode, {"image": pictures(rows)})]
    functions = [Function("predict", predict, {"image": pictures(rows)})]
    if model.config.neutral == "none":
        return functions
    reference = jax.eval_shape(enrol, model.params, pictures(references))
    return [
        *functions,
        Function("predict_with_neutral", predict_with_neutral, {"image": pictures(rows), "neutral": pictures(rows)}),
        Function("enrol", enrol, {"neutral": pictures(references)}),
        Function("predict_enrolled", predict_enrolled, {"image": pictures(rows), "reference": reference}),
    ]


def _builder(model: Exportable) -> Callable[[Any], nnx.Module]:
    """From parameters to the model in evaluation mode, without random streams, which nothing exported may hold."""
    config = dataclasses.replace(model.config, dtype="float32", matmul_dtype="float32", remat="none")
    module = nnx.eval_shape(lambda: KINDS[model.kind][0](config, rngs=nnx.Rngs(0)))
    module.eval()
    for _, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Module) and getattr(node, "rngs", None) is not None:
            node.rngs = nnx.data(None)
    graphdef = nnx.split(module)[0]
    return lambda params: nnx.merge(graphdef, params, copy=True)


def _named(output: ViTPainOutput, model: Exportable) -> dict[str, Array]:
    config, size = model.config, model.preprocessing["size"]
    found = clip_to_range(output) | {"pspi_from_aus": output.pspi_from_aus, "au_attention": output.au_attention}
    if output.pspi_log_variance is not None:
        found["pspi_std"] = jnp.exp(output.pspi_log_variance / 2)
    if output.heatmap is not None:
        grid = size // config.patch_size
        found["heatmap"] = unpatchify(jax.nn.sigmoid(output.heatmap), config.patch_size, grid, grid)[..., 0]
    return found
