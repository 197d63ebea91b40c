"""The published encoders by name: their sizes, where their weights are, and how their pictures are prepared.

    config = ViTPainConfig(**PRESETS["dinov3_s"].model, image_size=224)

Source: timm 1.0.31 (models/eva.py, models/vision_transformer.py) and the model cards on the Hugging Face hub.
"""

import dataclasses
import re
from typing import Any

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SATELLITE = {"mean": (0.430, 0.411, 0.296), "std": (0.213, 0.156, 0.143)}  # DINOv3 trained on SAT-493M
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A published encoder.

    model: fields of its `ViTConfig`. timm: its architecture name there ('' if timm has none). hub: ids of repositories
    with its weights on the Hugging Face hub, transformers' layout. preprocessing: as in a model folder's config.json.
    """

    model: dict[str, Any]
    timm: str
    hub: tuple[str, ...]
    preprocessing: dict[str, Any]


def _dinov3(width: int, depth: int, heads: int, timm: str = "", hub: tuple[str, ...] = (), mlp: str = "gelu") -> Preset:
    # The releases hold biases on queries and values (all zero in some), none on keys.
    model = {"patch_size": 16, "width": width, "depth": depth, "heads": heads, "mlp": mlp, "qkv_bias": "query_value"}
    return Preset(model, timm, hub, IMAGENET | {"size": 256, "crop": 1.0, "interpolation": "bicubic"})


def _dinov2(width: int, depth: int, heads: int, letter: str, *, registers: int = 0, gated: bool = False) -> Preset:
    size = {"s": "small", "b": "base", "l": "large", "g": "giant"}[letter]
    model = {
        "patch_size": 14,
        "width": width,
        "depth": depth,
        "heads": heads,
        "registers": registers,
        "position": "learned",
        "position_grid": 37,
        "position_antialias": registers > 0,
        "qkv_bias": "all",
        "norm_epsilon": 1e-6,
    }
    if gated:
        model |= {"mlp": "swiglu", "mlp_ratio": 8 / 3}
    return Preset(
        model,
        f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2",
        (f"facebook/dinov2-{'with-registers-' if registers else ''}{size}",),
        IMAGENET | {"size": 518, "crop": 1.0, "interpolation": "bicubic"},
    )


def _vit(width: int, depth: int, heads: int, size: str, hub: tuple[str, ...] = ()) -> Preset:
    model = {
        "patch_size": 16,
        "width": width,
        "depth": depth,
        "heads": heads,
        "registers": 0,
        "position": "learned",
        "position_grid": 14,
        "qkv_bias": "all",
        "layer_scale": 0.0,
        "norm_epsilon": 1e-6,
    }
    preprocessing = HALF | {"size": 224, "crop": 0.9, "interpolation": "bicubic"}
    return Preset(model, f"vit_{size}_patch16_224", hub, preprocessing)


PRESETS: dict[str, Preset] = {
    "dinov3_ti": _dinov3(192, 12, 3),  # of ours, for small machines: there are no weights by DINOv3's authors
    "dinov3_s": _dinov3(384, 12, 6, "vit_small_patch16_dinov3", ("facebook/dinov3-vits16-pretrain-lvd1689m",)),
    "dinov3_s_plus": _dinov3(
        384, 12, 6, "vit_small_plus_patch16_dinov3", ("facebook/dinov3-vits16plus-pretrain-lvd1689m",), mlp="swiglu"
    ),
    "dinov3_b": _dinov3(768, 12, 12, "vit_base_patch16_dinov3", ("facebook/dinov3-vitb16-pretrain-lvd1689m",)),
    "dinov3_l": _dinov3(
        1024,
        24,
        16,
        "vit_large_patch16_dinov3",
        ("facebook/dinov3-vitl16-pretrain-lvd1689m", "facebook/dinov3-vitl16-pretrain-sat493m"),
    ),
    "dinov3_h_plus": _dinov3(
        1280, 32, 20, "vit_huge_plus_patch16_dinov3", ("facebook/dinov3-vith16plus-pretrain-lvd1689m",), mlp="swiglu"
    ),
    "dinov2_s": _dinov2(384, 12, 6, "s"),
    "dinov2_b": _dinov2(768, 12, 12, "b"),
    "dinov2_l": _dinov2(1024, 24, 16, "l"),
    "dinov2_g": _dinov2(1536, 40, 24, "g", gated=True),
    "dinov2_s_reg": _dinov2(384, 12, 6, "s", registers=4),
    "dinov2_b_reg": _dinov2(768, 12, 12, "b", registers=4),
    "dinov2_l_reg": _dinov2(1024, 24, 16, "l", registers=4),
    "dinov2_g_reg": _dinov2(1536, 40, 24, "g", registers=4, gated=True),
    "vit_ti": _vit(192, 12, 3, "tiny", ("WinKawaks/vit-tiny-patch16-224",)),
    "vit_s": _vit(384, 12, 6, "small", ("WinKawaks/vit-small-patch16-224",)),
    "vit_b": _vit(768, 12, 12, "base", ("google/vit-base-patch16-224", "google/vit-base-patch16-224-in21k")),
    "vit_l": _vit(1024, 24, 16, "large", ("google/vit-large-patch16-224", "google/vit-large-patch16-224-in21k")),
}


def find_preset(name: str) -> Preset | None:
    """The published encoder that `name` speaks of, None if it is none.

    Args:
      name: of a preset ('dinov3_s'), of a timm model with or without 'timm/' and the tag of its weights
        ('timm/vit_small_patch16_dinov3_qkvb.lvd1689m'), or the id of a repository on the hub; as the last part of a
        path too, with or without '.safetensors'.
    """
    last = re.split(r"[/\\]", name)[-1].removesuffix(".safetensors")
    architecture = last.split(".")[0].removesuffix("_qkvb")
    for key, preset in PRESETS.items():
        if last == key or (preset.timm and architecture == preset.timm):
            return _prepared_for(preset, name)
        if last in (hub.split("/")[-1] for hub in preset.hub):
            return _prepared_for(preset, name)
    return None


def _prepared_for(preset: Preset, name: str) -> Preset:
    """The preset with the mean and standard deviation of these very weights: the tag is part of their name."""
    changed = {}
    if "sat493m" in name:
        changed = SATELLITE
    elif name.removesuffix(".safetensors").endswith((".dino", ".mae")):  # the other plain ViTs take -1..1
        changed = IMAGENET
    return dataclasses.replace(preset, preprocessing=preset.preprocessing | changed)
