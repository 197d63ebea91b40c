"""A trained model from its working directory, or from a model folder."""

import hashlib
import json
import os
import textwrap
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from painjax import pretrained
from painjax.checkpoint import orbax_files
from painjax.checkpoint.scores import DEFAULT_METRIC, best, read_scores
from painjax.errors import UserError
from painjax.model_folder import (
    CONFIG,
    ModelFolder,
    build_model,
    has_weights,
    is_model_folder,
    read_model_folder,
    sha256,
)
from painjax.models import lora
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.state import model_outline, place

_FOLDER_STEP = 0  # of a model folder, which knows no steps
# What a model folder that does not say how it was trained is evaluated with.
_FOLDER_DEFAULTS = {
    "seed": 0,
    "batch_size": 32,
    "data": {
        "name": "pain3d/quick",
        "data_dir": None,
        "train_split": "train",
        "validation_split": "validation",
        "input": "image",
    },
    "loss": {},
}


def read_config(workdir: str | os.PathLike) -> ConfigDict:
    """The configuration that the model in `workdir`, a training run or a model folder, was trained with.

    Raises:
      FileNotFoundError: if no training has been started there.
      UserError: if it cannot be read, or describes no model of this version.
    """
    if is_model_folder(workdir):
        return _folder_config(read_model_folder(workdir))
    path = Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {path.name}"))
    try:
        config = ConfigDict(json.loads(path.read_text()))
        ViTPainConfig(**config.model)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} describes no model of this version of PainJAX: {error} Train it again, or use the version that "
            "trained it."
        ) from error
    return config


def restore_model(workdir: str | os.PathLike) -> tuple[ViTPain, ConfigDict, int]:
    """The best model of a working directory (`best_step`); or a model folder.

    Returns:
      The model in evaluation mode, its configuration, and the step it was saved at. The configuration of a model folder
      has `model`, `data`, `loss`, `batch_size` and `seed`, of the training where the folder knows it; its step is 0.

    Raises:
      FileNotFoundError: if there is no checkpoint.
      UserError: if it, or the pretrained weights that it stands on, cannot be read.
    """
    if is_model_folder(workdir):
        folder = read_model_folder(workdir)
        config = _folder_config(folder)
        return build_model(folder), config, _FOLDER_STEP
    config = read_config(workdir)
    step = best_step(workdir)
    graphdef, shapes, rest = model_outline(config)
    model = nnx.merge(graphdef, restore_params(workdir, step, shapes), rest)
    model.eval()
    return model, config, step


def restore_params(workdir: str | os.PathLike, step: int, like: dict[str, Any]) -> dict[str, Any]:
    """All parameters of the model of `workdir` at `step`, laid out as `like`: arrays, or shapes with a sharding.

    Raises:
      UserError: if they, or the pretrained weights that they stand on, cannot be read.
    """
    if is_model_folder(workdir):
        return place(like, flatten_dict(read_model_folder(workdir).params, sep="/"))
    config = read_config(workdir)
    like, rank = flatten_dict(like, sep="/"), config.model.get("lora_rank", 0)
    trained = {path: value for path, value in like.items() if lora.trains(path, rank)}
    folder = Path(workdir) / orbax_files.FOLDER / str(step)
    try:
        saved = orbax_files.read(folder, {"params": unflatten_dict(trained, sep="/"), "position": None})
    except orbax_files.DAMAGE as error:
        raise UserError(
            f"The checkpoint {folder} cannot be read: {textwrap.shorten(str(error), 200, placeholder=' ...')} Remove "
            "that folder and run the training command again; it goes on from the checkpoint before."
        ) from error
    params = flatten_dict(saved["params"], sep="/")
    frozen = {path: value for path, value in like.items() if path not in params}
    if frozen:
        weights = _weights_of(workdir, config, saved["position"]["pretrained"])
        arrays = pretrained.arrange(weights, config, {path: value.shape for path, value in like.items()})
        # As the run has them, whose adapters have learned beside them, in whatever dtype they are used now.
        rounded = jnp.dtype(config.get("frozen_dtype", "float32"))
        arrays = {path: array.astype(rounded) for path, array in arrays.items()}
        params |= flatten_dict(place(unflatten_dict(frozen, sep="/"), arrays), sep="/")
    return unflatten_dict(params, sep="/")


def best_step(workdir: str | os.PathLike) -> int:
    """The saved step that is the best by `config.keep_best`; the last one if none has been validated; 0 for a model
    folder.

    Raises:
      FileNotFoundError: if there is no checkpoint.
    """
    if is_model_folder(workdir):
        return _FOLDER_STEP
    metric = read_config(workdir).get("keep_best", DEFAULT_METRIC)
    if not (Path(workdir) / orbax_files.FOLDER).is_dir():
        raise FileNotFoundError(_no_checkpoint(workdir, f"it has no {orbax_files.FOLDER}"))
    scores = {step: read_scores(path) for step, path in orbax_files.checkpoints(workdir).items()}
    if not scores:
        raise FileNotFoundError(_no_checkpoint(workdir, "no step has been saved yet"))
    return best(scores, metric)


def saved_steps(workdir: str | os.PathLike) -> list[int]:
    """The steps of which there is a checkpoint, rising."""
    return list(orbax_files.checkpoints(workdir))


def weights_sha256(workdir: str | os.PathLike, step: int) -> str:
    """SHA-256 that tells the weights of a model folder, or of a run at `step`, from all others."""
    if is_model_folder(workdir):
        return json.loads((Path(workdir) / CONFIG).read_text())["weights_sha256"]
    folder = Path(workdir) / orbax_files.FOLDER / str(step) / "params"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _weights_of(workdir: str | os.PathLike, config: ConfigDict, reference: dict[str, str]) -> pretrained.Pretrained:
    advice = f'Write the folder that holds them now into "pretrained" of {Path(workdir) / "config.json"}.'
    if not has_weights(config.pretrained):
        raise UserError(
            f"The model in {workdir} stands on the pretrained weights {reference['weights_sha256'][:12]}... (SHA-256) "
            f"of {config.pretrained}, where there is no model folder with its weights any more. {advice}"
        )
    weights = pretrained.read(config.pretrained)
    pretrained.check_same(weights, reference, advice)
    return weights


def _folder_config(folder: ModelFolder) -> ConfigDict:
    """An experiment for a model that no training of ours needs to have made: the recorded one, or defaults."""
    if folder.config["kind"] != "vitpain":
        raise UserError(
            f"This model folder holds an encoder without heads ({folder.config['source']['from']}), which cannot tell "
            "pain. Train with it: painjax train --config=configs/student_lora.py --config.pretrained=FOLDER."
        )
    config = ConfigDict(_FOLDER_DEFAULTS)
    config.update(folder.config.get("experiment") or {})
    config.model = ConfigDict(folder.config["model"])
    preprocessing = folder.config["preprocessing"]
    if config.data.input == "image":
        config.data.image_mean, config.data.image_std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])
    config.data.image_crop, config.data.image_interpolation = preprocessing["crop"], preprocessing["interpolation"]
    return config


def _no_checkpoint(workdir: str | os.PathLike, why: str) -> str:
    return (
        f"There is no trained model in {workdir}: {why}. Train one with "
        f"`python -m painjax train --config=configs/teacher.py --workdir={workdir}` (or another config), or give the "
        "working directory of a training run."
    )
