"""Whether a working directory holds a run of the experiment that is asked for: what may change, and what may not."""

import dataclasses
import json
from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from painjax.checkpoint import read_config
from painjax.config import flat
from painjax.errors import UserError
from painjax.models.vitpain import ViTPainConfig

# Settings that a resumed run may change: they say where, how often and how fast, not what is computed. Pretrained
# weights are told by their hash, wherever they lie.
_FREE = ("mesh.", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "data.data_dir", "pretrained")
# What settings mean that a configuration, such as one written by an earlier version, does not have.
_UNSET = {
    "pretrained": "",
    "loss.pspi_nll": 0.0,
    "loss.consistency": 0.0,
    "accumulate": 1,
    "ema_decay": 0.0,
    "frozen_dtype": "float32",
    "optim.schedule": "cosine",
} | {  # fmt: skip
    f"model.{field.name}": field.default
    for field in dataclasses.fields(ViTPainConfig)
    if field.default is not dataclasses.MISSING
}


def check_same_experiment(config: ConfigDict, workdir: Path) -> None:
    """Refuses to go on with a changed experiment; says what has changed where that is harmless."""
    if not (workdir / "config.json").exists():
        return
    before, now = (_UNSET | flat(each) for each in (read_config(workdir), ConfigDict(json.loads(as_json(config)))))
    changed = {
        name: f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name, "absent") != now.get(name, "absent")
    }
    refused = [text for name, text in changed.items() if not name.startswith(_FREE)]
    if refused:
        raise UserError(
            f"{workdir} holds a training run of another configuration:\n  " + "\n  ".join(refused) + "\nUse another "
            "--workdir for the new experiment, or restore these settings to go on with the old one."
        )
    for text in changed.values():
        logging.info("Resuming with a changed setting: %s", text)


def as_json(config: ConfigDict) -> str:
    """What `config.json` holds."""
    return config.to_json(indent=2, sort_keys=True)
