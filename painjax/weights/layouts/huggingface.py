"""The layouts of transformers: `DINOv3ViTModel`, `Dinov2Model` (with or without registers) and `ViTModel`.

Names are those on disk; transformers 5 has others in memory, which are read as well.

Source: transformers 5.23, models/{dinov3_vit,dinov2,dinov2_with_registers,vit}/modeling_*.py.
"""

from typing import Any

import numpy as np

from painjax.models.vit import ViTConfig
from painjax.weights.layout import (
    Layout,
    Row,
    Shapes,
    Unused,
    depth,
    learned_positions,
    linear,
    norm,
    patch_sizes,
    require,
    row,
)
from painjax.weights.transforms import QUERY_VALUE, TRANSPOSED, joined, patches

_HEADS = [
    Unused(r"classifier\..*", "the classifier of a model that was tuned on labels"),
    Unused(r"pooler\..*", "comes after the tokens"),
    Unused(r"decoder\..*", "reconstructs pixels while pretraining"),
]
_MASK = "stands for hidden patches while pretraining"


def _qkv(names: tuple[str, ...]) -> list[Row]:
    return [
        row(tuple(f"{name}.weight" for name in names), "blocks/qkv/kernel", joined(3, TRANSPOSED)),
        row(tuple(f"{name}.bias" for name in names), "blocks/qkv/bias", joined(3)),
    ]


def _tokens(config: ViTConfig, patch: str) -> list[Row]:
    return [
        row(f"{patch}.weight", "patch_embed/kernel", patches(config.patch_size)),
        row(f"{patch}.bias", "patch_embed/bias"),
        row("embeddings.cls_token", "cls_token"),
        row("embeddings.register_tokens", "registers"),
        row("embeddings.position_embeddings", "positions"),
    ]


def _layer_scale(block: str) -> list[Row]:
    return [
        row(f"{block}.layer_scale1.lambda1", "blocks/gamma1"),
        row(f"{block}.layer_scale2.lambda1", "blocks/gamma2"),
    ]


def _registers(shapes: Shapes) -> int:
    return shapes["embeddings.register_tokens"][1] if "embeddings.register_tokens" in shapes else 0


# --- DINOv3 ---


def _dinov3_rows(config: ViTConfig) -> list[Row]:
    require(config, DINOV3.title, position=("rope",))
    if not config.layer_scale:
        require(config, DINOV3.title, layer_scale=("more than 0",))
    block = "layer.{block}"
    query, key, value = (f"{block}.attention.{name}_proj" for name in "qkv")
    kernel, bias = _qkv((query, key, value))
    if config.qkv_bias == "query_value":
        bias = row((f"{query}.bias", f"{value}.bias"), "blocks/qkv/bias", QUERY_VALUE)
    gated = (f"{block}.mlp.gate_proj", f"{block}.mlp.up_proj")
    return [
        *_tokens(config, "embeddings.patch_embeddings"),
        *norm(f"{block}.norm1", "blocks/norm1"),
        kernel,
        bias,
        *linear(f"{block}.attention.o_proj", "blocks/proj"),
        *_layer_scale(block),
        *norm(f"{block}.norm2", "blocks/norm2"),
        *(
            [
                row(tuple(f"{name}.weight" for name in gated), "blocks/fc1/kernel", joined(2, TRANSPOSED)),
                row(tuple(f"{name}.bias" for name in gated), "blocks/fc1/bias", joined(2)),
            ]
            if config.mlp == "swiglu"
            else linear(f"{block}.mlp.up_proj", "blocks/fc1")
        ),
        *linear(f"{block}.mlp.down_proj", "blocks/fc2"),
        *norm("norm", "norm"),
    ]


def _dinov3_sizes(shapes: Shapes) -> dict[str, Any]:
    sizes = patch_sizes(shapes, "embeddings.patch_embeddings.weight")
    biases = [f"layer.0.attention.{name}_proj.bias" in shapes for name in "qkv"]
    return sizes | {
        "depth": depth(shapes, "layer."),
        "registers": _registers(shapes),
        "position": "rope",
        "qkv_bias": "all" if biases[1] else "query_value" if any(biases) else "none",
        "mlp": "swiglu" if "layer.0.mlp.gate_proj.weight" in shapes else "gelu",
        "mlp_ratio": shapes["layer.0.mlp.up_proj.weight"][0] / sizes["width"],
        "norm_epsilon": 1e-5,
    }


def _dinov3_unused(config: ViTConfig) -> list[Unused]:
    none = [Unused("embeddings.register_tokens", "there are none", np.zeros((1, 0, config.width), np.float32))]
    return [
        Unused("embeddings.mask_token", _MASK, np.zeros((1, 1, config.width), np.float32)),
        Unused(r"rope_embeddings\..*", "the periods of RoPE, which follow from the size"),
        *_HEADS,
        *(none if config.registers == 0 else []),
    ]


DINOV3 = Layout(
    name="hf_dinov3",
    title="transformers' DINOv3ViTModel",
    kind="encoder",
    markers=("embeddings.patch_embeddings.weight", "layer.0.attention.q_proj.weight", "layer.0.mlp.up_proj.weight"),
    sizes=_dinov3_sizes,
    rows=_dinov3_rows,
    unused=_dinov3_unused,
    renamed=((r"(?:(?<=\.)|^)model\.layer\.", "layer."),),
)

# --- DINOv2 ---

_PATCH = "embeddings.patch_embeddings.projection"
_ATTENTION = "encoder.layer.{block}.attention"
_SELF = tuple(f"{_ATTENTION}.attention.{name}" for name in ("query", "key", "value"))
_IN_MEMORY = tuple(
    (rf"(encoder\.layer\.\d+\.attention)\.{theirs}\.", rf"\1.{ours}.")
    for theirs, ours in (
        ("q_proj", "attention.query"),
        ("k_proj", "attention.key"),
        ("v_proj", "attention.value"),
        ("o_proj", "output.dense"),
    )
)


def _dinov2_rows(config: ViTConfig) -> list[Row]:
    require(config, DINOV2.title, position=("learned",), position_prefix=(True,))
    block = "encoder.layer.{block}"
    first, second = ("weights_in", "weights_out") if config.mlp == "swiglu" else ("fc1", "fc2")
    return [
        *_tokens(config, _PATCH),
        *norm(f"{block}.norm1", "blocks/norm1"),
        *_qkv(_SELF),
        *linear(f"{_ATTENTION}.output.dense", "blocks/proj"),
        *_layer_scale(block),
        *norm(f"{block}.norm2", "blocks/norm2"),
        *linear(f"{block}.mlp.{first}", "blocks/fc1"),
        *linear(f"{block}.mlp.{second}", "blocks/fc2"),
        *norm("layernorm", "norm"),
    ]


def _dinov2_sizes(shapes: Shapes) -> dict[str, Any]:
    gated = "encoder.layer.0.mlp.weights_out.weight" in shapes
    hidden = shapes["encoder.layer.0.mlp.weights_out.weight" if gated else "encoder.layer.0.mlp.fc2.weight"][1]
    registers = _registers(shapes)
    return _learned_sizes(shapes) | {
        "registers": registers,
        "position_antialias": registers > 0,  # as the code for registers does, and that without them does not
        "mlp": "swiglu" if gated else "gelu",
        "mlp_ratio": hidden / shapes[f"{_PATCH}.weight"][0],
        "norm_epsilon": 1e-6,
    }


def _learned_sizes(shapes: Shapes) -> dict[str, Any]:
    return (
        patch_sizes(shapes, f"{_PATCH}.weight")
        | learned_positions(shapes, "embeddings.position_embeddings")
        | {
            "depth": depth(shapes, "encoder.layer."),
            "qkv_bias": "all" if "encoder.layer.0.attention.attention.query.bias" in shapes else "none",
        }
    )


DINOV2 = Layout(
    name="hf_dinov2",
    title="transformers' Dinov2Model",
    kind="encoder",
    markers=(
        f"{_PATCH}.weight",
        "embeddings.position_embeddings",
        "encoder.layer.0.attention.attention.query.weight",
        "encoder.layer.0.layer_scale1.lambda1",
    ),
    sizes=_dinov2_sizes,
    rows=_dinov2_rows,
    unused=lambda config: [
        Unused("embeddings.mask_token", _MASK, np.zeros((1, config.width), np.float32)),
        *_HEADS,
    ],
    renamed=_IN_MEMORY,
)

# --- ViT ---


def _vit_rows(config: ViTConfig) -> list[Row]:
    require(
        config,
        VIT.title,
        position=("learned",),
        position_prefix=(True,),
        mlp=("gelu",),
        layer_scale=(0,),
        registers=(0,),
    )
    block = "encoder.layer.{block}"
    return [
        *_tokens(config, _PATCH),
        *norm(f"{block}.layernorm_before", "blocks/norm1"),
        *_qkv(_SELF),
        *linear(f"{_ATTENTION}.output.dense", "blocks/proj"),
        *norm(f"{block}.layernorm_after", "blocks/norm2"),
        *linear(f"{block}.intermediate.dense", "blocks/fc1"),
        *linear(f"{block}.output.dense", "blocks/fc2"),
        *norm("layernorm", "norm"),
    ]


def _vit_sizes(shapes: Shapes) -> dict[str, Any]:
    return _learned_sizes(shapes) | {
        "registers": 0,
        "mlp": "gelu",
        "mlp_ratio": shapes["encoder.layer.0.intermediate.dense.weight"][0] / shapes[f"{_PATCH}.weight"][0],
        "layer_scale": 0.0,
        "norm_epsilon": 1e-12,
    }


VIT = Layout(
    name="hf_vit",
    title="transformers' ViTModel",
    kind="encoder",
    markers=(
        f"{_PATCH}.weight",
        "embeddings.position_embeddings",
        "encoder.layer.0.layernorm_before.weight",
        "encoder.layer.0.intermediate.dense.weight",
    ),
    sizes=_vit_sizes,
    rows=_vit_rows,
    unused=lambda config: [Unused("embeddings.mask_token", _MASK), *_HEADS],
    renamed=(
        (r"(?:(?<=\.)|^)layers\.(\d+)\.", r"encoder.layer.\1."),
        *_IN_MEMORY,
        (r"(encoder\.layer\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
        (r"(encoder\.layer\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
    ),
)
