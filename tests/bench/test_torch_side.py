"""The PyTorch side computes what our model computes, with the same weights."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from flax.traverse_util import flatten_dict

from painjax.bench.case import Case
from painjax.bench.report import count_parameters
from painjax.bench.torch_side import Side, ViTPain, task_loss
from painjax.models.vitpain import ViTPain as OurViTPain


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def our_model(case: Case):
    """Our model with every parameter drawn anew, so that none is 0 or 1, and its parameters by path."""
    model = OurViTPain(case.model_config(), rngs=nnx.Rngs(0))
    model.eval()
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: (0.2 * rng.standard_normal(x.shape)).astype(np.float32), nnx.to_pure_dict(params))
    return nnx.merge(graphdef, params, rest), flatten_dict(params, sep="/")


def encoder_weights(ours: dict, prefix: str, case: Case) -> dict:
    """Ours under transformers' and peft's names."""
    w = {path.removeprefix(prefix): value for path, value in ours.items() if path.startswith(prefix)}
    d, p = case.width, 16
    theirs = {
        "embeddings.cls_token": w["cls_token"],
        "embeddings.register_tokens": w["registers"],
        "embeddings.patch_embeddings.weight": w["patch_embed/kernel"].reshape(p, p, 3, d).transpose(3, 2, 0, 1),
        "embeddings.patch_embeddings.bias": w["patch_embed/bias"],
        "norm.weight": w["norm/scale"],
        "norm.bias": w["norm/bias"],
    }
    for i in range(case.depth):
        for name, our_name in (("attention.qkv", "qkv"), ("attention.o_proj", "proj")):
            base = f"model.layer.{i}.{name}"
            theirs[f"{base}.base_layer.weight"] = w[f"blocks/{our_name}/kernel"][i].T
            theirs[f"{base}.lora_A.default.weight"] = w[f"blocks/{our_name}/lora_a"][i].T
            theirs[f"{base}.lora_B.default.weight"] = w[f"blocks/{our_name}/lora_b"][i].T
            if our_name == "proj":
                theirs[f"{base}.base_layer.bias"] = w["blocks/proj/bias"][i]
        for name, our_name in (("up_proj", "fc1"), ("down_proj", "fc2")):
            theirs[f"model.layer.{i}.mlp.{name}.weight"] = w[f"blocks/{our_name}/kernel"][i].T
            theirs[f"model.layer.{i}.mlp.{name}.bias"] = w[f"blocks/{our_name}/bias"][i]
        for name in ("norm1", "norm2"):
            theirs[f"model.layer.{i}.{name}.weight"] = w[f"blocks/{name}/scale"][i]
            theirs[f"model.layer.{i}.{name}.bias"] = w[f"blocks/{name}/bias"][i]
        for k in (1, 2):
            theirs[f"model.layer.{i}.layer_scale{k}.lambda1"] = w[f"blocks/gamma{k}"][i]
    return theirs


def torch_weights(ours: dict, case: Case) -> dict:
    def linear(name, our_name):
        return {f"{name}.weight": ours[f"{our_name}/kernel"].T, f"{name}.bias": ours[f"{our_name}/bias"]}

    def norm(name, our_name):
        return {f"{name}.weight": ours[f"{our_name}/scale"], f"{name}.bias": ours[f"{our_name}/bias"]}

    attention = [linear(part, f"neutral_attention/{part}") for part in ("query", "key", "value")]
    theirs = {
        "neutral_attention.in_proj_weight": np.concatenate([next(iter(part.values())) for part in attention]),
        "neutral_attention.in_proj_bias": np.concatenate([list(part.values())[1] for part in attention]),
        "au_queries": ours["au_head/queries"],
        **linear("neutral_attention.out_proj", "neutral_attention/proj"),
        **norm("neutral_norm", "neutral_attention/norm"),
        **norm("pspi_head.0", "pspi_head/norm"),
        **norm("au_features.0", "au_head/norm"),
        **linear("au_features.1", "au_head/hidden"),
        **linear("au_head", "au_head/score"),
    }
    for place, name in ((1, "hidden1"), (3, "hidden2"), (5, "hidden3"), (7, "score")):
        theirs |= linear(f"pspi_head.{place}", f"pspi_head/{name}")
    for i in range(3):
        theirs |= {
            f"threshold_heads.{i}.0.weight": ours["threshold_head/norm/scale"][i],
            f"threshold_heads.{i}.0.bias": ours["threshold_head/norm/bias"][i],
            f"threshold_heads.{i}.1.weight": ours["threshold_head/score/kernel"][i].T,
            f"threshold_heads.{i}.1.bias": ours["threshold_head/score/bias"][i],
        }
    for name in ("encoder", "neutral_encoder"):
        weights = encoder_weights(ours, f"{name}/", case)
        theirs |= {f"{name}.{key}": value for key, value in weights.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in theirs.items()}


def test_both_sides_compute_the_same():
    case = Case(size="tiny", image_size=48, batch_size=2)
    model, params = our_model(case)
    theirs = ViTPain(case.for_torch()).eval()
    left = theirs.load_state_dict(torch_weights(params, case), strict=False)
    assert not left.unexpected_keys
    assert all(name.endswith(("mask_token", "inv_freq")) for name in left.missing_keys)

    rng = np.random.default_rng(1)
    image, calm = (rng.standard_normal((2, 48, 48, 3), np.float32) for _ in range(2))
    output = nnx.jit(lambda model, *pictures: model(*pictures))(model, image, calm)
    with torch.inference_mode():
        found = theirs(*(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in (image, calm)))
    for ours, other in zip((output.pspi, output.aus, output.threshold_logits), found, strict=True):
        assert np.ptp(other.numpy()) > 1e-3  # not the same number everywhere
        np.testing.assert_allclose(ours, other.numpy(), atol=1e-4)


@pytest.mark.parametrize("lora_rank", [0, 8])
@pytest.mark.parametrize("neutral", [True, False])
def test_both_sides_have_and_train_as_many_parameters(neutral, lora_rank):
    case = Case(size="tiny", image_size=32, batch_size=1, neutral=neutral, lora_rank=lora_rank)
    ours = count_parameters(case)
    assert ours.items() <= Side().build(case.for_torch()).items()
    assert (ours["trained_parameters"] == ours["parameters"]) == (lora_rank == 0)


def test_the_loss_by_hand():
    found = torch.tensor([8.0]), torch.tensor([[1.0, 0, 0, 0, 0, 1.0]]), torch.zeros(1, 3)
    labels = {"pspi": torch.tensor([4.0]), "aus": torch.tensor([[0.0, 0, 0, 0, 0, 0.5]])}
    expected = (4 / 16) ** 2 + ((1 / 5) ** 2 + 0.5**2) / 6 + 0.1 * np.log(2)
    assert task_loss(found, labels).item() == pytest.approx(expected, rel=1e-6)
