"""LoRA against peft, live: the same adapters on the same layers give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
from flax import nnx

from painjax.models import lora
from painjax.models.linear import Linear
from painjax.models.vit import ViT, ViTConfig, patchify

RANK, ALPHA, PATCH = 3, 12.0, 16


class Original(torch.nn.Module):
    """One layer of each kind that peft adapts in a ViT."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(40, 24)
        self.conv = torch.nn.Conv2d(3, 24, PATCH, stride=PATCH)


def make_peft(dropout=0.0, rank=RANK, trained=True):
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=rank, lora_alpha=ALPHA, lora_dropout=dropout, target_modules=["linear", "conv"])
    model = peft.get_peft_model(Original(), settings).base_model.model
    if trained:  # B starts at zero, which would hide everything
        for layer in (model.linear, model.conv):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
    return model.eval()


def weights_of(layer):
    """peft's layer as (kernel, bias, lora_a, lora_b) of ours: [inputs, outputs], patch pixels with channels last."""

    def turned(weight):
        weight = weight.detach().numpy()
        return weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])

    base = layer.get_base_layer()
    a, b = (turned(part["default"].weight) for part in (layer.lora_A, layer.lora_B))
    return {"kernel": turned(base.weight), "bias": base.bias.detach().numpy(), "lora_a": a, "lora_b": b}


def make_config(dropout=0.0, rank=RANK, **fields):
    settings = {"lora_rank": rank, "lora_alpha": ALPHA, "lora_dropout": dropout} | fields
    return ViTConfig(patch_size=PATCH, width=24, depth=2, heads=2, **settings)


def make_ours(layer, dropout=0.0):
    weights = weights_of(layer)
    made = Linear(*weights["kernel"].shape, (None, None), adapted=True, config=make_config(dropout), rngs=nnx.Rngs(0))
    nnx.update(made, jax.tree.map(jnp.asarray, weights))
    return made


def inputs(kind):
    """The same input for peft and, as its layer takes it, for ours."""
    rng = np.random.default_rng(0)
    if kind == "linear":
        x = rng.normal(size=(5, 7, 40)).astype(np.float32)
        return torch.from_numpy(x), jnp.asarray(x)
    x = rng.normal(size=(2, 32, 48, 3)).astype(np.float32)
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), patchify(jnp.asarray(x), PATCH)


def turned(y):
    """peft's output [B, D, rows, columns] as tokens [B, P, D]."""
    return y.flatten(2).transpose(1, 2) if y.ndim == 4 else y


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_forward_and_gradients_are_those_of_peft(kind):
    layer = getattr(make_peft(), kind)
    theirs, mine = inputs(kind)
    y = turned(layer(theirs))
    ours = make_ours(layer)
    graphdef, params, rest = nnx.split(ours, nnx.Param, ...)
    np.testing.assert_allclose(ours(mine), y.detach().numpy(), atol=1e-5)
    assert (y - turned(layer.get_base_layer()(theirs))).abs().max() > 0.1  # the adapters matter

    weight = torch.from_numpy(np.random.default_rng(1).normal(size=y.shape).astype(np.float32))
    (y * weight).sum().backward()
    gradients = jax.grad(lambda p: (nnx.merge(graphdef, p, rest)(mine) * jnp.asarray(weight.numpy())).sum())(params)
    a, b = layer.lora_A["default"].weight.grad.numpy(), layer.lora_B["default"].weight.grad.numpy()
    a = a.T if a.ndim == 2 else a.transpose(2, 3, 1, 0).reshape(-1, RANK)
    np.testing.assert_allclose(gradients["lora_a"][...], a, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradients["lora_b"][...], b.reshape(24, RANK).T, rtol=1e-4, atol=1e-4)
    assert layer.get_base_layer().weight.grad is None  # frozen there too


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_dropout_has_the_mean_and_the_spread_of_pefts(kind):
    draws, rate = 600, 0.4
    layer = getattr(make_peft(rate), kind)
    theirs, mine = inputs(kind)
    theirs, mine = theirs[:1], mine[:1]
    still = turned(layer(theirs)).detach().numpy()
    ours = make_ours(layer, rate)
    ours.eval()
    np.testing.assert_allclose(ours(mine), still, atol=1e-5)

    layer.train()
    ours.train()
    many = np.asarray(ours(jnp.repeat(mine, draws, axis=0)))
    expected = turned(layer(theirs.repeat(draws, *[1] * (theirs.ndim - 1)))).detach().numpy()
    spread = expected.std(axis=0)
    error = np.abs(many.mean(axis=0) - still) / (spread / np.sqrt(draws))
    assert error.max() < 5 and error.mean() < 1.2  # in standard errors; of a normal variable the mean is 0.8
    np.testing.assert_allclose(many.std(axis=0), spread, rtol=0.25)


def test_new_adapters_start_as_in_peft():
    """A uniform in +-1 / sqrt(inputs) (kaiming_uniform, a = sqrt 5), B zero."""
    model = make_peft(rank=64, trained=False)
    encoder = ViT(make_config(rank=64, lora_targets=".*"), rngs=nnx.Rngs(0))
    blocks = encoder.blocks
    for theirs, mine, size in (
        (model.linear, blocks.qkv, 24),
        (model.conv, encoder.patch_embed, PATCH * PATCH * 3),
        (None, blocks.fc2, 96),
    ):
        a, b = np.asarray(mine.lora_a[...]), np.asarray(mine.lora_b[...])
        bound = size**-0.5
        assert 0.95 * bound < np.abs(a).max() <= bound
        np.testing.assert_allclose(a.std(), bound / np.sqrt(3), rtol=0.05)
        assert not b.any()
        if theirs is not None:
            a, b = weights_of(theirs)["lora_a"], weights_of(theirs)["lora_b"]
            np.testing.assert_allclose(a.std() * np.sqrt(a.shape[0] * 3), 1, rtol=0.05)
            assert not b.any()
    qkv = np.asarray(blocks.qkv.lora_a[...])
    assert not np.array_equal(qkv[0], qkv[1])  # layers draw apart


def test_merged_weights_are_pefts_and_unmerge_brings_back():
    model = make_peft()
    params = {name: weights_of(getattr(model, name)) for name in ("linear", "conv")} | {"norm": {"scale": np.ones(3)}}
    merged, config = lora.merge(params, make_config())
    assert config.lora_rank == 0 and set(merged["linear"]) == {"kernel", "bias"}
    restored = lora.unmerge(merged, params, make_config())
    assert jax.tree.structure(restored) == jax.tree.structure(params)
    jax.tree.map(lambda mine, before: np.testing.assert_allclose(mine, before, atol=1e-6), restored, params)
    for name in ("linear", "conv"):
        layer = getattr(model, name)
        layer.merge()
        weight = layer.get_base_layer().weight.detach().numpy()
        weight = weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0).reshape(-1, 24)
        np.testing.assert_allclose(merged[name]["kernel"], weight, atol=1e-6)


def test_a_merged_encoder_computes_the_same():
    config = make_config(lora_targets=".*", layer_scale=0.5)
    encoder = ViT(config, rngs=nnx.Rngs(0))
    params = nnx.to_pure_dict(nnx.state(encoder, nnx.Param))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + jnp.asarray(0.1 * rng.normal(size=x.shape), jnp.float32), params)
    nnx.update(encoder, params)
    merged, plain = lora.merge(params, config)
    assert "lora_a" not in merged["blocks"]["qkv"] and merged["blocks"]["qkv"]["kernel"].shape == (2, 24, 72)
    without = ViT(plain, rngs=nnx.Rngs(0))
    nnx.update(without, jax.tree.map(jnp.asarray, merged))
    image = jnp.asarray(rng.normal(size=(1, 32, 32, 3)), jnp.float32)
    np.testing.assert_allclose(without(image), encoder(image), atol=1e-5, rtol=1e-5)


def test_which_parameters_train():
    assert lora.trains("encoder/blocks/qkv/lora_a", 8) and lora.trains("neutral_encoder/blocks/qkv/lora_b", 8)
    assert lora.trains("neutral_attention/query/kernel", 8) and lora.trains("pspi_head/norm/scale", 8)
    assert not lora.trains("encoder/cls_token", 8) and not lora.trains("neutral_encoder/blocks/qkv/kernel", 8)
    assert lora.trains("encoder/cls_token", 0) and lora.trains("encoder/blocks/qkv/kernel", 0)
