"""The tables: right by tensors written out by hand, undone by their inverse, and strict."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from painjax.errors import UserError
from painjax.model_folder import flatten
from painjax.models import lora
from painjax.models.vit import ViTConfig
from painjax.models.vitpain import ViTPainConfig
from painjax.weights.layouts import LAYOUTS, official
from painjax.weights.recognise import configure, recognise
from painjax.weights.tables import from_theirs, to_theirs
from painjax.weights.tensors import Tensors
from painjax.weights.torch_file import read_torch
from tests.weights import originals


def imported(arrays: dict, hyper_parameters: dict | None = None, heads: int = 2):
    layout, tensors = recognise(Tensors.of(arrays), "the file")
    config = configure(
        layout, tensors, "the file", config={}, hyper_parameters=hyper_parameters or {}, names=[], heads=heads
    )
    return layout, config, from_theirs(tensors, config, layout, "the file")


def assert_same(ours: dict, others: dict) -> None:
    ours, others = flatten(ours), flatten(others)
    assert sorted(ours) == sorted(others)
    for name in ours:
        np.testing.assert_array_equal(ours[name], others[name], err_msg=name)


# --- what becomes of each tensor ---


@pytest.mark.parametrize("gated", [False, True])
def test_timm_and_transformers_name_the_same_dinov3(gated):
    hf = originals.hf_dinov3(gated)
    layout, config, ours = imported(hf)
    timm_layout, timm_config, timm = imported(originals.timm_dinov3(hf))
    assert (layout.name, timm_layout.name) == ("hf_dinov3", "timm_dinov3")
    assert config == timm_config
    assert (config.width, config.depth, config.patch_size, config.registers) == (16, 2, 4, 4)
    assert (config.mlp, config.mlp_width, config.qkv_bias) == ("swiglu" if gated else "gelu", 24, "query_value")
    assert_same(ours, timm)


@pytest.mark.parametrize("gated", [False, True])
def test_timm_and_transformers_name_the_same_dinov2(gated):
    hf = originals.hf_dinov2(gated)
    layout, config, ours = imported(hf)
    timm_layout, timm_config, timm = imported(originals.timm_dinov2(hf))
    assert (layout.name, timm_layout.name) == ("hf_dinov2", "timm_vit")
    assert (config.position, config.position_grid, config.position_prefix) == ("learned", 3, True)
    assert (config.registers, config.qkv_bias, config.norm_epsilon, config.mlp_width) == (0, "all", 1e-6, 24)
    assert (timm_config.mlp, timm_config.position_grid) == (config.mlp, config.position_grid)
    assert_same(ours, timm)


def test_every_tensor_lies_where_it_belongs():
    hf = originals.hf_dinov3(gated=True)
    _, _, ours = imported(hf)
    ours = flatten(ours)
    x = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    for i in range(originals.DEPTH):
        weights = [hf[f"layer.{i}.attention.{name}_proj.weight"] for name in "qkv"]
        np.testing.assert_allclose(
            x @ ours["blocks/qkv/kernel"][i], np.concatenate([x @ w.T for w in weights], axis=1), atol=1e-5
        )
        q, k, v = np.split(ours["blocks/qkv/bias"][i], 3)
        np.testing.assert_array_equal(q, hf[f"layer.{i}.attention.q_proj.bias"])
        np.testing.assert_array_equal(k, np.zeros(16))
        np.testing.assert_array_equal(v, hf[f"layer.{i}.attention.v_proj.bias"])
        gate, value = np.split(ours["blocks/fc1/kernel"][i], 2, axis=1)
        np.testing.assert_array_equal(gate, hf[f"layer.{i}.mlp.gate_proj.weight"].T)
        np.testing.assert_array_equal(value, hf[f"layer.{i}.mlp.up_proj.weight"].T)
    patch = np.random.default_rng(2).normal(size=(4, 4, 3)).astype(np.float32)  # rows, columns, channels
    convolved = np.einsum("ochw,hwc->o", hf["embeddings.patch_embeddings.weight"], patch)
    np.testing.assert_allclose(patch.reshape(-1) @ ours["patch_embed/kernel"], convolved, atol=1e-5)


def test_positions_without_a_row_for_cls():
    tensors = originals.timm_dinov2(originals.hf_dinov2())
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    tensors["reg_token"] = np.ones((1, 4, 16), np.float32)
    _, config, ours = imported(tensors)
    assert (config.position_grid, config.position_prefix, config.registers) == (3, False, 4)
    np.testing.assert_array_equal(ours["positions"], tensors["pos_embed"])


# --- both ways ---

MADE = {
    "hf_dinov3": originals.hf_dinov3,
    "hf_dinov3 gated": lambda: originals.hf_dinov3(gated=True),
    "timm_dinov3": lambda: originals.timm_dinov3(originals.hf_dinov3()),
    "timm_dinov3 gated": lambda: originals.timm_dinov3(originals.hf_dinov3(gated=True)),
    "hf_dinov2": originals.hf_dinov2,
    "hf_dinov2 gated": lambda: originals.hf_dinov2(gated=True),
    "timm_vit": lambda: originals.timm_dinov2(originals.hf_dinov2()),
    "hf_vit": originals.hf_vit,
}


@pytest.mark.parametrize("made", MADE)
def test_written_back_it_is_the_file(made):
    tensors = MADE[made]()
    layout, config, ours = imported(tensors)
    assert layout.name == made.split()[0]
    back = to_theirs(ours, config, layout)
    for name in [name for name in tensors if "mask_token" in name]:  # left out, and zeros for those who expect it
        np.testing.assert_array_equal(back.pop(name), np.zeros_like(tensors.pop(name)))
    assert_same(back, tensors)


@pytest.mark.parametrize("name", ["", "_neutral"])
def test_the_authors_checkpoint_comes_back(shared, name):
    tensors, metadata = read_torch(shared / "golden" / f"vitpain_official_tiny{name}.ckpt")
    layout, config, ours = imported(tensors, metadata["hyper_parameters"], heads=4)
    assert layout.name == "official" and isinstance(config, ViTPainConfig)
    assert (config.lora_rank, config.lora_alpha, config.neutral) == (8, 16.0, "separate" if name else "none")
    back = to_theirs(ours, config, layout)
    assert sorted(back) == sorted(tensors)
    for key, value in tensors.items():
        expected = np.zeros_like(value) if key.endswith("reg_token") else value
        np.testing.assert_array_equal(back[key], expected, err_msg=key)
    written, released = official.hyper_parameters(config, "vit_small_patch16_dinov3"), metadata["hyper_parameters"]
    for key in ("lora_rank", "lora_alpha", "use_neutral_reference", "num_classes", "num_au_features"):
        assert written[key] == released[key]


def test_merged_weights_go_into_the_authors_layout_with_adapters_that_do_nothing(shared):
    tensors, metadata = read_torch(shared / "golden" / "vitpain_official_tiny_neutral.ckpt")
    layout, config, ours = imported(tensors, metadata["hyper_parameters"], heads=4)
    merged, merged_config = lora.merge(ours, config)
    back = to_theirs(merged, merged_config, layout)
    assert {name: x.shape for name, x in back.items()} == {name: x.shape for name, x in tensors.items()}
    assert all(not x.any() for name, x in back.items() if "lora_" in name)
    encoder = "vit_model.base_model.model"
    name = f"{encoder}.blocks.1.attn.proj"
    a, b = (tensors[f"{name}.lora_{letter}.default.weight"] for letter in "AB")
    np.testing.assert_allclose(
        back[f"{name}.base_layer.weight"], tensors[f"{name}.base_layer.weight"] + 16 / 8 * b @ a, atol=1e-6
    )
    name = f"{encoder}.patch_embed.proj"
    a, b = (tensors[f"{name}.lora_{letter}.default.weight"] for letter in "AB")
    delta = 16 / 8 * np.einsum("or,rchw->ochw", b[:, :, 0, 0], a)
    np.testing.assert_allclose(
        back[f"{name}.base_layer.weight"], tensors[f"{name}.base_layer.weight"] + delta, atol=1e-6
    )
    _, again, ours_again = imported(back, official.hyper_parameters(merged_config, "x"), heads=4)
    assert (again.lora_rank, again.lora_alpha) == (8, 16.0)
    assert_same(lora.merge(ours_again, again)[0], merged)


def test_what_a_layout_cannot_hold_is_refused():
    layout, config, ours = imported(originals.hf_dinov3())
    with pytest.raises(UserError, match=r"Dinov2Model cannot express"):
        to_theirs(ours, config, LAYOUTS["hf_dinov2"])
    placeless = ViTConfig(**{**vars(config), "position": "none"})
    with pytest.raises(UserError, match=r"model.position is 'none'"):
        to_theirs(ours, placeless, layout)
    adapted = ours | {"patch_embed": ours["patch_embed"] | {"lora_a": np.ones((48, 2)), "lora_b": np.ones((2, 16))}}
    with pytest.raises(UserError, match=r"no place for patch_embed/lora_a.*[Mm]erge"):
        to_theirs(adapted, config, layout)


# --- strictness ---


def test_all_mismatches_are_told_at_once():
    tensors = originals.hf_dinov3()
    del tensors["norm.bias"], tensors["layer.0.norm1.weight"], tensors["layer.1.norm1.weight"]
    tensors["layer.1.mlp.down_proj.bias"] = np.zeros(7, np.float32)
    tensors["surplus.weight"] = np.zeros(3, np.float32)
    tensors["layer.0.layer_scale1.lambda1"] = np.zeros(16, np.int64)
    with pytest.raises(UserError) as error:
        imported(tensors)
    message = str(error.value)
    assert message.startswith("the file does not hold the weights of transformers' DINOv3ViTModel")
    for part in (
        "norm.bias is missing",
        "layer.0-1.norm1.weight is missing",
        "layer.1.mlp.down_proj.bias has shape (7,), expected (16,)",
        "surplus.weight is not part of such a model",
        "layer.0.layer_scale1.lambda1 is of type int64",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float32(np.nan), "not finite"),
        (np.float32(-np.inf), "not finite"),
        (np.float64(1e39), "beyond the range of float32"),
    ],
)
def test_values_that_are_no_float32_are_told_by_name(value, message):
    tensors = originals.hf_dinov3()
    changed = tensors["layer.1.norm2.weight"].astype(value.dtype)
    changed[3] = value
    tensors["layer.1.norm2.weight"] = changed
    with pytest.raises(UserError, match=rf"layer\.1\.norm2\.weight has values .*{message}"):
        imported(tensors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_become_float32(dtype):
    tensors = {name: x.astype(dtype) for name, x in originals.hf_dinov3().items()}
    _, _, ours = imported(tensors)
    scale = flatten(ours)["norm/scale"]
    assert scale.dtype == np.float32
    np.testing.assert_array_equal(scale, tensors["norm.weight"].astype(np.float32))


def test_a_tensor_is_left_out_only_for_a_reason():
    """mask_token, pooler, classifiers and RoPE's periods may be there; the reason stands beside each in the table."""
    tensors = originals.hf_dinov3()
    surplus = ("classifier.weight", "pooler.dense.bias", "rope_embeddings.inv_freq")
    _, _, ours = imported(tensors | {name: np.zeros(3, np.float32) for name in surplus})
    assert_same(ours, imported(tensors)[2])
    with pytest.raises(UserError, match="head.weight is not part"):
        imported(tensors | {"head.weight": np.zeros(3, np.float32)})
    for layout in LAYOUTS.values():
        config = ViTConfig(patch_size=4, width=16, depth=2, heads=2)
        config = ViTPainConfig(**vars(config), image_size=16) if layout.kind == "vitpain" else config
        assert all(unused.why for unused in layout.unused(config))


def test_the_tables_fill_nothing_twice(shared):
    """Every row of ours and of theirs stands once in its table."""
    for name, made in MADE.items():
        layout, config, _ = imported(made())
        rows = layout.rows(config)
        for side in ("ours", "theirs"):
            names = [x for row in rows for x in getattr(row, side)]
            assert len(names) == len(set(names)), f"{name}: {side}"


def test_the_golden_timm_file_is_used_whole(shared):
    tensors = load_file(shared / "golden" / "dinov3_tiny_timm.safetensors")
    layout, config, ours = imported(tensors, heads=4)
    assert layout.name == "timm_dinov3"
    assert_same(to_theirs(ours, config, layout), tensors)
