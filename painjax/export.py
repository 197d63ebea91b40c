"""Models as other programs want them: `painjax export --from=W --to=DIR --format=FORMAT`.

    safetensors  a model folder of ours: predict, evaluate, report and training take it
    hf           transformers' layout of the encoder
    official     the authors' PyTorch checkpoint, of models with their heads
    stablehlo    functions that need only JAX
    onnx         functions that need only onnxruntime

Each is a folder with a model card. LoRA adapters are merged, but for `official`, whose code expects them apart.
"""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from painjax.errors import UserError
from painjax.exportable import Exportable, read_exportable
from painjax.files import give_usual_rights, write_atomically
from painjax.huggingface_export import write_huggingface
from painjax.model_card import HowTo, model_card
from painjax.model_folder import CARD, refuse_taken, sha256, write_model_folder
from painjax.onnx_export import write_onnx
from painjax.stablehlo import write_stablehlo
from painjax.weights.layouts import official
from painjax.weights.tables import to_theirs
from painjax.weights.torch_file import write_torch

OFFICIAL_FILE = "vitpain.ckpt"
_TIMM_NAMES = {
    384: "timm/vit_small_patch16_dinov3.lvd1689m",
    768: "timm/vit_base_patch16_dinov3.lvd1689m",
    1024: "timm/vit_large_patch16_dinov3.lvd1689m",
}


def export_model(source: str | os.PathLike, target: str | os.PathLike, format: str) -> Path:
    """Writes the model of `source` into the folder `target`; readers see all of it or nothing.

    Args:
      source: a training run, of which the best checkpoint is taken, or a model folder.
      target: the folder to make; must not exist or be empty.
      format: a key of `FORMATS`.

    Returns:
      `target`.

    Raises:
      UserError: if `target` is taken or cannot be written, the format cannot express the model, or a library that it
        needs is not installed.
      FileNotFoundError: if there is no trained model in `source`.
    """
    if format not in FORMATS:
        raise UserError(f"--format={format}: expected one of {', '.join(FORMATS)}.")
    target = Path(os.path.abspath(target))
    refuse_taken(target)
    model = read_exportable(source)
    model = model if format == "official" else model.merged()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            folder = Path(scratch) / target.name
            folder.mkdir()
            how_to = FORMATS[format](model, folder)
            for file in list(folder.iterdir()):
                give_usual_rights(file)
            files = {file.name: sha256(file) for file in folder.iterdir() if file.name != CARD}
            write_atomically(folder / CARD, model_card(model, how_to, files))
            folder.replace(target)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error)
        free = shutil.disk_usage(next(path for path in target.absolute().parents if path.exists())).free
        raise UserError(
            f"The export to {target} could not be written: {why}. Nothing was left there. Check that you may write in "
            f"{target.parent} and that its disk, with {free / 1e9:.1f} GB free, has room for the model."
        ) from error
    return target


def _write_safetensors(model: Exportable, folder: Path) -> HowTo:
    folder.rmdir()
    write_model_folder(
        folder,
        model.params,
        kind=model.kind,
        model=dataclasses.asdict(model.config),
        preprocessing=model.preprocessing,
        source=model.source,
        experiment=model.public_experiment(),
        card="",  # is written when the files are known
    )
    if model.kind == "encoder":
        usage = """import jax.numpy as jnp

from painjax.model_folder import build_model, read_model_folder

folder = read_model_folder(".")
encoder = build_model(folder)
size = folder.config["preprocessing"]["size"]
print(encoder(jnp.zeros((1, size, size, encoder.config.in_channels))).shape)  # CLS, registers, patches
"""
    else:
        usage = """from painjax.predict import Predictor

predictor = Predictor(".")
found = predictor.predict("face.jpg")
print(found.pspi, found.aus)
"""
    return HowTo("a model folder (safetensors)", library="painjax", install="pip install painjax", usage=usage)


def _write_official(model: Exportable, folder: Path) -> HowTo:
    layout = getattr(model.config, "heads_layout", None)
    if layout != "official":
        what = "an encoder alone" if layout is None else f"a model with model.heads_layout = {layout!r}"
        raise UserError(
            f"--format=official writes the authors' checkpoint, and this is {what}: their code has no place for it. "
            "Use --format=safetensors, hf, stablehlo or onnx."
        )
    tensors = to_theirs(model.params, model.config, official.OFFICIAL)
    name = (model.source.get("hyper_parameters") or {}).get("model_name") or _TIMM_NAMES.get(model.config.width, "")
    hyper_parameters = official.hyper_parameters(model.config, name)
    # What Lightning's load_from_checkpoint asks for; the version is that of the checkpoint's form.
    metadata = {"hyper_parameters": hyper_parameters, "epoch": 0, "global_step": model.step}
    write_torch(folder / OFFICIAL_FILE, tensors, metadata | {"pytorch-lightning_version": "2.0.0"})
    usage = f"""import torch

checkpoint = torch.load("{OFFICIAL_FILE}", weights_only=True)
print(checkpoint["hyper_parameters"])
print({{name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}})
"""
    return HowTo(
        "the authors' PyTorch checkpoint",
        library="pytorch",
        install="pip install torch",
        usage=usage,
        notes=(
            "Their class loads it with `ViTPain.load_from_checkpoint`. Their code has register tokens that it does not "
            "use: zeros here.",
        ),
    )


FORMATS: dict[str, Callable[[Exportable, Path], HowTo]] = {
    "safetensors": _write_safetensors,
    "hf": write_huggingface,
    "official": _write_official,
    "stablehlo": write_stablehlo,
    "onnx": write_onnx,
}
