"""Settings that no training can run with, refused before anything starts."""

import math
from typing import Any

from ml_collections import ConfigDict

from painjax.checkpoint.scores import known_metrics
from painjax.data.settings import check_input
from painjax.data.transforms import NORMALISATION
from painjax.errors import UserError
from painjax.models.vitpain import ViTPainConfig
from painjax.optim import SCHEDULES
from painjax.training_log import check_writers

FROZEN_DTYPES = ("float32", "bfloat16")


def check_settings(config: ConfigDict) -> None:
    """Refuses values of the right type that no training can run with."""
    try:
        model = ViTPainConfig(**config.model)
    except ValueError as error:
        raise UserError(f"config.{error}") from error
    wrong = []
    if not 0 <= config.ema_decay < 1:
        wrong.append(f"config.ema_decay is {config.ema_decay}; expected 0 (none) or a number below 1, such as 0.999")
    if config.frozen_dtype not in FROZEN_DTYPES:
        wrong.append(f"config.frozen_dtype is {config.frozen_dtype!r}; expected one of {', '.join(FROZEN_DTYPES)}")
    if config.optim.schedule not in SCHEDULES:
        wrong.append(f"config.optim.schedule is {config.optim.schedule!r}; expected one of {', '.join(SCHEDULES)}")
    if config.keep_best not in known_metrics():
        wrong.append(f"config.keep_best is {config.keep_best!r}; expected one of {', '.join(known_metrics())}")
    for name in (
        "steps",
        "batch_size",
        "log_every",
        "validate_every",
        "checkpoint_every",
        "keep_checkpoints",
        "accumulate",
    ):
        if config[name] < 1:
            wrong.append(f"config.{name} is {config[name]}; expected at least 1")
    if config.accumulate > 1 and config.batch_size % config.accumulate:
        wrong.append(
            f"config.accumulate is {config.accumulate}; expected what divides config.batch_size, {config.batch_size}"
        )
    for name, least in (("start", 0), ("steps", 1)):
        if config.profile[name] < least:
            wrong.append(f"config.profile.{name} is {config.profile[name]}; expected at least {least}")
    if not 0 <= config.optim.warmup_steps < config.steps:
        wrong.append(
            f"config.optim.warmup_steps is {config.optim.warmup_steps}; expected less than config.steps, {config.steps}"
        )
    if config.seed < 0:
        wrong.append(f"config.seed is {config.seed}; expected at least 0")
    if config.profile.start > config.steps:
        wrong.append(
            f"config.profile.start is {config.profile.start}; expected a step of config.steps, {config.steps}, or 0"
        )
    wrong += _check_optimizer(config.optim) + _check_finite("config", config)
    for name, weight in config.loss.items():
        if weight < 0:
            wrong.append(f"config.loss.{name} is {weight}; expected 0 (none) or more")
    wrong += check_input(config)
    kind = config.data.input
    if kind not in NORMALISATION:
        wrong.append(f"config.data.input is {kind!r}; expected {' or '.join(map(repr, NORMALISATION))}")
    elif (channels := len(NORMALISATION[kind].mean)) != config.model.in_channels:
        wrong.append(f"config.model.in_channels is {config.model.in_channels}; expected {channels}, of {kind!r}")
    if model.lora_rank and not config.get("pretrained"):
        wrong.append(
            f"config.model.lora_rank is {model.lora_rank} and config.pretrained empty; expected a model folder whose "
            "encoder the adapters change, or lora_rank 0"
        )
    elif model.lora_rank and model.neutral == "channels" and not model.adapts("patch_embed"):
        wrong.append(
            "config.model.neutral is 'channels', and LoRA leaves the patch embedding alone, which would never learn to "
            "see the neutral reference; expected neutral 'shared' or 'separate', or lora_targets that match "
            "'patch_embed'"
        )
    if wrong:
        raise UserError(f"{'; '.join(wrong)}. Change these settings.")
    check_writers(config)


def _check_optimizer(optim: ConfigDict) -> list[str]:
    wrong = []
    for name in ("learning_rate", "clip_norm"):
        if optim[name] <= 0:
            wrong.append(f"config.optim.{name} is {optim[name]}; expected more than 0")
    for name in ("b1", "b2"):
        if not 0 <= optim[name] < 1:
            wrong.append(f"config.optim.{name} is {optim[name]}; expected 0 or more, below 1")
    if not 0 <= optim.final_fraction <= 1:
        wrong.append(f"config.optim.final_fraction is {optim.final_fraction}; expected a part, 0 to 1")
    rates = {f"groups.{name}.rate": group.rate for name, group in optim.groups.items()}
    for name, value in ({"weight_decay": optim.weight_decay} | rates).items():
        if value < 0:
            wrong.append(f"config.optim.{name} is {value}; expected at least 0")
    return wrong


def _check_finite(name: str, value: Any) -> list[str]:
    """Comparisons let NaN pass; a training would end at its first step, and blame the data. Not to clip is `inf`."""
    if isinstance(value, ConfigDict):
        return [phrase for key, each in value.items() for phrase in _check_finite(f"{name}.{key}", each)]
    if isinstance(value, float) and not (math.isfinite(value) or (name, value) == ("config.optim.clip_norm", math.inf)):
        return [f"{name} is {value}; expected a finite number"]
    return []
