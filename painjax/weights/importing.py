"""From weights made by others to a model folder."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from painjax.model_folder import refuse_taken, sha256, write_model_folder
from painjax.models.presets import IMAGENET
from painjax.weights import recognise
from painjax.weights.card import import_card
from painjax.weights.layouts import official
from painjax.weights.preprocessing import NOTHING, preprocessing
from painjax.weights.source import Source, find
from painjax.weights.tables import from_theirs
from painjax.weights.tensors import Tensors, read_safetensors
from painjax.weights.torch_file import SUFFIXES, read_torch


def import_weights(
    source: str,
    target: str | os.PathLike,
    *,
    revision: str | None = None,
    file: str | None = None,
    heads: int | None = None,
    offline: bool = False,
) -> Path:
    """Reads weights of timm, transformers or the authors' ViTPain and writes them as a model folder.

    Args:
      source: a file (.safetensors, its .index.json, or PyTorch's .ckpt, .pt, .pth, .bin), a folder with one, or the id
        of a repository on the hub.
      target: the model folder to make.
      revision: branch, tag or commit of the repository; the commit is recorded in any case.
      file: which file of the folder or repository.
      heads: number of attention heads, where nothing beside the weights tells it.
      offline: use only what the hub's cache has.

    Returns:
      `target`.

    Raises:
      UserError: if the weights cannot be had, are damaged, or are not those of a model that we have.
    """
    refuse_taken(target)
    found = find(source, revision=revision, file=file, offline=offline)
    where = found.name if found.file.name in found.name else f"{found.name} ({found.file.name})"
    tensors, beside = _read(found)
    layout, tensors = recognise.recognise(tensors, where)
    hyper_parameters = beside.get("hyper_parameters") if layout is official.OFFICIAL else None
    hyper_parameters = hyper_parameters if isinstance(hyper_parameters, Mapping) else {}
    names = [
        str(name)
        for name in (
            hyper_parameters.get("model_name"),
            found.config.get("architecture"),
            found.name,
            found.file.name,
            found.file.parent.name,
        )
        if name
    ]
    config = recognise.configure(
        layout,
        tensors,
        where,
        config=found.config,
        hyper_parameters=hyper_parameters,
        names=names,
        heads=heads,
    )
    params = from_theirs(tensors, config, layout, where)
    if layout is official.OFFICIAL:  # whatever its backbone was made for; they resize with torchvision, so bilinearly
        pictures = {key: list(IMAGENET[key]) for key in ("mean", "std")}
        pictures |= {"size": official.IMAGE_SIZE, "crop": 1.0, "interpolation": "bilinear"}
        pictures_from = "the figures of their paper and code; the interpolation is our assumption"
    else:
        pictures, pictures_from = preprocessing(
            found.config, found.preprocessor, recognise.known_preset(names), config.in_channels, where
        )
    if pictures_from.startswith(NOTHING):
        logging.warning(
            "Nothing beside %s says how its pictures are prepared: %s. If it was trained with others, put its "
            "preprocessor_config.json (or timm's config.json) beside it and import again.",
            where,
            pictures_from.removeprefix(NOTHING),
        )
    record = _record(source, found)
    if hyper_parameters:
        record["hyper_parameters"] = {k: v for k, v in hyper_parameters.items() if isinstance(v, str | int | float)}
    model = dataclasses.asdict(config)
    card = import_card(layout, model, pictures, pictures_from, record)
    return write_model_folder(
        target, params, kind=layout.kind, model=model, preprocessing=pictures, source=record, card=card
    )


def _read(found: Source) -> tuple[Tensors, dict[str, Any]]:
    if found.file.name.endswith(SUFFIXES):
        arrays, metadata = read_torch(found.file)
        return Tensors.of(arrays), metadata
    return read_safetensors(list(found.weights)), {}


def _record(source: str, found: Source) -> dict[str, Any]:
    record = {
        "from": found.name if found.revision else os.path.basename(source.rstrip("/\\")),
        "revision": found.revision,
        "file": found.file.name,
        "sha256": sha256(found.file),
    }
    if found.shards:
        record["shards"] = {shard.name: sha256(shard) for shard in found.shards}
    return record
