"""How the pictures must be prepared for given weights: the numbers that belong to them."""

from collections.abc import Mapping
from typing import Any

from painjax.errors import UserError
from painjax.models.presets import IMAGENET, Preset

NOTHING = "nothing beside the weights: "  # what stands before an assumption
PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def preprocessing(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any], preset: Preset | None, channels: int, source: str
) -> tuple[dict[str, Any], str]:
    """What stands beside the weights, else what is known of weights of that name, else an assumption.

    Args:
      config: config.json; timm keeps the preparation in it.
      preprocessor: preprocessor_config.json of transformers.
      preset: the published encoder that these weights are of, if known.
      channels: of the model's pictures.
      source: the file, for errors.

    Returns:
      mean and std per channel of a picture in 0..1, size in pixels, crop (the part of each side that is kept),
      interpolation; and where that is from, for the model card (an assumption starts with `NOTHING`).

    Raises:
      UserError: if the file asks for what we do not do, or describes pictures of other channels.
    """
    timm = config.get("pretrained_cfg") or config
    try:
        if preprocessor:
            return _transformers(preprocessor, channels, source), "preprocessor_config.json beside the weights"
        if "mean" in timm and "std" in timm:
            return _timm(timm, channels, source), "config.json beside the weights"
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise UserError(f"The description of pictures beside {source} is not understood: {error!r}.") from error
    if preset is not None and channels == 3:
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in preset.preprocessing.items()
        }
        return values, "the published preparation of weights of this name"
    whose, mean, std = "ImageNet's", list(IMAGENET["mean"]), list(IMAGENET["std"])
    if channels != 3:
        whose, mean, std = "0.5 as", [0.5] * channels, [0.5] * channels
    assumed = {"mean": mean, "std": std, "size": 224, "crop": 1.0, "interpolation": "bicubic"}
    return assumed, f"{NOTHING}{whose} mean and standard deviation and 224 px are assumed"


def _timm(config: Mapping[str, Any], channels: int, source: str) -> dict[str, Any]:
    _, height, width = config.get("input_size", (3, 224, 224))
    return _checked(
        config["mean"],
        config["std"],
        _side({"height": height, "width": width}, source),
        config.get("crop_pct", 1.0),
        config.get("interpolation", "bicubic"),
        channels,
        source,
    )


def _transformers(config: Mapping[str, Any], channels: int, source: str) -> dict[str, Any]:
    resized = _side(config.get("size", 224), source)
    cropped = _side(config["crop_size"], source) if config.get("do_center_crop") and "crop_size" in config else resized
    normalises = config.get("do_normalize", True)
    return _checked(
        config.get("image_mean", IMAGENET["mean"]) if normalises else (0.0,) * channels,
        config.get("image_std", IMAGENET["std"]) if normalises else (1.0,) * channels,
        cropped,
        cropped / resized,
        PILLOW.get(config.get("resample", 3), "?"),
        channels,
        source,
    )


def _side(size: Any, source: str) -> int:
    if isinstance(size, Mapping):
        sides = {size[key] for key in ("height", "width", "shortest_edge") if key in size}
        if len(sides) == 1:
            return int(sides.pop())
        raise UserError(f"{source} is for pictures of size {dict(size)}; only square ones can be described.")
    if isinstance(size, list | tuple):
        return _side({"height": size[0], "width": size[-1]}, source)
    return int(size)


def _checked(
    mean: Any, std: Any, size: int, crop: float, interpolation: str, channels: int, source: str
) -> dict[str, Any]:
    mean, std = ([float(value) for value in values] for values in (mean, std))
    if len(mean) != len(std) or min(std) <= 0 or interpolation not in PILLOW.values():
        raise UserError(
            f"The description of pictures beside {source} is not understood: mean {mean}, std {std}, interpolation "
            f"{interpolation!r}."
        )
    if len(mean) != channels:
        raise UserError(
            f"The description of pictures beside {source} is for {len(mean)} channels (mean {mean}), and the weights "
            f"take pictures of {channels}. Write as many numbers into it, in a folder of your own."
        )
    return {"mean": mean, "std": std, "size": size, "crop": float(crop), "interpolation": interpolation}
