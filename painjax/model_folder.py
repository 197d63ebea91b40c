"""Model folders: weights with all that is needed to use them, in three files that anybody can read.

    model.safetensors   the parameters: 'a/b/c' is the path in the model, layers are stacked on a leading axis
    config.json         what the model is, how its pictures are prepared, where it comes from
    README.md           the model card

`painjax import` and `painjax export` write them; training starts from them, and prediction and evaluation take them in
the place of a training run.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from painjax.errors import UserError
from painjax.files import give_usual_rights, write_atomically, write_json
from painjax.models.vit import ViT, ViTConfig
from painjax.models.vitpain import ViTPain, ViTPainConfig

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
KINDS = {"encoder": (ViT, ViTConfig), "vitpain": (ViTPain, ViTPainConfig)}
_KEYS = ("kind", "model", "preprocessing", "source", "weights_sha256")


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A model folder in memory: `config` is its config.json, `params` nested dicts of NumPy arrays."""

    config: dict[str, Any]
    params: dict[str, Any]


def is_model_folder(path: str | os.PathLike) -> bool:
    """Whether `path` is a folder that `write_model_folder` made; it may have lost its weights since."""
    config = Path(path) / CONFIG
    if not config.is_file():
        return False
    try:
        value = json.loads(config.read_text())
    except ValueError:
        return False
    return isinstance(value, dict) and {"format", "kind", "weights_sha256"} <= set(value)


def has_weights(path: str | os.PathLike) -> bool:
    """Whether `path` is a model folder that can be used."""
    return is_model_folder(path) and (Path(path) / WEIGHTS).is_file()


def write_model_folder(
    folder: str | os.PathLike,
    params: Mapping[str, Any],
    *,
    kind: str,
    model: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    source: Mapping[str, Any],
    card: str,
    experiment: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model folder; readers see all of it or nothing.

    Args:
      folder: where to; must not exist or be empty.
      params: parameters of the model, nested dicts of arrays.
      kind: 'encoder' (a `ViT`) or 'vitpain' (a `ViTPain`).
      model: fields of its `ViTConfig` or `ViTPainConfig`.
      preprocessing: mean and std per channel of a picture in 0..1, size in pixels, crop (the part of each side that is
        kept), interpolation.
      source: where the weights come from: 'from', 'revision', 'file', 'sha256'.
      card: the model card, Markdown.
      experiment: the configuration of the training run, if there was one.

    Raises:
      UserError: if `folder` is taken, or the parameters are not those of the model.
    """
    folder = Path(os.path.abspath(folder))
    refuse_taken(folder)
    flat = {name: np.asarray(value) for name, value in flatten(params).items()}
    _check_fit(kind, model, flat, f"The parameters for {folder}")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was stopped
    partial.mkdir(parents=True)
    # save_file writes the memory of an array as it lies, so it must lie in order.
    save_file({name: np.ascontiguousarray(value) for name, value in flat.items()}, partial / WEIGHTS)
    give_usual_rights(partial / WEIGHTS)
    config = {
        "format": FORMAT,
        "kind": kind,
        "model": dict(model),
        "preprocessing": dict(preprocessing),
        "source": dict(source),
        "weights_sha256": sha256(partial / WEIGHTS),
    }
    if experiment is not None:
        config["experiment"] = dict(experiment)
    write_json(partial / CONFIG, config)
    write_atomically(partial / CARD, card)
    if folder.is_dir():
        folder.rmdir()
    partial.rename(folder)
    return folder


def refuse_taken(folder: str | os.PathLike) -> None:
    """Raises UserError if there is something at `folder` that writing a model there would overwrite."""
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty, and nothing is overwritten. Name a new folder, or remove it first.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a new folder for the model.")


def read_model_folder(folder: str | os.PathLike) -> ModelFolder:
    """Reads a model folder and checks it against its checksum and its own description.

    Raises:
      UserError: if it is no model folder, is damaged, or its parameters are not those of its model.
    """
    folder = Path(folder)
    config = read_model_config(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has no {WEIGHTS}. Import or export the model again.")
    found = sha256(folder / WEIGHTS)
    if found != config["weights_sha256"]:
        raise UserError(
            f"{folder / WEIGHTS} has changed since it was written: its SHA-256 is {found[:12]}..., but {CONFIG} says "
            f"{str(config['weights_sha256'])[:12]}.... Import or export the model again."
        )
    try:
        with safe_open(folder / WEIGHTS, framework="np") as file:
            flat = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS} cannot be read ({error}). Import or export the model again.") from error
    _check_fit(config["kind"], config["model"], flat, str(folder))
    return ModelFolder(config, unflatten(flat))


def build_model(folder: ModelFolder) -> ViT | ViTPain:
    """The model of a folder in evaluation mode, on the default device."""
    module, config = KINDS[folder.config["kind"]]

    def split():
        return nnx.split(module(config(**folder.config["model"]), rngs=nnx.Rngs(0)), nnx.Param, ...)

    graph, params, _ = nnx.eval_shape(split)
    nnx.replace_by_pure_dict(params, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), folder.params))
    # What is no parameter is random streams. Under jit the parameters that nobody asks for are never made.
    model = nnx.merge(graph, params, jax.jit(lambda: split()[2])())
    model.eval()
    return model


def parameter_shapes(kind: str, model: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of a model, {'a/b/c': shape}, without making any.

    Raises:
      UserError: if the fields of `model` are no valid configuration.
    """
    module, config = KINDS[kind]
    unknown = set(model) - {field.name for field in dataclasses.fields(config)}
    if unknown:
        raise UserError(f"The model's configuration has unknown fields: {', '.join(sorted(unknown))}.")
    try:
        config = config(**model)
    except (TypeError, ValueError) as error:
        raise UserError(f"The model's configuration is not valid: {error}") from error
    # Not nnx.eval_shape, which under a mesh would look for the logical axes there.
    params = jax.eval_shape(lambda: nnx.to_pure_dict(nnx.state(module(config, rngs=nnx.Rngs(0)), nnx.Param)))
    return {name: tuple(value.shape) for name, value in flatten(params).items()}


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """{'a': {'b': x}} -> {'a/b': x}."""
    flat = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{rest}": leaf for rest, leaf in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{'a/b': x} -> {'a': {'b': x}}."""
    nested = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return nested


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_model_config(folder: str | os.PathLike) -> dict[str, Any]:
    """config.json of a model folder, checked, as `read_model_folder` does; its weights may be lost."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder} is no model folder: it has no {CONFIG}. Make one with "
            "`painjax import --from=FILE|hub-id --to=FOLDER`."
        )
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} cannot be read ({error}). Import or export the model again.") from error
    if not isinstance(config, dict) or "format" not in config:
        raise UserError(f"{path} is not that of a model folder: it names no format.")
    if config["format"] != FORMAT:
        raise UserError(
            f"{folder} has format {config['format']!r}, this version of PainJAX reads {FORMAT}. Import or export the "
            "model again, or use the version that wrote it."
        )
    missing = [key for key in _KEYS if key not in config]
    if missing or config["kind"] not in KINDS:
        what = f"lacks {', '.join(missing)}" if missing else f"names the kind {config['kind']!r}"
        raise UserError(f"{path} {what}; expected {', '.join(_KEYS)}, with a kind of {' or '.join(KINDS)}.")
    if not _describes_pictures(config["preprocessing"], config["model"]):
        raise UserError(
            f"{path} has the preprocessing {config['preprocessing']}; expected mean and std (numbers, one for each "
            "channel), size (pixels), crop (0..1) and interpolation (such as bicubic). Import or export the model "
            "again."
        )
    return config


def _describes_pictures(preprocessing: Any, model: Any) -> bool:
    match preprocessing:
        case {"mean": [*mean], "std": [*std], "size": int(size), "crop": int() | float(), "interpolation": str()}:
            channels = model.get("in_channels", 3) if isinstance(model, Mapping) else len(mean)
            numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in (*mean, *std))
            return numbers and len(mean) == len(std) == channels and min(std) > 0 and size > 0
    return False


def _check_fit(kind: str, model: Mapping[str, Any], flat: Mapping[str, np.ndarray], where: str) -> None:
    try:
        shapes = parameter_shapes(kind, model)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    problems = [f"{name} is missing" for name in sorted(set(shapes) - set(flat))]
    problems += [f"{name} is not a parameter of the model" for name in sorted(set(flat) - set(shapes))]
    problems += [
        f"{name} has shape {tuple(flat[name].shape)}, expected {shapes[name]}"
        for name in sorted(set(shapes) & set(flat))
        if tuple(flat[name].shape) != shapes[name]
    ]
    if problems:
        raise UserError(f"{where} are not those of the model that is described: {'; '.join(problems)}.")
