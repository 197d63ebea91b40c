"""What there is to export: the model of a training run or a model folder, and all that is known about it."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from painjax import checkpoint
from painjax.data.transforms import normalisation
from painjax.model_folder import KINDS, is_model_folder, read_model_config, read_model_folder
from painjax.models import lora
from painjax.models.vit import ViTConfig

# Where things lie on this machine is no business of whoever gets the model.
_PATHS = ("pretrained", "teacher")


@dataclasses.dataclass(frozen=True)
class Exportable:
    """A model that can be exported.

    folder: the training run or model folder. kind: 'encoder' or 'vitpain'. params: nested dicts of NumPy arrays, with
    LoRA adapters if it has some. preprocessing, source: as in a model folder's config.json. experiment: how it was
    trained, None if that is not known. step: of the training, 0 for a model folder. backbone: the source of the weights
    that it stands on, None for one trained from random weights.
    """

    folder: Path
    kind: str
    params: Mapping[str, Any]
    config: ViTConfig
    preprocessing: Mapping[str, Any]
    source: Mapping[str, Any]
    experiment: ConfigDict | None
    step: int
    backbone: Mapping[str, Any] | None

    def merged(self) -> "Exportable":
        """The same model with its adapters folded into its weights."""
        params, config = lora.merge(self.params, self.config)
        return dataclasses.replace(self, params=params, config=config)

    def encoder(self) -> tuple[Mapping[str, Any], ViTConfig]:
        """Parameters and configuration of the encoder alone, with as many input channels as it really has."""
        if self.kind == "encoder":
            return self.params, self.config
        channels = self.config.in_channels * (2 if self.config.neutral == "channels" else 1)
        fields = {field.name: getattr(self.config, field.name) for field in dataclasses.fields(ViTConfig)}
        return self.params["encoder"], ViTConfig(**fields | {"in_channels": channels})

    def public_experiment(self) -> dict[str, Any] | None:
        """`experiment` as plain values, without the folders of this machine."""
        if self.experiment is None:
            return None
        experiment = self.experiment.to_dict()
        for name in _PATHS:
            if experiment.get(name):
                experiment[name] = Path(experiment[name]).name
        experiment["data"]["data_dir"] = None
        return experiment


def read_exportable(folder: str | os.PathLike) -> Exportable:
    """Reads the best model of a training run, or a model folder.

    Raises:
      FileNotFoundError: if there is neither.
      UserError: if it cannot be read.
    """
    folder = Path(folder)
    return _of_folder(folder) if is_model_folder(folder) else _of_run(folder)


def _of_folder(folder: Path) -> Exportable:
    found = read_model_folder(folder)
    config, source = found.config, found.config["source"]
    experiment = config.get("experiment")
    return Exportable(
        folder=folder,
        kind=config["kind"],
        params=found.params,
        config=KINDS[config["kind"]][1](**config["model"]),
        preprocessing=config["preprocessing"],
        source=source,
        experiment=ConfigDict(experiment) if experiment is not None else None,
        step=0,
        backbone=_backbone(config),
    )


def _of_run(folder: Path) -> Exportable:
    model, config, step = checkpoint.restore_model(folder)
    data = config.data
    figures = normalisation(data, data.input)
    backbone = _source_of(config.get("pretrained"))
    return Exportable(
        folder=folder,
        kind="vitpain",
        params=jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Param))),
        config=model.config,
        preprocessing={
            "mean": list(figures.mean),
            "std": list(figures.std),
            "size": model.config.image_size,
            "crop": data.get("image_crop", 1.0),
            "interpolation": data.get("image_interpolation", "lanczos"),
        },
        source={
            "from": folder.resolve().name,
            "revision": f"step {step}",
            "file": None,
            "sha256": None,
            "backbone": backbone,
        },
        experiment=config,
        step=step,
        backbone=backbone,
    )


def _source_of(pretrained: str | None) -> dict[str, Any] | None:
    if not pretrained:
        return None
    if is_model_folder(pretrained):
        return _backbone(read_model_config(pretrained))
    return {"from": Path(pretrained).name, "revision": None, "file": None, "sha256": None}


def _backbone(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """A folder that was exported from a training run says what that stood on; an imported one stands on its source."""
    return config["source"].get("backbone") if config.get("experiment") is not None else config["source"]
