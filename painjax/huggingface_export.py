"""The encoder as a folder that transformers loads: `AutoModel.from_pretrained(folder)`.

RoPE makes it a `DINOv3ViTModel`. A learned table of positions makes it a `ViTModel`, a `Dinov2Model` or a
`Dinov2WithRegistersModel`, whichever has the parts. The heads have no place there and stay behind.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from painjax.errors import UserError
from painjax.exportable import Exportable
from painjax.files import write_json
from painjax.model_card import HowTo
from painjax.model_folder import flatten, unflatten
from painjax.models.vit import ViTConfig
from painjax.weights.layout import Layout
from painjax.weights.layouts.huggingface import DINOV2, DINOV3, VIT
from painjax.weights.preprocessing import PILLOW
from painjax.weights.tables import to_theirs

_RESAMPLE = {name: number for number, name in PILLOW.items()}


def write_huggingface(model: Exportable, folder: Path) -> HowTo:
    """Writes `config.json`, `model.safetensors` and, for pictures of three channels, `preprocessor_config.json`.

    Args:
      model: with its adapters merged.
      folder: an existing folder.

    Raises:
      UserError: if no model of transformers computes what this encoder computes.
    """
    params, config = model.encoder()
    layout, fields = _theirs(config)
    params, config = _completed(params, config, layout)
    fields |= {
        "dtype": "float32",
        "hidden_size": config.width,
        "image_size": model.preprocessing["size"] if layout is DINOV3 else config.position_grid * config.patch_size,
        "layer_norm_eps": config.norm_epsilon,
        "num_attention_heads": config.heads,
        "num_channels": config.in_channels,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch_size,
    }
    save_file(to_theirs(params, config, layout), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", fields)
    if config.in_channels == 3:
        write_json(folder / "preprocessor_config.json", _preprocessor(model.preprocessing, layout))
    return HowTo(
        format=f"transformers' {fields['architectures'][0]}, the encoder alone",
        library="transformers",
        install="pip install 'transformers>=4.56' torch torchvision",
        usage=_usage(model.preprocessing["size"], config, fields["architectures"][0]),
        notes=_notes(model),
    )


def _theirs(config: ViTConfig) -> tuple[Layout, dict[str, Any]]:
    """The layout, and the fields of config.json that only its kind of model has."""
    if config.position == "rope":
        return DINOV3, {
            "architectures": ["DINOv3ViTModel"],
            "model_type": "dinov3_vit",
            "hidden_act": "silu" if config.mlp == "swiglu" else "gelu",
            "intermediate_size": config.mlp_width,
            "key_bias": config.qkv_bias == "all",
            "layerscale_value": config.layer_scale or 1.0,
            "num_register_tokens": config.registers,
            "pos_embed_jitter": config.rope_jitter or None,
            "pos_embed_rescale": config.rope_rescale or None,
            "pos_embed_shift": config.rope_shift or None,
            "query_bias": config.qkv_bias != "none",
            "rope_theta": config.rope_theta,
            "use_gated_mlp": config.mlp == "swiglu",
            "value_bias": config.qkv_bias != "none",
        }
    if config.position == "none":
        raise UserError(
            "This encoder has no positions (model.position = 'none'), and every model of transformers has some: none "
            "computes the same. Export it with --format=safetensors, stablehlo or onnx"
            " (and --format=official, if its heads are the authors')."
        )
    shared = {"qkv_bias": config.qkv_bias != "none"}
    if not (config.layer_scale or config.registers or config.mlp == "swiglu"):
        return VIT, shared | {
            "architectures": ["ViTModel"],
            "model_type": "vit",
            "hidden_act": "gelu",
            "intermediate_size": config.mlp_width,
        }
    kind, name = ("dinov2_with_registers", "Dinov2WithRegisters") if config.registers else ("dinov2", "Dinov2")
    return DINOV2, shared | {
        "architectures": [f"{name}Model"],
        "model_type": kind,
        "hidden_act": "gelu",
        "layerscale_value": config.layer_scale or 1.0,
        "mlp_ratio": _dinov2_mlp_ratio(config),
        "use_swiglu_ffn": config.mlp == "swiglu",
        **({"num_register_tokens": config.registers} if config.registers else {}),
    }


def _dinov2_mlp_ratio(config: ViTConfig) -> int:
    """The whole number from which transformers' DINOv2 makes the width of the MLP."""
    for ratio in range(1, 17):
        hidden = config.width * ratio
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8 if config.mlp == "swiglu" else hidden
        if hidden == config.mlp_width:
            return ratio
    raise UserError(
        f"model.mlp_ratio is {config.mlp_ratio:g}, a {config.mlp} MLP of {config.mlp_width} for width {config.width}; "
        "transformers' Dinov2Model has whole ratios (of SwiGLU two thirds of them) and cannot express it."
    )


def _completed(params: Mapping[str, Any], config: ViTConfig, layout: Layout) -> tuple[Mapping[str, Any], ViTConfig]:
    """The same encoder with the parts that their model cannot be without, so set that they change nothing."""
    flat = flatten(params)
    if not config.layer_scale and layout is not VIT:
        ones = np.ones((config.depth, config.width), np.float32)
        flat |= {"blocks/gamma1": ones, "blocks/gamma2": ones}
        config = dataclasses.replace(config, layer_scale=1.0)
    if config.qkv_bias == "query_value" and layout is not DINOV3:
        bias = np.array(flat["blocks/qkv/bias"])
        bias[:, config.width : 2 * config.width] = 0  # unused here, used there
        flat["blocks/qkv/bias"] = bias
    return unflatten(flat), config


def _preprocessor(preprocessing: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    size = preprocessing["size"]
    outer = round(size / preprocessing["crop"])
    return {
        "image_processor_type": "DINOv3ViTImageProcessor" if layout is DINOV3 else "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": outer, "width": outer},
        "resample": _RESAMPLE[preprocessing["interpolation"]],
        "do_center_crop": outer != size,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing["mean"]),
        "image_std": list(preprocessing["std"]),
    }


def _usage(size: int, config: ViTConfig, architecture: str) -> str:
    options = ", add_pooling_layer=False" if architecture == "ViTModel" else ""
    return f"""import torch
from transformers import {architecture}

model = {architecture}.from_pretrained("."{options})
pixels = torch.zeros(1, {config.in_channels}, {size}, {size})  # normalised as told below
tokens = model(pixels).last_hidden_state  # CLS, registers, patches
print(tokens.shape)
"""


def _notes(model: Exportable) -> tuple[str, ...]:
    if model.kind == "encoder":
        return ()
    notes = ["The heads that read pain from the tokens are not part of this format."]
    if model.config.neutral == "channels":
        notes.append(
            f"It takes {2 * model.config.in_channels} channels: the normalised frame, then the normalised frame minus "
            "the normalised neutral picture of the same person (zeros without one)."
        )
    if model.config.neutral == "separate":
        notes.append("The second encoder, of neutral pictures, is not part of it either.")
    return tuple(notes)
