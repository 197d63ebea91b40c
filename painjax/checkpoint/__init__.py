"""Checkpoints: saved without stopping the training, restored exactly, on whatever devices there are.

A working directory W holds `W/config.json` and `W/checkpoints/<step>/`. A checkpoint holds what trains; weights that
LoRA leaves alone are read from `config.pretrained`, whose hash is in the checkpoint. Wherever a trained model is asked
for, a model folder (`painjax.model_folder`) will do as well.
"""

from painjax.checkpoint.reading import (
    best_step,
    read_config,
    restore_model,
    restore_params,
    saved_steps,
    weights_sha256,
)
from painjax.checkpoint.saving import Checkpoints

__all__ = [
    "Checkpoints",
    "best_step",
    "read_config",
    "restore_model",
    "restore_params",
    "saved_steps",
    "weights_sha256",
]
