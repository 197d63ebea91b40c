"""The authors' ViTPain: timm's DINOv3 under peft's LoRA, walked without RoPE and registers, and their heads.

LoRA is on every `qkv` and `proj`, that of the patch embedding (a convolution) included. `reg_token` is in their file
and unused in their code.

Source: the PyTorch code released with Lin et al., "Pain in 3D" (arXiv 2509.16727); peft's layer names.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from painjax.errors import UserError
from painjax.models.vit import ViTConfig
from painjax.models.vitpain import ViTPainConfig
from painjax.weights.layout import Layout, Row, Shapes, Unused, linear, norm, require, row
from painjax.weights.layouts import timm
from painjax.weights.transforms import POINTWISE, TRANSPOSED, divided, patches, stacked

LORA_TARGETS = r"patch_embed|blocks/(qkv|proj)"
IMAGE_SIZE = 224
_ENCODERS = {"encoder": "vit_model.base_model.model.", "neutral_encoder": "neutral_encoder.base_model.model."}
_ADAPTED = {
    "patch_embed": "patch_embed.proj",
    "blocks/qkv": "blocks.{block}.attn.qkv",
    "blocks/proj": "blocks.{block}.attn.proj",
}
_THRESHOLDS = (1, 2, 3)
_REGISTERS = 4
_MERGED_RANK = 8  # of the adapters that are written as zeros for a model without: the default of their code


def _rows(config: ViTConfig) -> list[Row]:
    require(config, OFFICIAL.title, position=("none",), registers=(0,), qkv_bias=("none", "query_value"))
    require(config, OFFICIAL.title, heads_layout=("official",))
    if config.lora_rank:
        require(config, OFFICIAL.title, lora_targets=(LORA_TARGETS,))
    encoder = [*map(_under_peft, timm.backbone_rows(config)), *_lora(config)]
    return [
        *(_inside(r, theirs, ours) for ours, theirs in _ENCODERS.items() for r in encoder),
        row(
            "neutral_cross_attn.in_proj_weight",
            tuple(f"neutral_attention/{name}/kernel" for name in ("query", "key", "value")),
            divided(3, TRANSPOSED),
        ),
        row(
            "neutral_cross_attn.in_proj_bias",
            tuple(f"neutral_attention/{name}/bias" for name in ("query", "key", "value")),
            divided(3),
        ),
        *linear("neutral_cross_attn.out_proj", "neutral_attention/proj"),
        *norm("neutral_norm", "neutral_attention/norm"),
        *norm("pspi_head.0", "pspi_head/norm"),
        *linear("pspi_head.2", "pspi_head/hidden1"),
        *linear("pspi_head.5", "pspi_head/hidden2"),
        *linear("pspi_head.8", "pspi_head/hidden3"),
        *linear("pspi_head.11", "pspi_head/score"),
        row(_thresholds("0.weight"), "threshold_head/norm/scale", stacked()),
        row(_thresholds("0.bias"), "threshold_head/norm/bias", stacked()),
        row(_thresholds("2.weight"), "threshold_head/score/kernel", stacked(TRANSPOSED)),
        row(_thresholds("2.bias"), "threshold_head/score/bias", stacked()),
        row("au_queries", "au_head/queries"),
        *norm("au_shared_features.0", "au_head/norm"),
        *linear("au_shared_features.2", "au_head/hidden"),
        *linear("au_head", "au_head/score"),
    ]


def _under_peft(r: Row) -> Row:
    """The layers that peft adapts hold their own weights one level below."""
    names = list(r.theirs)
    for layer in _ADAPTED.values():
        names = [name.replace(f"{layer}.", f"{layer}.base_layer.") for name in names]
    return dataclasses.replace(r, theirs=tuple(names))


def _lora(config: ViTConfig) -> list[Row]:
    rows = []
    for ours, theirs in _ADAPTED.items():
        convolution = ours == "patch_embed"
        first, second = (patches(config.patch_size), POINTWISE) if convolution else (TRANSPOSED, TRANSPOSED)
        rows.append(row(f"{theirs}.lora_A.default.weight", f"{ours}/lora_a", first))
        rows.append(row(f"{theirs}.lora_B.default.weight", f"{ours}/lora_b", second))
    return rows


def _inside(r: Row, theirs: str, ours: str) -> Row:
    return Row(tuple(theirs + name for name in r.theirs), tuple(f"{ours}/{name}" for name in r.ours), r.transform)


def _thresholds(name: str) -> tuple[str, ...]:
    return tuple(f"pspi_binary_heads.{threshold}.{name}" for threshold in _THRESHOLDS)


def _sizes(shapes: Shapes) -> dict[str, Any]:
    prefix = _ENCODERS["encoder"]
    inside = {n.removeprefix(prefix).replace(".base_layer.", "."): s for n, s in shapes.items() if n.startswith(prefix)}
    adapter = f"{_ADAPTED['blocks/qkv']}.lora_A.default.weight".replace("{block}", "0")
    return timm.dinov3_sizes(inside) | {
        "position": "none",
        "registers": 0,
        "neutral": "separate" if any(name.startswith(_ENCODERS["neutral_encoder"]) for name in shapes) else "none",
        "heads_layout": "official",
        "image_size": IMAGE_SIZE,
        "lora_rank": inside[adapter][0] if adapter in inside else 0,
        "lora_targets": LORA_TARGETS,
        "lora_dropout": 0.1,  # a constant of their code
    }


def _unused(config: ViTPainConfig) -> list[Unused]:
    """What their code expects beside our parameters, for every encoder that the model has."""
    unused = []
    for encoder, prefix in _ENCODERS.items():
        if encoder == "neutral_encoder" and config.neutral != "separate":
            continue
        registers = np.zeros((1, _REGISTERS, config.width), np.float32)
        unused.append(Unused(f"{prefix}reg_token", "their forward pass leaves the registers out", registers))
        if not config.lora_rank:
            unused += [Unused(name, "adds nothing", value) for name, value in _no_lora(config, prefix)]
    return unused


def _no_lora(config: ViTPainConfig, prefix: str) -> list[tuple[str, np.ndarray]]:
    """Adapters that change nothing, for a model whose own are merged: their code always has some."""
    width, p, rank = config.width, config.patch_size, _MERGED_RANK
    shapes = {
        "patch_embed": ((rank, config.in_channels, p, p), (width, rank, 1, 1)),
        "blocks/qkv": ((rank, width), (3 * width, rank)),
        "blocks/proj": ((rank, width), (width, rank)),
    }
    return [
        (f"{prefix}{_ADAPTED[layer].replace('{block}', str(block))}.lora_{ab}.default.weight", np.zeros(s, np.float32))
        for layer, both in shapes.items()
        for block in range(config.depth if layer != "patch_embed" else 1)
        for ab, s in zip("AB", both, strict=True)
    ]


def config_fields(hyper_parameters: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What the checkpoint's `hyper_parameters` tell that its tensors cannot.

    Raises:
      UserError: if they do not say the LoRA alpha, a number.
    """
    if "lora_alpha" not in hyper_parameters:
        raise UserError(
            f"{source} does not say its LoRA alpha: its hyper_parameters have "
            f"{', '.join(sorted(hyper_parameters)) or 'nothing'}. It is no checkpoint of the released training code."
        )
    alpha = hyper_parameters["lora_alpha"]
    if not isinstance(alpha, int | float):
        raise UserError(f"{source} has the LoRA alpha {alpha!r}; expected a number.")
    return {"lora_alpha": float(alpha)}


def hyper_parameters(config: ViTPainConfig, model_name: str) -> dict[str, Any]:
    """The `hyper_parameters` with which their class builds a model that these weights fit; `model_name` is timm's."""
    rank = config.lora_rank or _MERGED_RANK
    return {
        "model_name": model_name,
        "lora_rank": rank,
        "lora_alpha": config.lora_alpha if config.lora_rank else 2 * rank,
        "use_neutral_reference": config.neutral == "separate",
        "num_au_features": 6,
        "num_classes": 1,
    }


OFFICIAL = Layout(
    name="official",
    title="the authors' ViTPain",
    kind="vitpain",
    markers=("au_queries", "vit_model.base_model.model.cls_token", "pspi_head.0.weight"),
    sizes=_sizes,
    rows=_rows,
    unused=_unused,
)
