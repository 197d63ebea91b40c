"""Whose tensors these are, and the configuration of the model that they make."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from painjax.errors import UserError
from painjax.model_folder import KINDS
from painjax.models.presets import Preset, find_preset
from painjax.models.vit import ViTConfig
from painjax.weights.layout import Layout
from painjax.weights.layouts import LAYOUTS, official
from painjax.weights.tensors import Tensors

_ACTIVATIONS = {"gelu": "gelu", "swiglu": "silu"}  # by model.mlp, as transformers calls them


def recognise(tensors: Tensors, source: str) -> tuple[Layout, Tensors]:
    """The layout of a file, and its tensors under the names of that layout.

    Raises:
      UserError: if it is none that we read.
    """
    for layout in LAYOUTS.values():
        for spellings in ((), layout.renamed):
            names = {name: _renamed(name, spellings) for name in tensors}
            prefix = _prefix(set(names.values()), layout)
            if prefix is not None:
                return layout, tensors.renamed({old: new.removeprefix(prefix) for old, new in names.items()})
    known = ", ".join(layout.title for layout in LAYOUTS.values())
    raise UserError(
        f"{source} holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:4])}, ...) of no architecture that can be "
        f"imported: {known}."
    )


def configure(
    layout: Layout,
    tensors: Tensors,
    source: str,
    *,
    config: Mapping[str, Any],
    hyper_parameters: Mapping[str, Any],
    names: Sequence[str],
    heads: int | None = None,
) -> ViTConfig:
    """The model's configuration: what the tensors tell, and what they cannot from what stands beside them.

    Args:
      layout, tensors: of `recognise`.
      source: the file, for errors.
      config: config.json of transformers or timm, {} if there is none.
      hyper_parameters: of the authors' checkpoint, {} otherwise.
      names: what the weights are called, in which the name of a published encoder may be.
      heads: the number of attention heads, if the user gave it.

    Raises:
      UserError: if something is missing, or two things contradict.
    """
    try:
        fields = layout.sizes(tensors.shapes)
    except (LookupError, ValueError, ZeroDivisionError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else "its tensors have other dimensions"
        raise UserError(
            f"{source} names its tensors as {layout.title} does, but {what}: it is a variant that cannot be imported, "
            "or the file is damaged."
        ) from error
    if layout.name.startswith("hf_"):
        try:
            fields |= _from_transformers(config, fields, source)
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"The config.json beside {source} is not understood: {error}.") from error
    if layout is official.OFFICIAL:
        fields |= official.config_fields(hyper_parameters, source)
    fields["heads"] = _heads(fields, heads, known_preset(names), source)
    kind = KINDS[layout.kind][1]
    try:
        return kind(**fields)
    except ValueError as error:
        raise UserError(f"{source} makes no model that we have: {error}") from error


def known_preset(names: Sequence[str]) -> Preset | None:
    """The first published encoder that one of `names` speaks of."""
    return next((preset for preset in map(find_preset, names) if preset is not None), None)


def _renamed(name: str, spellings: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in spellings:
        name = re.sub(pattern, replacement, name)
    return name


def _prefix(names: set[str], layout: Layout) -> str | None:
    """What stands before the names of the layout, such as 'dinov2.' in a classifier; None if it is another layout."""
    first, *others = layout.markers
    prefixes = [name.removesuffix(first) for name in names if name == first or name.endswith(f".{first}")]
    fitting = [prefix for prefix in prefixes if all(prefix + marker in names for marker in others)]
    return min(fitting, key=len) if fitting else None


def _from_transformers(config: Mapping[str, Any], fields: dict[str, Any], source: str) -> dict[str, Any]:
    told = {}
    for name, theirs in (("norm_epsilon", "layer_norm_eps"), ("rope_theta", "rope_theta")):
        if theirs in config:
            told[name] = float(config[theirs])
    for name in ("shift", "jitter", "rescale"):
        told[f"rope_{name}"] = float(config.get(f"pos_embed_{name}") or 0)
    if "num_attention_heads" in config:
        told["heads"] = int(config["num_attention_heads"])
    for name, theirs in (("width", "hidden_size"), ("depth", "num_hidden_layers"), ("patch_size", "patch_size")):
        if config.get(theirs, fields[name]) != fields[name]:
            raise UserError(
                f"{source} has {name} {fields[name]}, but the config.json beside it says {theirs} {config[theirs]}: it "
                "is of another model."
            )
    # Dinov2's gated MLP is SiLU whatever its configuration says.
    gated = fields["mlp"] == "swiglu"
    activation, expected = config.get("hidden_act"), _ACTIVATIONS[fields["mlp"]]
    if activation is not None and activation != expected and not (gated and "use_swiglu_ffn" in config):
        raise UserError(
            f"{source} is of a model with the activation {activation!r} (hidden_act in its config.json) and a "
            f"{'gated' if gated else 'plain'} MLP; expected {expected!r}."
        )
    return told


def _heads(fields: Mapping[str, Any], flag: int | None, preset: Preset | None, source: str) -> int:
    told = fields.get("heads")
    why = "no config.json beside it says so, and its name is not that of a published model"
    if told is None and preset is not None:
        same = all(preset.model[name] == fields[name] for name in ("width", "depth"))
        told = preset.model["heads"] if same else None
        why = f"it is called after a model of width {preset.model['width']} and depth {preset.model['depth']}, but has "
        why += f"{fields['width']} and {fields['depth']}"
    if flag is not None:
        if told not in (None, flag):
            raise UserError(f"--heads={flag} was given, but {source} is of a model with {told} attention heads.")
        return flag
    if told is None:
        raise UserError(
            f"{source} does not tell its number of attention heads: {why}. Give it with --heads=N (the published "
            "models have one per 64 channels of width)."
        )
    return told
