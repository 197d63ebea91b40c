"""The encoder against timm's DINOv3 (golden vectors), attention against NumPy."""

import dataclasses
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from painjax.models.attention import attend
from painjax.models.config import REMATS, ViTConfig
from painjax.models.vit import Block, ViT, patchify, unpatchify

DINOV3_TINY = ViTConfig(patch_size=16, width=64, depth=3, heads=4)


def timm_parameters(weights: dict, depth: int) -> dict:
    """timm's DINOv3 names and layouts -> ours, blocks stacked."""

    def stack(name, transpose=False):
        rows = [weights.pop(f"blocks.{i}.{name}") for i in range(depth)]
        return np.stack([row.T if transpose else row for row in rows])

    def block_linear(name):
        return {"kernel": stack(f"{name}.weight", True), "bias": stack(f"{name}.bias")}

    def block_norm(name):
        return {"scale": stack(f"{name}.weight"), "bias": stack(f"{name}.bias")}

    patch = weights.pop("patch_embed.proj.weight")  # [D, C, p, p]
    parameters = {
        "cls_token": weights.pop("cls_token"),
        "registers": weights.pop("reg_token"),
        "patch_embed": {
            "kernel": patch.transpose(2, 3, 1, 0).reshape(-1, patch.shape[0]),
            "bias": weights.pop("patch_embed.proj.bias"),
        },
        "norm": {"scale": weights.pop("norm.weight"), "bias": weights.pop("norm.bias")},
        "blocks": {
            "norm1": block_norm("norm1"),
            "norm2": block_norm("norm2"),
            "qkv": {"kernel": stack("attn.qkv.weight", True)},
            "proj": block_linear("attn.proj"),
            "gamma1": stack("gamma_1"),
            "gamma2": stack("gamma_2"),
            "fc1": block_linear("mlp.fc1"),
            "fc2": block_linear("mlp.fc2"),
        },
    }
    assert not weights, f"unused: {sorted(weights)}"
    return parameters


def with_parameters(model: nnx.Module, parameters: dict) -> nnx.Module:
    expected = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    assert jax.tree.map(jnp.shape, expected) == jax.tree.map(np.shape, parameters)
    state = nnx.state(model, nnx.Param)
    nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, parameters))
    nnx.update(model, state)
    return model


def float64_tokens(parameters: dict, image: np.ndarray, heads: int) -> np.ndarray:
    """DINOv3 once more, in NumPy and double precision: image [B, H, W, C] -> tokens [B, N, D]."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), parameters)
    (b, h, w, c), d = image.shape, p["norm"]["scale"].size
    side = round((p["patch_embed"]["kernel"].shape[0] / c) ** 0.5)
    rows, columns, k = h // side, w // side, d // heads
    centres = [
        (y, x) for y in 2 * (np.arange(rows) + 0.5) / rows - 1 for x in 2 * (np.arange(columns) + 0.5) / columns - 1
    ]
    angles = [[2 * np.pi * at / 100 ** (j / (k // 4)) for at in place for j in range(k // 4)] for place in centres]
    cos, sin = (f(np.tile(angles, 2))[None, :, None] for f in (np.cos, np.sin))

    def norm(x, scale, bias):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    def linear(x, kernel, bias=0.0):
        return x @ kernel + bias

    def turn(x):
        prefix, patches = np.split(x, [x.shape[1] - rows * columns], axis=1)
        turned = np.concatenate([-patches[..., k // 2 :], patches[..., : k // 2]], -1)
        return np.concatenate([prefix, patches * cos + turned * sin], 1)

    patches = image.astype(np.float64).reshape(b, rows, side, columns, side, c).swapaxes(2, 3)
    patches = linear(patches.reshape(b, rows * columns, -1), **p["patch_embed"])
    prefix = np.concatenate([p["cls_token"], p["registers"]], 1)
    x = np.concatenate([np.repeat(prefix, b, 0), patches], 1)
    for i in range(p["blocks"]["gamma1"].shape[0]):
        block = jax.tree.map(lambda v, i=i: v[i], p["blocks"])
        qkv = linear(norm(x, **block["norm1"]), **block["qkv"]).reshape(b, -1, 3, heads, k)
        scores = np.einsum("bnhk,bmhk->bhnm", turn(qkv[:, :, 0]), turn(qkv[:, :, 1])) / k**0.5
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        found = np.einsum("bhnm,bmhk->bnhk", weights / weights.sum(-1, keepdims=True), qkv[:, :, 2])
        x = x + linear(found.reshape(x.shape), **block["proj"]) * block["gamma1"]
        y = linear(norm(x, **block["norm2"]), **block["fc1"])
        y = y * (1 + np.vectorize(math.erf)(y / 2**0.5)) / 2
        x = x + linear(y, **block["fc2"]) * block["gamma2"]
    return norm(x, **p["norm"])


@pytest.mark.parametrize("remat", REMATS)
@pytest.mark.parametrize("case", ["", "_rect"])
def test_matches_timm_dinov3(shared, case, remat):
    """To 1e-5 of the truth, and of timm's own float32 numbers as far as those are true: one of its CLS tokens has a
    sharp softmax and is off by 1.5e-5."""
    weights = load_file(shared / "golden" / "dinov3_tiny_timm.safetensors")
    golden = np.load(shared / "golden" / "dinov3_tiny_timm_io.npz")
    parameters = timm_parameters(weights, 3)
    model = with_parameters(ViT(dataclasses.replace(DINOV3_TINY, remat=remat), rngs=nnx.Rngs(0)), parameters)
    image = golden["x" + case].transpose(0, 2, 3, 1)
    tokens = np.asarray(model(jnp.asarray(image)))
    truth = float64_tokens(parameters, image, heads=4)
    np.testing.assert_allclose(tokens, truth, atol=1e-5, rtol=0)
    theirs = np.abs(golden["tokens" + case] - truth)
    assert theirs.max() < 2e-5 and (theirs > 1e-5).any(axis=-1).sum() <= 1  # tokens
    assert (np.abs(tokens - golden["tokens" + case]) < 1e-5 + np.where(theirs > 5e-6, theirs, 0)).all()
    assert np.sqrt(np.mean(np.square(tokens - golden["tokens" + case]))) < 2e-6


def test_patchify_keeps_every_pixel_in_its_place():
    rng = np.random.default_rng(0)
    image = rng.random((2, 6, 9, 2), np.float32)
    patches = np.asarray(patchify(jnp.asarray(image), 3))
    assert patches.shape == (2, 6, 18)
    for row in range(2):
        for column in range(3):
            block = image[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            np.testing.assert_array_equal(patches[:, 3 * row + column], block.reshape(2, -1))
    np.testing.assert_array_equal(unpatchify(jnp.asarray(patches), 3, 2, 3), image)


def test_patchify_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="10 x 9"):
        patchify(jnp.zeros((1, 10, 9, 3)), 3)
    with pytest.raises(ValueError, match="no 2 x 2 grid"):
        unpatchify(jnp.zeros((1, 6, 27)), 3, 2, 2)


def test_attention_is_the_softmax_average():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, n, 3, 4)).astype(np.float32) for n in (5, 7, 7))
    got = attend(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v))
    for b in range(2):
        for h in range(3):
            weights = np.exp(q[b, :, h] @ k[b, :, h].T / 2)
            want = weights / weights.sum(1, keepdims=True) @ v[b, :, h]
            np.testing.assert_allclose(got[b, :, h], want, atol=1e-5)


def test_attention_sees_only_the_valid_keys():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, n, 3, 4)), jnp.float32) for n in (5, 7, 7))
    valid = jnp.arange(7)[None, :] < jnp.array([[3], [7]])
    got = attend(q, k, v, valid)
    np.testing.assert_allclose(got[0], attend(q[:1], k[:1, :3], v[:1, :3])[0], atol=1e-6)
    np.testing.assert_allclose(got[1], attend(q, k, v)[1], atol=1e-6)
    assert np.isfinite(attend(q, k, v, jnp.zeros((2, 7), bool))).all()


def test_cudnn_is_asked_where_it_can_and_never_with_a_mask(monkeypatch):
    """Its kernels take half precision and no mask by rows, and run since Ampere; no GPU is needed to see who is
    asked."""
    asked = []

    def device(kind, capability):
        return types.SimpleNamespace(device_kind=kind, compute_capability=capability)

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device("NVIDIA H200", "9.0")])

    def fused(q, k, v, *, implementation):
        asked.append(implementation)
        return v

    monkeypatch.setattr(jax.nn, "dot_product_attention", fused)
    q = jnp.ones((2, 5, 3, 8), jnp.bfloat16)
    attend(q, q, q)
    assert asked == ["cudnn"]
    attend(q, q, q, jnp.ones((2, 5), bool))
    attend(q.astype(jnp.float32), *[q.astype(jnp.float32)] * 2)
    attend(q[..., :4], q[..., :4], q[..., :4])
    for other in (device("AMD Instinct MI300X", "gfx942"), device("NVIDIA GeForce RTX 2080 Ti", "7.5")):
        monkeypatch.setattr(jax, "devices", lambda other=other: [other])
        attend(q, q, q)
    assert asked == ["cudnn"]


def test_drop_path_skips_whole_branches_and_keeps_the_mean():
    config = ViTConfig(patch_size=4, width=16, depth=1, heads=2, layer_scale=1.0, drop_path=0.5, position="none")
    block = Block(config, rngs=nnx.Rngs(0))
    x = jnp.broadcast_to(jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 16)), jnp.float32), (4000, 3, 16))
    kept = (jnp.abs(block(x, None) - x).max(axis=(1, 2)) == 0).mean()
    assert kept == pytest.approx(0.25, abs=0.03)  # both branches skipped
    branch = block._branch(x, block.gamma1)
    np.testing.assert_allclose(np.unique(np.round(branch[:, 0, 0] / x[0, 0, 0], 5)), [0, 2])
    np.testing.assert_allclose(branch.mean(axis=0), x[0], atol=0.1)
    block.eval()
    np.testing.assert_array_equal(block._branch(x, block.gamma1), x)


def test_position_matters():
    """Shuffling the patches changes CLS (without RoPE it would not)."""
    model = ViT(ViTConfig(patch_size=4, width=32, depth=2, heads=2, layer_scale=1.0), rngs=nnx.Rngs(0))
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    flipped = np.asarray(unpatchify(patchify(jnp.asarray(image), 4)[:, ::-1], 4, 4, 4))
    assert np.abs(model(jnp.asarray(image))[:, 0] - model(jnp.asarray(flipped))[:, 0]).max() > 1e-4


def test_bfloat16_stays_close():
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.float32)
    kwargs = dict(patch_size=8, width=64, depth=2, heads=4, layer_scale=1.0)
    full = ViT(ViTConfig(**kwargs), rngs=nnx.Rngs(0))(image)
    half = ViT(ViTConfig(**kwargs, dtype="bfloat16"), rngs=nnx.Rngs(0))(image)
    assert half.dtype == jnp.bfloat16
    assert jnp.linalg.norm(half.astype(jnp.float32) - full) / jnp.linalg.norm(full) < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 100}, "multiple of 4"),
        ({"depth": 0}, "model.depth is 0"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"dtype": "float64"}, "model.dtype"),
        ({"position": "sine"}, "model.position is 'sine'; expected one of rope, learned, none"),
        ({"position": "learned"}, "model.position_grid is 0"),
        ({"rope_rescale": 0.5}, "factor of at least 1"),
        ({"lora_rank": 4, "lora_targets": "attention"}, "matches at least one of patch_embed"),
        ({"lora_rank": 4, "lora_targets": "("}, "regular expression"),
    ],
)
def test_config_names_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        ViTConfig(**({"patch_size": 8, "width": 64, "depth": 1, "heads": 2} | change))


def test_rngs_are_required():
    with pytest.raises(TypeError, match="rngs"):
        ViT(DINOV3_TINY)
