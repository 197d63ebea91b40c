"""Whose tensors they are, and what the model's configuration is, from whatever tells it."""

import numpy as np
import pytest

from painjax.errors import UserError
from painjax.models.presets import PRESETS, find_preset
from painjax.models.vit import ViTConfig
from painjax.weights.recognise import configure, recognise
from painjax.weights.tensors import Tensors
from tests.weights import originals

HF_CONFIG = {
    "model_type": "dinov3_vit",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 4,
    "layer_norm_eps": 1e-3,
    "rope_theta": 50.0,
    "pos_embed_rescale": 2.0,
    "pos_embed_jitter": None,
    "hidden_act": "gelu",
}


def configured(arrays, config=None, names=(), heads=None, hyper_parameters=None) -> ViTConfig:
    layout, tensors = recognise(Tensors.of(arrays), "the file")
    return configure(
        layout,
        tensors,
        "the file",
        config=config or {},
        hyper_parameters=hyper_parameters or {},
        names=list(names),
        heads=heads,
    )


def renamed(tensors: dict, *pairs: tuple[str, str]) -> dict:
    for old, new in pairs:
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    return tensors


IN_MEMORY = (
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
)


@pytest.mark.parametrize(
    ("tensors", "layout"),
    [
        (originals.hf_dinov3(), "hf_dinov3"),
        (renamed(originals.hf_dinov3(), ("layer.", "model.layer.")), "hf_dinov3"),
        (originals.hf_dinov2(), "hf_dinov2"),
        (renamed(originals.hf_dinov2(), *IN_MEMORY), "hf_dinov2"),
        (originals.hf_vit(), "hf_vit"),
        (
            renamed(
                originals.hf_vit(),
                *IN_MEMORY,
                ("intermediate.dense", "mlp.fc1"),
                (".output.dense", ".mlp.fc2"),
                ("encoder.layer.", "layers."),
            ),
            "hf_vit",
        ),
        (originals.timm_dinov3(originals.hf_dinov3()), "timm_dinov3"),
        (originals.timm_dinov2(originals.hf_dinov2()), "timm_vit"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "dinov2.", "backbone.model."])
def test_names_of_every_layout_with_any_prefix_and_in_memory(tensors, layout, prefix):
    found, named = recognise(Tensors.of({prefix + name: value for name, value in tensors.items()}), "f")
    assert found.name == layout
    on_disk = {
        "hf_dinov3": originals.hf_dinov3(),
        "hf_dinov2": originals.hf_dinov2(),
        "hf_vit": originals.hf_vit(),
    }.get(layout, tensors)
    assert sorted(named) == sorted(on_disk)


def test_another_architecture():
    with pytest.raises(UserError, match=r"the file holds 2 tensors \(conv1.weight, fc.bias.*DINOv3ViTModel"):
        configured({"conv1.weight": np.zeros((64, 3, 7, 7)), "fc.bias": np.zeros(10)})
    with pytest.raises(UserError, match="0 tensors"):
        configured({})


def test_what_config_json_tells():
    config = configured(originals.hf_dinov3(), HF_CONFIG)
    assert config.heads == 4 and config.norm_epsilon == 1e-3 and config.rope_theta == 50.0
    assert (config.rope_shift, config.rope_jitter, config.rope_rescale) == (0.0, 0.0, 2.0)


def test_without_config_json_the_flag_is_needed_and_named():
    assert configured(originals.hf_dinov3(), heads=2).heads == 2
    with pytest.raises(UserError, match=r"does not tell its number of attention heads.*--heads=N"):
        configured(originals.hf_dinov3())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, "hidden_size 32: it is of another model"),
        ({"num_hidden_layers": 12}, "num_hidden_layers 12"),
        ({"hidden_act": "relu"}, "activation 'relu'.*expected 'gelu'"),
        ({"num_attention_heads": 5}, "the file makes no model that we have.*multiple of"),
        ({"num_attention_heads": "four"}, "config.json beside the file is not understood.*four"),
        ({"rope_theta": None}, "config.json beside the file is not understood"),
    ],
)
def test_a_config_json_that_contradicts(changes, message):
    with pytest.raises(UserError, match=message):
        configured(originals.hf_dinov3(), HF_CONFIG | changes)


def test_a_flag_that_contradicts():
    with pytest.raises(UserError, match="--heads=2 was given.*4 attention heads"):
        configured(originals.hf_dinov3(), HF_CONFIG, heads=2)


def test_the_activation_of_gated_mlps():
    """transformers' DINOv3 gates by hidden_act; its Dinov2 by SiLU, whatever hidden_act says."""
    gated = originals.hf_dinov3(gated=True)
    assert configured(gated, HF_CONFIG | {"hidden_act": "silu"}).mlp == "swiglu"
    with pytest.raises(UserError, match="gated MLP; expected 'silu'"):
        configured(gated, HF_CONFIG)
    dinov2 = {"num_attention_heads": 2, "hidden_act": "gelu", "use_swiglu_ffn": True}
    assert configured(originals.hf_dinov2(gated=True), dinov2).mlp == "swiglu"


def test_known_architectures_tell_their_heads():
    """A timm file of the width and depth of ViT-Ti, called so; not one that is only called so."""
    tiny = PRESETS["vit_ti"]
    arrays = originals.timm_dinov2(originals.hf_dinov2())
    with pytest.raises(UserError, match="called after a model of width 192 and depth 12, but has 16 and 2"):
        configured(arrays, names=[f"timm/{tiny.timm}.augreg_in21k"])
    small = Tensors.of(arrays).shapes
    wide = {name: tuple({16: 192, 48: 576, 24: 768}.get(side, side) for side in shape) for name, shape in small.items()}
    deep = wide | {name.replace("blocks.1.", f"blocks.{i}."): s for name, s in wide.items() for i in range(2, 12)}
    arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in deep.items()}
    assert configured(arrays, names=["a folder", f"timm/{tiny.timm}.augreg_in21k"]).heads == tiny.model["heads"] == 3


def test_shapes_that_make_no_sense():
    tensors = originals.hf_dinov3()
    tensors["embeddings.patch_embeddings.weight"] = np.zeros((16, 3, 4, 5), np.float32)
    with pytest.raises(UserError, match=r"\(16, 3, 4, 5\); expected .* square patches"):
        configured(tensors, heads=2)
    tensors = originals.hf_dinov2()
    tensors["embeddings.position_embeddings"] = np.zeros((1, 8, 16), np.float32)
    with pytest.raises(UserError, match=r"\(1, 8, 16\); expected .* a square of places"):
        configured(tensors, heads=2)


def test_variants_that_only_look_alike():
    """timm's hybrids embed patches by several convolutions; a register token may have lost its dimensions."""
    tensors = originals.timm_dinov2(originals.hf_dinov2())
    tensors["patch_embed.backbone.stem.conv.weight"] = tensors.pop("patch_embed.proj.weight")
    with pytest.raises(UserError, match="timm's VisionTransformer does, but has no 'patch_embed.proj.weight'"):
        configured(tensors, heads=2)
    tensors = originals.hf_dinov3() | {"embeddings.register_tokens": np.zeros(16, np.float32)}
    with pytest.raises(UserError, match="DINOv3ViTModel does, but its tensors have other dimensions"):
        configured(tensors, heads=2)


def test_the_authors_checkpoint_needs_its_alpha(shared):
    from painjax.weights.torch_file import read_torch

    tensors, metadata = read_torch(shared / "golden" / "vitpain_official_tiny.ckpt")
    told = metadata["hyper_parameters"]
    assert configured(tensors, heads=4, hyper_parameters=told).lora_alpha == 16.0
    with pytest.raises(UserError, match="does not say its LoRA alpha"):
        configured(tensors, heads=4, hyper_parameters={"lora_rank": 8})
    with pytest.raises(UserError, match="the LoRA alpha '16'; expected a number"):
        configured(tensors, heads=4, hyper_parameters=told | {"lora_alpha": "16"})
    with pytest.raises(UserError, match="called after a model of width 384"):
        configured(tensors, names=[told["model_name"]], hyper_parameters=told)
    cut = {name: value for name, value in tensors.items() if ".blocks." not in name}
    with pytest.raises(UserError, match="it is a variant that cannot be imported, or the file is damaged"):
        configured(cut, heads=4, hyper_parameters=told)


# --- presets ---


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("dinov3_s", "dinov3_s"),
        ("vit_small_patch16_dinov3", "dinov3_s"),
        ("timm/vit_small_patch16_dinov3.lvd1689m", "dinov3_s"),
        ("timm/vit_small_patch16_dinov3_qkvb.lvd1689m", "dinov3_s"),
        ("some/where/vit_huge_plus_patch16_dinov3.lvd1689m.safetensors", "dinov3_h_plus"),
        ("facebook/dinov3-vits16plus-pretrain-lvd1689m", "dinov3_s_plus"),
        ("facebook/dinov2-with-registers-giant", "dinov2_g_reg"),
        ("vit_base_patch14_reg4_dinov2.lvd142m", "dinov2_b_reg"),
        ("google/vit-base-patch16-224", "vit_b"),
        ("vit_base_patch16_224.augreg_in21k", "vit_b"),
    ],
)
def test_names_of_published_encoders(name, preset):
    assert find_preset(name).model == PRESETS[preset].model


@pytest.mark.parametrize("name", ["resnet50", "", "vit_base_patch16_clip_224", "facebook/dinov2-small-imagenet1k"])
def test_other_names_are_not_taken_for_them(name):
    assert find_preset(name) is None


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_models(name):
    preset = PRESETS[name]
    config = ViTConfig(**preset.model)
    assert config.width // config.heads == 64  # all of them
    assert preset.preprocessing["size"] % config.patch_size == 0
    published = {"dinov3_h_plus": 5120, "dinov2_g": 4096, "dinov3_s_plus": 1536, "dinov3_l": 4096, "vit_ti": 768}
    assert config.mlp_width == published.get(name, config.mlp_width)


def test_weights_of_satellite_pictures_have_their_own_figures():
    land, sky = (find_preset(f"timm/vit_large_patch16_dinov3.{tag}") for tag in ("lvd1689m", "sat493m"))
    assert land.preprocessing["mean"] == (0.485, 0.456, 0.406)
    assert sky.preprocessing["mean"] == (0.430, 0.411, 0.296) and sky.preprocessing["std"] == (0.213, 0.156, 0.143)
    assert find_preset("facebook/dinov3-vitl16-pretrain-sat493m").preprocessing == sky.preprocessing
    assert find_preset("vit_base_patch16_224.dino").preprocessing["mean"] == (0.485, 0.456, 0.406)
    assert find_preset("vit_base_patch16_224.augreg_in21k").preprocessing["mean"] == (0.5, 0.5, 0.5)
