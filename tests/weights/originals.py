"""Tensors as the originals would name and shape them, written out by hand, and the same weights in transformers' names.

One random DINOv3 in transformers' layout (which `tests/models/test_parity.py` holds against transformers itself); the
other layouts are made of it here, tensor by tensor, as timm's and the authors' code name them.
"""

import numpy as np

WIDTH, DEPTH, HIDDEN, PATCH, REGISTERS = 16, 2, 24, 4, 4


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def hf_dinov3(gated: bool = False) -> dict[str, np.ndarray]:
    """`DINOv3ViTModel` as it lies on disk."""
    d, h = WIDTH, HIDDEN
    shapes = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.mask_token": (1, 1, d),
        "embeddings.register_tokens": (1, REGISTERS, d),
        "embeddings.patch_embeddings.weight": (d, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    for i in range(DEPTH):
        block = {
            "norm1.weight": (d,),
            "norm1.bias": (d,),
            "attention.q_proj.weight": (d, d),
            "attention.q_proj.bias": (d,),
            "attention.k_proj.weight": (d, d),
            "attention.v_proj.weight": (d, d),
            "attention.v_proj.bias": (d,),
            "attention.o_proj.weight": (d, d),
            "attention.o_proj.bias": (d,),
            "layer_scale1.lambda1": (d,),
            "norm2.weight": (d,),
            "norm2.bias": (d,),
            "mlp.up_proj.weight": (h, d),
            "mlp.up_proj.bias": (h,),
            "mlp.down_proj.weight": (d, h),
            "mlp.down_proj.bias": (d,),
            "layer_scale2.lambda1": (d,),
        }
        if gated:
            block |= {"mlp.gate_proj.weight": (h, d), "mlp.gate_proj.bias": (h,)}
        shapes |= {f"layer.{i}.{name}": shape for name, shape in block.items()}
    return random_tensors(shapes)


def timm_dinov3(hf: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights as timm's `Eva` with `qkv_bias` holds them."""
    tensors = {
        "cls_token": hf["embeddings.cls_token"],
        "reg_token": hf["embeddings.register_tokens"],
        "patch_embed.proj.weight": hf["embeddings.patch_embeddings.weight"],
        "patch_embed.proj.bias": hf["embeddings.patch_embeddings.bias"],
        "norm.weight": hf["norm.weight"],
        "norm.bias": hf["norm.bias"],
    }
    for i in range(DEPTH):
        block = {name.removeprefix(f"layer.{i}."): x for name, x in hf.items() if name.startswith(f"layer.{i}.")}
        attention = {name: block[f"attention.{name}_proj.weight"] for name in "qkv"}
        theirs = {
            "norm1.weight": block["norm1.weight"],
            "norm1.bias": block["norm1.bias"],
            "attn.qkv.weight": np.concatenate(list(attention.values())),
            "attn.q_bias": block["attention.q_proj.bias"],
            "attn.v_bias": block["attention.v_proj.bias"],
            "attn.proj.weight": block["attention.o_proj.weight"],
            "attn.proj.bias": block["attention.o_proj.bias"],
            "gamma_1": block["layer_scale1.lambda1"],
            "norm2.weight": block["norm2.weight"],
            "norm2.bias": block["norm2.bias"],
            "mlp.fc2.weight": block["mlp.down_proj.weight"],
            "mlp.fc2.bias": block["mlp.down_proj.bias"],
            "gamma_2": block["layer_scale2.lambda1"],
        }
        names = {"fc1_g": "gate_proj", "fc1_x": "up_proj"} if "mlp.gate_proj.weight" in block else {"fc1": "up_proj"}
        for ours, hfs in names.items():
            theirs |= {f"mlp.{ours}.{kind}": block[f"mlp.{hfs}.{kind}"] for kind in ("weight", "bias")}
        tensors |= {f"blocks.{i}.{name}": x for name, x in theirs.items()}
    return tensors


def hf_dinov2(gated: bool = False) -> dict[str, np.ndarray]:
    """`Dinov2Model` as it lies on disk, with a table of 3 x 3 positions."""
    d, h = WIDTH, HIDDEN
    shapes = {
        "embeddings.cls_token": (1, 1, d),
        "embeddings.mask_token": (1, d),
        "embeddings.position_embeddings": (1, 10, d),
        "embeddings.patch_embeddings.projection.weight": (d, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (d,),
        "layernorm.weight": (d,),
        "layernorm.bias": (d,),
    }
    linears = {f"attention.attention.{name}": (d, d) for name in ("query", "key", "value")}
    linears |= {"attention.output.dense": (d, d)}
    linears |= {"mlp.weights_in": (2 * h, d), "mlp.weights_out": (d, h)} if gated else {}
    linears |= {} if gated else {"mlp.fc1": (h, d), "mlp.fc2": (d, h)}
    for i in range(DEPTH):
        block = {f"{name}.weight": shape for name, shape in linears.items()}
        block |= {f"{name}.bias": shape[:1] for name, shape in linears.items()}
        block |= {f"{norm}.{kind}": (d,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")}
        block |= {f"layer_scale{k}.lambda1": (d,) for k in (1, 2)}
        shapes |= {f"encoder.layer.{i}.{name}": shape for name, shape in block.items()}
    return random_tensors(shapes)


def timm_dinov2(hf: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights as timm's `VisionTransformer` holds them: qkv fused with its bias, SwiGLU packed."""
    tensors = {
        "cls_token": hf["embeddings.cls_token"],
        "pos_embed": hf["embeddings.position_embeddings"],
        "patch_embed.proj.weight": hf["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": hf["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": hf["layernorm.weight"],
        "norm.bias": hf["layernorm.bias"],
    }
    for i in range(DEPTH):
        old, new = f"encoder.layer.{i}", f"blocks.{i}"
        gated = f"{old}.mlp.weights_in.weight" in hf
        for kind in ("weight", "bias"):
            parts = [hf[f"{old}.attention.attention.{name}.{kind}"] for name in ("query", "key", "value")]
            tensors |= {
                f"{new}.attn.qkv.{kind}": np.concatenate(parts),
                f"{new}.attn.proj.{kind}": hf[f"{old}.attention.output.dense.{kind}"],
                f"{new}.norm1.{kind}": hf[f"{old}.norm1.{kind}"],
                f"{new}.norm2.{kind}": hf[f"{old}.norm2.{kind}"],
                f"{new}.mlp.fc1.{kind}": hf[f"{old}.mlp.{'weights_in' if gated else 'fc1'}.{kind}"],
                f"{new}.mlp.fc2.{kind}": hf[f"{old}.mlp.{'weights_out' if gated else 'fc2'}.{kind}"],
            }
        tensors |= {f"{new}.ls{k}.gamma": hf[f"{old}.layer_scale{k}.lambda1"] for k in (1, 2)}
    return tensors


def hf_vit() -> dict[str, np.ndarray]:
    """`ViTModel` as it lies on disk, without pooler."""
    tensors = {}
    names = {"norm1": "layernorm_before", "norm2": "layernorm_after"}
    names |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    for name, value in hf_dinov2().items():
        if "layer_scale" in name or "mask" in name:
            continue
        for old, new in names.items():
            name = name.replace(f".{old}.", f".{new}.")
        tensors[name] = value
    return tensors
