"""Whether a working directory holds a run of the experiment that is asked for: what may change, and what may not."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from painjax.checkpoint import read_config
from painjax.checkpoint.scores import DEFAULT_METRIC
from painjax.config import flat
from painjax.errors import UserError
from painjax.models.vitpain import ViTPainConfig

# Settings that a resumed run may change: they say where, how often and how fast, not what is computed. Pretrained
# weights and teachers are told by their hash, wherever they lie.
_FREE = (
    *("mesh.", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "keep_best"),
    *("data.data_dir", "data.threads", "data.workers", "pretrained", "tensorboard", "wandb", "profile."),
)
_FREE_PLACES = ("teacher", "teacher_outputs")  # while there is one before and after
# Settings that no checkpoint can go on with otherwise: what the weights are, and what they see. Of config.model these
# remain, which say how to compute.
_FIXED = ("model.", "data.input")
_NOT_FIXED = tuple(
    f"model.{name}"
    for name in (
        *("dropout", "drop_path", "dtype", "matmul_dtype", "remat", "rope_shift", "rope_jitter", "rope_rescale"),
        *("lora_alpha", "lora_dropout"),
    )
)
# What settings mean that a configuration, such as one written by an earlier version, does not have.
_UNSET = {
    "keep_best": DEFAULT_METRIC,
    "pretrained": "",
    "loss.pspi_nll": 0.0,
    "loss.consistency": 0.0,
    "accumulate": 1,
    "ema_decay": 0.0,
    "frozen_dtype": "float32",
    "data.threads": 2,
    "data.workers": 0,
    "data.sampling": "uniform",
    "data.neutral": "same_view",
    "data.neutrals": 1,
    "data.label_noise": 0.0,
    "data.landmarks": False,
    "data.augment.rotation": 0.0,
    "data.augment.blur": 0.0,
    "data.augment.erase": 0.0,
    "teacher_outputs": "",
    "optim.schedule": "cosine",
    "tensorboard": False,
    "wandb": "",
    "profile.start": 0,
    "profile.steps": 3,
} | {  # fmt: skip
    f"model.{field.name}": field.default
    for field in dataclasses.fields(ViTPainConfig)
    if field.default is not dataclasses.MISSING
}


def check_same_experiment(config: ConfigDict, workdir: Path, *, accept_changes: bool = False) -> dict[str, str]:
    """Refuses to go on with a changed experiment; says what has changed where that is harmless or accepted.

    Returns:
      The changes that mean something and were accepted, such as {'batch_size': '8 -> 16'}.

    Raises:
      UserError: listing the changes, if they are not accepted or cannot be: the model's parameters, and what it sees.
    """
    if not (workdir / "config.json").exists():
        return {}
    before, now = (_UNSET | flat(each) for each in (read_config(workdir), ConfigDict(json.loads(as_json(config)))))
    changed = {
        name: f"{before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name, "absent") != now.get(name, "absent")
    }
    meant = {name: text for name, text in changed.items() if not _is_harmless(name, before, now)}
    impossible = {name: text for name, text in meant.items() if _is_fixed(name, before, now)}
    if impossible and accept_changes:
        raise UserError(
            f"{workdir} holds a training run that cannot go on with other values of these:\n  {_lines(impossible)}\n"
            "Use another --workdir for the new experiment."
        )
    if meant and not accept_changes:
        raise UserError(
            f"{workdir} holds a training run of another configuration:\n  {_lines(meant)}\nUse another --workdir for "
            "the new experiment, or restore these settings to go on with the old one"
            + ("." if impossible else ", or add --accept_changes to go on with the changed one.")
        )
    for name, text in changed.items():
        logging.info("Resuming with a changed setting: %s: %s", name, text)
    return meant


def check_same_origin(
    before: Mapping[str, Any], now: Mapping[str, Any], workdir: Path, *, accept_changes: bool = False
) -> dict[str, str]:
    """Compares what a checkpoint stands on (`painjax.provenance`) with what is there now.

    Other code is only mentioned: whether it computes the same, its hash cannot tell.

    Returns:
      The changes that were accepted.

    Raises:
      UserError: if the data set or the teacher is another one.
    """
    changed = {}
    for name in ("data_set", "teacher_step", "teacher_sha256", "teacher_outputs"):
        if name in before and before[name] != now[name]:
            changed[name] = f"{_shown(before[name])} -> {_shown(now[name])}"
    if changed and not accept_changes:
        raise UserError(
            f"What the checkpoint in {workdir} has learned from has changed:\n  {_lines(changed)}\nStart again in "
            "another --workdir, bring the old one back, or add --accept_changes to go on with the new one."
        )
    if before.get("source_sha256", now["source_sha256"]) != now["source_sha256"]:
        logging.info(
            "%s was trained by other code so far (PainJAX %s, %s; now %s, %s).",
            workdir, before["painjax"], before["source_sha256"][:12], now["painjax"], now["source_sha256"][:12],
        )  # fmt: skip
    return changed


def check_steps(latest: int, steps: int, workdir: Path) -> None:
    """Raises UserError if more is trained than is asked for."""
    if latest > steps:
        raise UserError(
            f"{workdir} is trained for {latest} steps already, and config.steps is {steps}. Evaluate it as it is, ask "
            "for more steps, or use another --workdir."
        )


def as_json(config: ConfigDict) -> str:
    """What `config.json` holds."""
    return config.to_json(indent=2, sort_keys=True)


def _is_harmless(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if name == "steps":  # by which the cosine schedule stretches
        return "cosine" not in (before["optim.schedule"], now["optim.schedule"])
    if name in _FREE_PLACES:
        return bool(before.get(name) and now.get(name))
    return name.startswith(_FREE)


def _is_fixed(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if name == "ema_decay":  # a mean that has not been kept cannot be gone on with
        return not (before[name] and now[name])
    return name.startswith(_FIXED) and name not in _NOT_FIXED


def _lines(changes: Mapping[str, str]) -> str:
    return "\n  ".join(f"{name}: {text}" for name, text in changes.items())


def _shown(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)
