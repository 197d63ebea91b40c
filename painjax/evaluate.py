"""Evaluation of a trained model on a split: every example once, on all devices, beside the best constant.

`painjax evaluate --workdir=W --split=test` writes W/evaluation_test.json and W/predictions_test.npz.
"""

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float
from ml_collections import ConfigDict, FrozenConfigDict
from tqdm import tqdm

from painjax import checkpoint
from painjax.data.batches import one_ahead
from painjax.data.pipeline import eval_batches
from painjax.data.records import dataset_version
from painjax.data.references import neutral_protocol
from painjax.data.sources import FrameSource
from painjax.data.transforms import prepare
from painjax.errors import Stopped, UserError
from painjax.files import jsonable, write_json
from painjax.metrics import Predictions, constant_baseline, patch_alignment
from painjax.models.vit import patchify
from painjax.models.vitpain import ViTPain, ViTPainOutput
from painjax.provenance import last_start
from painjax.pspi import AU_MAX, AU_NAMES, PSPI_MAX, au_shares
from painjax.sharding import batch_ways, create_mesh, process_rows, put_batch, replicated


def main(
    workdir: str | os.PathLike, split: str, *, data_name: str | None = None, data_dir: str | None = None
) -> dict[str, Any]:
    """Evaluates the best checkpoint of `workdir` on `split` and writes what was found, `evaluation_<split>.json` and
    `predictions_<split>.npz`; `evaluation.json` is a copy of the last one of the training's own data set.

    A model that can use a neutral reference is evaluated with and without; the headline is with it, fixed here and
    not chosen by the results.

    Args:
      workdir: of the run, or a model folder.
      split: of the data set.
      data_name: another data set than that of the training, which then stands in the names of the two files. The best
        constant is still learned on the training's.
      data_dir: where the data set lies, if not where the training found it.

    Returns:
      What `evaluation_<split>.json` holds; undefined metrics are None.

    Raises:
      UserError: if the data set or the split is missing, or the data set has changed since the training.
      FileNotFoundError: if `workdir` has no checkpoint.
    """
    workdir = Path(workdir)
    model, trained, step = checkpoint.restore_model(workdir)
    config = trained.copy_and_resolve_references()
    with config.unlocked():
        config.data.name, config.data.data_dir = data_name or trained.data.name, data_dir or trained.data.data_dir
    data_set = dataset_version(config.data.name, config.data.data_dir)
    if data_name is None:
        _check_unchanged(data_set, workdir)
        trained = config
    own = config.data.name == trained.data.name

    # ---- Predict ----
    headline = "without_neutral" if config.model.neutral == "none" else "with_neutral"
    protocols = ["without_neutral"] if headline == "without_neutral" else ["with_neutral", "without_neutral"]
    predictions = {
        protocol: predict_split(model, config, split, neutral=protocol == "with_neutral") for protocol in protocols
    }

    # ---- Measure ----
    best = predictions[headline]
    train_pspi, train_aus = labels(trained, trained.data.train_split)
    constant = constant_baseline(train_pspi, best.pspi_true)
    constant["aus"] = {name: constant_baseline(train_aus[:, i], best.aus_true[:, i]) for i, name in enumerate(AU_NAMES)}
    evaluation = jsonable(
        {
            "split": split,
            "data_set": data_set,
            "n": len(best),
            "identities": len(np.unique(best.identity)),
            "step": step,
            "checkpoint": str(workdir),
            "input": config.data.input,
            "headline": headline,
            "neutral_protocol": neutral_protocol(config) if headline == "with_neutral" else "no neutral reference",
            **best.summary(),
            "baselines": {"constant": constant},
            "protocols": {protocol: found.summary() for protocol, found in predictions.items()},
        }
    )

    # ---- Write ----
    if jax.process_index() == 0:
        name = _name(split, None if own else config.data.name)
        best.save(workdir / f"predictions_{name}.npz")
        write_json(workdir / f"evaluation_{name}.json", evaluation)
        if own:
            write_json(workdir / "evaluation.json", evaluation)
    return evaluation


def _name(split: str, other_data: str | None) -> str:
    """What stands in the names of the files: the split and, if it is not the training's, the data set."""
    return split if other_data is None else f"{other_data.replace('/', '_')}_{split}"


def file_of(workdir: str | os.PathLike, evaluation: dict[str, Any]) -> Path:
    """Where `main` writes what it found."""
    name, trained = evaluation["data_set"]["name"], checkpoint.read_config(workdir).data.name
    return Path(workdir) / f"evaluation_{_name(evaluation['split'], None if name == trained else name)}.json"


def read_evaluation(workdir: str | os.PathLike, split: str | None, data_name: str) -> dict[str, Any] | None:
    """What was found on `split` of the training's data set, `data_name`, or with None on that one of its splits which
    was evaluated last; None if it has not been evaluated."""
    last = "evaluation.json"  # earlier versions wrote only this one, and of every data set
    for name in (last,) if split is None else (f"evaluation_{split}.json", last):
        file = Path(workdir) / name
        found = json.loads(file.read_text()) if file.exists() else None
        if found is None or found.get("data_set", {}).get("name", data_name) != data_name:
            continue
        if split in (None, found["split"]):
            return found
    return None


def predict_split(
    model: ViTPain,
    config: ConfigDict,
    split: str,
    *,
    neutral: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> Predictions:
    """What `model` says about every example of `split`, each counted once, in the order of the split.

    Runs on the mesh that the model lies on, or else on all devices, each taking its rows.

    Args:
      model: in evaluation mode.
      config: the experiment it was trained with; reads `data`, `model` and `batch_size` (rounded up to the devices).
      split: name of the split.
      neutral: give the neutral reference to a model that can use one.
      stop: asked before every batch whether to break off.

    Raises:
      Stopped: if `stop` says so.
      UserError: if the data set or the split is missing.
    """
    graphdef, state = nnx.split(model)
    mesh, state = _placed(state)
    config = config.copy_and_resolve_references()
    config.batch_size = -(-config.batch_size // batch_ways(mesh)) * batch_ways(mesh)
    frozen = FrozenConfigDict(config)  # hashable: one compilation serves all calls during a training
    own, parts = process_rows(mesh, config.batch_size), []

    def compute(batches):
        for batch in tqdm(batches, desc=f"predict {split}", unit="batch", leave=False, disable=None):
            if stop():
                raise Stopped(f"Broke off predicting {split}.")
            placed = put_batch(batch, mesh, config.batch_size)
            yield _predict_batch(state, placed, graphdef=graphdef, config=frozen, neutral=neutral)

    with jax.set_mesh(mesh), eval_batches(config, split, own) as batches:
        for rows in one_ahead(compute(batches)):
            parts.append(_to_predictions(jax.device_get(rows)))
    return Predictions.merge(parts)


@functools.partial(jax.jit, static_argnames=("graphdef", "config", "neutral"))
def _predict_batch(
    state: nnx.State, batch: Mapping[str, Array], *, graphdef: nnx.GraphDef, config: FrozenConfigDict, neutral: bool
) -> dict[str, Array]:
    inputs = prepare(batch, config)
    reference = inputs["neutral"] if neutral and config.model.neutral != "none" else None
    output = nnx.merge(graphdef, state)(inputs["image"], reference)
    rows = clip_to_range(output) | {
        "pspi_true": inputs["pspi"],
        "aus_true": inputs["aus"],
        "predicted_heat": predicted_heat(output, config.model.patch_size).mean(axis=-1),  # [B, P]
        "attention": jnp.einsum("bap,ba->bp", output.au_attention, au_shares(inputs["aus"])),  # [B, P]
        "heat": _true_heat(inputs["heatmap"], output, config.model.patch_size),
        "index": inputs["index"],
        "identity": inputs["identity"],
        "valid": inputs["valid"],
    }
    # Every process gets all rows: metrics are of the whole split.
    return jax.lax.with_sharding_constraint(rows, jax.P())


def clip_to_range(output: ViTPainOutput) -> dict[str, Array]:
    """What is reported of a model's output: `pspi` [B] in 0..16, `aus` [B, 6] in their ranges, `threshold_probability`
    [B, 3]. PSPI is linear to the end (see `painjax.models.heads`); here, and only here, it meets the scale's ends."""
    return {
        "pspi": jnp.clip(output.pspi, 0, PSPI_MAX),
        "aus": jnp.clip(output.aus, 0, jnp.asarray(AU_MAX)[None, :]),
        "threshold_probability": jax.nn.sigmoid(output.threshold_logits),
    }


def predicted_heat(output: ViTPainOutput, patch_size: int) -> Float[Array, "B P pp"]:
    """The predicted pain heatmap in 0..1, patch by patch; 0 everywhere for a model without a head for it, which leaves
    its correlation undefined."""
    if output.heatmap is None:
        return jnp.zeros((output.au_attention.shape[0], output.au_attention.shape[2], patch_size**2))
    return jax.nn.sigmoid(output.heatmap)


def _true_heat(heatmap: Float[Array, "B S S 1"] | None, output: ViTPainOutput, patch_size: int) -> Float[Array, "B P"]:
    """The pain heatmap's mean over each patch; 0 everywhere without one, which leaves alignment undefined."""
    if heatmap is None:
        return jnp.zeros((output.au_attention.shape[0], output.au_attention.shape[2]))
    return patchify(heatmap, patch_size).mean(axis=-1)


def labels(config: ConfigDict, split: str) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N A"]]:
    """PSPI and action units of a whole split, without decoding its pictures."""
    pspi, aus = FrameSource(config.data.name, split, (), config.data.data_dir).columns("pspi", "aus")
    return pspi.astype(np.float32), aus.astype(np.float32)


def _check_unchanged(data_set: dict[str, str], workdir: Path) -> None:
    start = last_start(workdir)
    if start is not None and start["data_set"] != data_set:
        before = start["data_set"]
        raise UserError(
            f"The model in {workdir} was trained on version {before['version']} ({before['fingerprint']}) of "
            f"{before['name']}, and here is version {data_set['version']} ({data_set['fingerprint']}): its frames, and "
            "who is in which split, may differ. Point --data_dir at the old one, or say "
            f"--data_name={data_set['name']} to evaluate on this one."
        )


def _to_predictions(rows: dict[str, np.ndarray]) -> Predictions:
    rows = {name: values[rows["valid"]] for name, values in rows.items()}
    attention_pcc, attention_iou = patch_alignment(rows["attention"], rows["heat"])
    return Predictions(
        **{name: rows[name] for name in ("index", "identity", "pspi", "pspi_true", "aus", "aus_true")},
        threshold_probability=rows["threshold_probability"],
        heatmap_pcc=patch_alignment(rows["predicted_heat"], rows["heat"])[0],
        attention_pcc=attention_pcc,
        attention_iou=attention_iou,
    )


def _placed(state: nnx.State) -> tuple[Mesh, nnx.State]:
    """The mesh that `state` lies on; a state on a single device is copied to every device."""
    placements = {leaf.sharding for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)}
    for placement in placements:
        if isinstance(placement, NamedSharding):
            return placement.mesh, state
    mesh = create_mesh({"data": -1, "fsdp": 1})
    everywhere = replicated(mesh)
    if jax.process_count() == 1:
        return mesh, jax.device_put(state, everywhere)

    # Every process has restored the same arrays; device_put would want to send them from host to host.
    def replicate(array):
        return jax.make_array_from_callback(array.shape, everywhere, lambda _: array)

    return mesh, jax.tree.map(replicate, state)
