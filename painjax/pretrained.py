"""Weights that a training starts from: a model folder (`painjax.model_folder`), and how it fits an experiment.

`config.pretrained` names the folder. It decides what the encoder is: a field of `config.model` that is None or absent
is taken from it, one that is set must agree. It also decides how pictures are normalised (`config.data.image_mean` and
`image_std`). A folder of kind 'encoder' fills `encoder` and, where there is one, `neutral_encoder`; one of kind
'vitpain' fills the whole model. LoRA adapters of the folder are folded into its weights first: training starts with new
ones.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from painjax.errors import UserError
from painjax.model_folder import read_model_folder
from painjax.models import lora
from painjax.models.config import ViTConfig
from painjax.models.vitpain import ViTPainConfig

# What says how to train or to compute; every other field of ViTConfig says what the weights are.
_FREE = (
    *("dropout", "drop_path", "dtype", "matmul_dtype", "remat"),
    *("rope_shift", "rope_jitter", "rope_rescale"),
    *("lora_rank", "lora_alpha", "lora_dropout", "lora_targets"),
)
_ENCODER_FIELDS = tuple(field.name for field in dataclasses.fields(ViTConfig) if field.name not in _FREE)
_FIELDS = tuple(field.name for field in dataclasses.fields(ViTPainConfig) if field.name not in _FREE)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model folder, read.

    folder: its absolute path. sha256: of its weights. params: the folder's parameters without adapters, by path
    ('encoder/norm/scale', whatever the folder's kind). model: the folder's model fields, all of them set, and
    `image_size`. mean, std: per channel, of pixels in 0..1.
    """

    folder: Path
    sha256: str
    kind: str
    params: Mapping[str, np.ndarray]
    model: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def reference(self) -> dict[str, str]:
        """What a checkpoint says about the weights that it stands on."""
        return {"from": str(self.folder), "weights_sha256": self.sha256}


def read(folder: str | os.PathLike) -> Pretrained:
    """Reads a model folder to start a training from.

    Raises:
      UserError: if there is none, or it is damaged.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"config.pretrained = {os.fspath(folder)!r}: there is no such folder. Give a model folder, as "
            "`painjax import --from=NAME --to=FOLDER` writes one; if it has moved, --config.pretrained=NEW_PLACE."
        )
    found = read_model_folder(folder)
    kind, preprocessing = found.config["kind"], found.config["preprocessing"]
    shape = (ViTConfig if kind == "encoder" else ViTPainConfig)(**found.config["model"])
    params, shape = lora.merge(found.params, shape)
    params = {"encoder": params} if kind == "encoder" else params
    return Pretrained(
        folder=Path(os.path.abspath(folder)),
        sha256=found.config["weights_sha256"],
        kind=kind,
        params=flatten_dict(params, sep="/"),
        model={"image_size": preprocessing["size"]} | dataclasses.asdict(shape),
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
    )


def complete(config: ConfigDict, weights: Pretrained | None) -> ConfigDict:
    """A copy of the experiment with every field set that is left to the pretrained weights.

    Raises:
      UserError: listing every field of `config.model` that does not agree with the weights, or that is left to them
        where there are none.
    """
    config = config.copy_and_resolve_references()
    if weights is None:
        _check_nothing_missing(config)
        return config
    fields = weights.model
    with config.unlocked():
        config.pretrained = str(weights.folder)
        for name in _FIELDS if weights.kind == "vitpain" else (*_ENCODER_FIELDS, "image_size"):
            if config.model.get(name) is None:
                is_grey = name == "in_channels" and config.data.input == "heatmap"
                config.model[name] = 1 if is_grey else fields[name]
        if config.data.input == "image":
            config.data.image_mean, config.data.image_std = weights.mean, weights.std
    _check_nothing_missing(config)
    wrong = [name for name in _ENCODER_FIELDS if not _agrees(name, config.model[name], fields[name])]
    if wrong:
        differences = ", ".join(f"{name} {fields[name]} and not {config.model[name]}" for name in wrong)
        raise UserError(
            f"config.pretrained = {str(weights.folder)!r} holds another encoder than config.model: {differences}. To "
            f"train with these weights add {_flags(wrong, fields)}."
        )
    return config


def arrange(weights: Pretrained, config: ConfigDict, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The pretrained weights as the parameters of a model.

    Args:
      weights: as read.
      config: the experiment, complete.
      shapes: of every parameter of its model, by path.

    Returns:
      Arrays by path for all of the encoders' own weights, and for whatever else the folder holds. Parameters that only
      the model has (adapters, new heads) are left out.

    Raises:
      UserError: listing every weight that has no place in the model, or another shape there, and every weight of an
        encoder that is missing.
    """
    arrays = dict(weights.params)
    if any(path.startswith("neutral_encoder/") for path in shapes):
        copies = {f"neutral_{path}": value for path, value in arrays.items() if path.startswith("encoder/")}
        arrays = copies | arrays
    target = config.model.in_channels * (2 if config.model.neutral == "channels" else 1)
    for path in arrays.keys() & {f"{encoder}/patch_embed/kernel" for encoder in lora.ENCODERS}:
        arrays[path] = _with_channels(arrays[path], weights.model["patch_size"], config.model.in_channels, target)
    problems = []
    for path in sorted(shapes.keys() | arrays.keys()):
        if path not in shapes:
            problems.append(f"{path} {arrays[path].shape} has no place in the model")
        elif path not in arrays:
            if path.split("/")[0] in lora.ENCODERS and path.split("/")[-1] not in lora.ADAPTER:
                problems.append(f"{path} {shapes[path]} of the model is not in the folder")
        elif arrays[path].shape != shapes[path]:
            problems.append(f"{path} is {arrays[path].shape}, in the model {shapes[path]}")
    if problems:
        differ = [name for name in _FIELDS if name in weights.model and config.model.get(name) != weights.model[name]]
        differ = [name for name in differ if name not in ("image_size", "layer_scale")]
        advice = f" Perhaps {_flags(differ, weights.model)}." if differ else ""
        raise UserError(
            f"The weights of {weights.folder} do not fit config.model:\n  " + "\n  ".join(problems) + "\nChange "
            f"config.model to the model that was trained there.{advice}"
        )
    return arrays


def check_same(weights: Pretrained | None, reference: Mapping[str, str] | None, advice: str) -> None:
    """Raises UserError unless `weights` are those that a checkpoint stands on; `advice` ends the sentence."""
    if reference is None and weights is None:
        return
    if reference is None:
        raise UserError(
            f"The checkpoint was trained without pretrained weights, and {weights.folder} is given. {advice}"
        )
    if weights is None or weights.sha256 != reference["weights_sha256"]:
        found = "none are given" if weights is None else f"{weights.folder} holds others, {weights.sha256[:12]}..."
        raise UserError(
            f"The checkpoint stands on the pretrained weights {reference['weights_sha256'][:12]}... (SHA-256) of "
            f"{reference['from']}, and {found}. {advice}"
        )


def _agrees(name: str, mine: Any, theirs: Any) -> bool:
    if name == "layer_scale":  # where it starts no longer matters; whether there is one does
        return bool(mine) == bool(theirs)
    if name == "in_channels":
        return mine in (theirs, 1)
    return mine == theirs


def _with_channels(kernel: np.ndarray, patch_size: int, channels: int, target: int) -> np.ndarray:
    """Patch embedding [p*p*C, D] for pictures of other channels: one grey channel takes the sum over colours, so that a
    grey picture gives the tokens that it gave; channels for a neutral reference start at zero."""
    width = kernel.shape[-1]
    kernel = kernel.reshape(patch_size**2, -1, width)  # [p*p, C, D]
    if channels == 1 and kernel.shape[1] == 3:
        kernel = kernel.sum(axis=1, keepdims=True)
    if kernel.shape[1] == channels < target:
        kernel = np.pad(kernel, ((0, 0), (0, target - channels), (0, 0)))
    return kernel.reshape(-1, width)  # [p*p*target, D]


def _check_nothing_missing(config: ConfigDict) -> None:
    missing = [name for name, value in config.model.items() if value is None]
    if missing:
        raise UserError(
            f"config.model leaves {', '.join(missing)} to the pretrained weights, and config.pretrained is "
            f"{config.get('pretrained') or 'empty'}. Give a model folder, as `painjax import --from=NAME --to=FOLDER` "
            "writes one: --config.pretrained=FOLDER."
        )


def _flags(names: list[str], fields: Mapping[str, Any]) -> str:
    return " ".join(f"--config.model.{name}={fields[name]}" for name in names)
