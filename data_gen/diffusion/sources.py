"""Where models come from: a folder, or a repository on the Hugging Face hub, pinned to what it holds now.

Needs huggingface_hub, but no torch: processes that only look portraits up pin their models too.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from data_gen.diffusion.config import DiffusionConfig

INSTALL = "pip install 'painjax[diffusion]'"
PIPELINE_INDEX, MODEL_INDEX = "model_index.json", "config.json"
CONTENTS = "sha256:"  # begins the revision of a folder
COMMIT = "[0-9a-f]{40}"
CHUNK = 1 << 22
INPAINTS = ("backdrop", "side_views")  # the settings that may name pipelines of their own
SD_SIZE, SDXL_SIZE = 512, 1024  # pixels


def pinned(config: DiffusionConfig) -> DiffusionConfig:
    """The same settings with the commits of all models, or the SHA-256 of their folders' contents, as revisions; and
    with the sizes that are usual for the model's class, where they say none.

    Pinning what is pinned does nothing: the files of a folder are read once, and workers that only look portraits up
    need neither network nor models.

    Raises:
      FileNotFoundError: if a model is not there, or without network not in the hub's cache.
      PermissionError: if it is gated; the message names the page of its licence.
      ValueError: if it is no model of its kind.
    """
    revision, controlnet_revision, *others = (_revision(*model) for model in _models(config))
    commits = iter(others)
    controls = tuple(dataclasses.replace(control, revision=next(commits)) for control in config.more_controls)
    inpaints = {name: getattr(config, name) for name in INPAINTS if getattr(config, name)}
    for name, settings in inpaints.items():
        if settings.model:
            inpaints[name] = dataclasses.replace(settings, revision=next(commits))
    if None in (config.size, *(settings.size for settings in inpaints.values())):
        usual = _usual_size(config.model, revision)
        config = dataclasses.replace(config, size=config.size or usual)
        for name, settings in inpaints.items():
            inpaints[name] = dataclasses.replace(settings, size=settings.size or usual)
    return dataclasses.replace(
        config, revision=revision, controlnet_revision=controlnet_revision, more_controls=controls, **inpaints
    )


def require(config: DiffusionConfig) -> None:
    """Makes sure that pinned models can be had, before anything is loaded; raises as `pinned` does."""
    for model, revision, index, kind in _models(config):
        if is_folder(model):
            _class_name(Path(model) / index, model, kind)
        else:
            _commit(model, revision, index, kind)


def is_folder(model: str) -> bool:
    """Whether a model is a folder of this machine; else it is the id of a repository on the hub."""
    return Path(model).is_dir()


def _models(config: DiffusionConfig) -> list[tuple[str, str | None, str, str]]:
    """(model, revision, the file that tells what it is, what it must be) of all models: the portraits' pipeline, the
    ControlNets, and the pipelines of `INPAINTS` that are others."""
    pipeline = "a diffusers pipeline"
    models = [
        (config.model, config.revision, PIPELINE_INDEX, pipeline),
        (config.controlnet, config.controlnet_revision, MODEL_INDEX, "a ControlNet"),
    ]
    models += [(control.model, control.revision, MODEL_INDEX, "a ControlNet") for control in config.more_controls]
    inpaints = filter(None, (getattr(config, name) for name in INPAINTS))
    models += [(each.model, each.revision, PIPELINE_INDEX, pipeline) for each in inpaints if each.model]
    return models


def _usual_size(model: str, revision: str) -> int:
    """Side in pixels of the pictures that a pipeline of this class was trained on."""
    kind = "a diffusers pipeline"
    index = Path(model) / PIPELINE_INDEX if is_folder(model) else _index(model, revision, PIPELINE_INDEX, kind)
    return SDXL_SIZE if "XL" in _class_name(index, model, kind) else SD_SIZE


def _class_name(index: Path, model: str, kind: str) -> str:
    """The class that the index of a model names: folders of other libraries have files of these names without one."""
    try:
        return str(json.loads(index.read_bytes())["_class_name"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"The {index.name} of {model} names no class of diffusers ({type(error).__name__}: {error}); expected "
            f"{kind} as `save_pretrained` of diffusers writes it. Choose another, or copy or download this one again."
        ) from error


def _revision(model: str, revision: str | None, index: str, kind: str) -> str:
    if revision and revision.startswith(CONTENTS):  # of a folder that machines which only draw need not have
        return revision
    if is_folder(model):
        if not (Path(model) / index).is_file():
            raise ValueError(f"The folder {model} has no {index}; expected {kind} as `save_pretrained` writes it.")
        _class_name(Path(model) / index, model, kind)
        return _contents(Path(model))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith((".", "~")):
        raise FileNotFoundError(f"{model!r} is no folder; expected {kind}: a folder, or a hub id such as owner/name.")
    return revision if re.fullmatch(COMMIT, revision or "") else _commit(model, revision, index, kind)


def _contents(folder: Path) -> str:
    """SHA-256 of all files of a folder: names, lengths and bytes."""
    key = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            key.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK):
                    key.update(chunk)
    return CONTENTS + key.hexdigest()


def _commit(model: str, revision: str | None, index: str, kind: str) -> str:
    """The commit that a revision of a repository leads to, on the hub or in its cache."""
    path = _index(model, revision, index, kind)
    _class_name(path, model, kind)
    return path.parent.name  # .../snapshots/<commit>/<index>; an index may lie in no folder of its own


def _index(model: str, revision: str | None, index: str, kind: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The texture backend 'diffusion' needs {error.name}: {INSTALL}", name=error.name
        ) from error
    page = f"https://huggingface.co/{model}"
    try:
        return Path(huggingface_hub.hf_hub_download(model, index, revision=revision))
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{model} is gated: its licence must be accepted first. Open {page}, accept the terms, then log in with "
            "`hf auth login`, or set HF_TOKEN to a token of that account."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"There is no repository {model} on the hub that you may see ({page}). Check its spelling; if it is "
            "private, log in with `hf auth login` or set HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{model} has no revision {revision!r}; {page}/commits lists them.") from error
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{model}{f' at {revision}' if revision else ''} is not in the hub's cache on this machine, and the hub "
            f"cannot be reached or HF_HUB_OFFLINE is set. Download it once where there is network "
            f"(`hf download {model}`), or give the folder of a copy."
        ) from error
    except errors.EntryNotFoundError as error:
        raise ValueError(f"{model} on the hub has no {index}; expected {kind}. See {page}.") from error
    except errors.HfHubHTTPError as error:
        raise ConnectionError(
            f"The hub refused {model}: {str(error).strip().splitlines()[0]} Try again later."
        ) from error
