"""timm's layouts: `Eva` for DINOv3, `VisionTransformer` for the plain ViT and DINOv2.

Source: timm 1.0.31, models/eva.py, models/vision_transformer.py, layers/mlp.py.
"""

from typing import Any

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

_UNUSED = [
    Unused(r"head\..*", "the classifier of a model that was trained or tuned on labels"),
    Unused("mask_token", "stands for hidden patches while pretraining"),
]


def _rows(config: ViTConfig) -> list[Row]:
    """What `Eva` and `VisionTransformer` have in common."""
    return [
        row("patch_embed.proj.weight", "patch_embed/kernel", patches(config.patch_size)),
        row("patch_embed.proj.bias", "patch_embed/bias"),
        row("cls_token", "cls_token"),
        row("reg_token", "registers"),
        *norm("blocks.{block}.norm1", "blocks/norm1"),
        row("blocks.{block}.attn.qkv.weight", "blocks/qkv/kernel", TRANSPOSED),
        *linear("blocks.{block}.attn.proj", "blocks/proj"),
        *norm("blocks.{block}.norm2", "blocks/norm2"),
        *linear("blocks.{block}.mlp.fc2", "blocks/fc2"),
        *norm("norm", "norm"),
    ]


def _sizes(shapes: Shapes) -> dict[str, Any]:
    return patch_sizes(shapes, "patch_embed.proj.weight") | {
        "depth": depth(shapes, "blocks."),
        "registers": shapes["reg_token"][1] if "reg_token" in shapes else 0,
    }


def dinov3_rows(config: ViTConfig) -> list[Row]:
    """The table of `vit_*_patch16_dinov3` and `_qkvb`."""
    require(config, DINOV3.title, position=("rope",), qkv_bias=("none", "query_value"))
    return backbone_rows(config)


def backbone_rows(config: ViTConfig) -> list[Row]:
    """The same, whatever is done about positions: the authors' ViTPain does without."""
    gated = ("blocks.{block}.mlp.fc1_g", "blocks.{block}.mlp.fc1_x")
    return [
        *_rows(config),
        row(("blocks.{block}.attn.q_bias", "blocks.{block}.attn.v_bias"), "blocks/qkv/bias", QUERY_VALUE),
        row("blocks.{block}.gamma_1", "blocks/gamma1"),
        row("blocks.{block}.gamma_2", "blocks/gamma2"),
        *(
            [
                row(tuple(f"{name}.weight" for name in gated), "blocks/fc1/kernel", joined(2, TRANSPOSED)),
                row(tuple(f"{name}.bias" for name in gated), "blocks/fc1/bias", joined(2)),
            ]
            if config.mlp == "swiglu"
            else linear("blocks.{block}.mlp.fc1", "blocks/fc1")
        ),
    ]


def dinov3_sizes(shapes: Shapes) -> dict[str, Any]:
    """What the tensors of `Eva` tell."""
    sizes = _sizes(shapes)
    gated = "blocks.0.mlp.fc1_g.weight" in shapes
    hidden = shapes["blocks.0.mlp.fc1_g.weight" if gated else "blocks.0.mlp.fc1.weight"][0]
    return sizes | {
        "position": "rope",
        "qkv_bias": "query_value" if "blocks.0.attn.q_bias" in shapes else "none",
        "mlp": "swiglu" if gated else "gelu",
        "mlp_ratio": hidden / sizes["width"],
        "norm_epsilon": 1e-5,
    }


def _vit_rows(config: ViTConfig) -> list[Row]:
    require(config, VIT.title, position=("learned",))
    return [
        *_rows(config),
        row("pos_embed", "positions"),
        row("blocks.{block}.attn.qkv.bias", "blocks/qkv/bias"),
        row("blocks.{block}.ls1.gamma", "blocks/gamma1"),
        row("blocks.{block}.ls2.gamma", "blocks/gamma2"),
        *linear("blocks.{block}.mlp.fc1", "blocks/fc1"),  # of SwiGLU: gate and value packed, as ours
    ]


def _vit_sizes(shapes: Shapes) -> dict[str, Any]:
    sizes = _sizes(shapes) | learned_positions(shapes, "pos_embed")
    hidden, packed = shapes["blocks.0.mlp.fc2.weight"][1], shapes["blocks.0.mlp.fc1.weight"][0]
    return sizes | {
        "position_antialias": True,
        "qkv_bias": "all" if "blocks.0.attn.qkv.bias" in shapes else "none",
        "mlp": "swiglu" if packed == 2 * hidden else "gelu",
        "mlp_ratio": hidden / sizes["width"],
        "layer_scale": 1e-5 if "blocks.0.ls1.gamma" in shapes else 0.0,
        "norm_epsilon": 1e-6,
    }


DINOV3 = Layout(
    name="timm_dinov3",
    title="timm's DINOv3",
    kind="encoder",
    markers=("cls_token", "blocks.0.attn.qkv.weight", "blocks.0.gamma_1", "blocks.0.mlp.fc2.weight"),
    sizes=dinov3_sizes,
    rows=dinov3_rows,
    unused=lambda config: [*_UNUSED, Unused(r"rope\..*", "the periods of RoPE, which follow from the size")],
)

VIT = Layout(
    name="timm_vit",
    title="timm's VisionTransformer",
    kind="encoder",
    markers=("cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.weight"),
    sizes=_vit_sizes,
    rows=_vit_rows,
    unused=lambda config: _UNUSED,
)
