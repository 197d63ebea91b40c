"""The preparation of pictures: that of the files as they are published, written down from there."""

import pytest

from painjax.errors import UserError
from painjax.models.presets import find_preset
from painjax.weights.preprocessing import preprocessing

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_transformers_resize_and_crop():
    """As facebook/dinov2-* has it: the shorter side to 256, the middle 224 of it."""
    dinov2 = {
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_normalize": True,
        "image_mean": IMAGENET["mean"],
        "image_std": IMAGENET["std"],
        "resample": 3,
        "size": {"shortest_edge": 256},
    }
    values, source = preprocessing({}, dinov2, None, 3, "f")
    assert values == IMAGENET | {"size": 224, "crop": 0.875, "interpolation": "bicubic"}
    assert "preprocessor_config.json" in source


def test_transformers_without_crop_or_with_old_sizes():
    vit = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": 224}
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert preprocessing({}, vit, None, 3, "f")[0] == half | {"size": 224, "crop": 1.0, "interpolation": "bilinear"}
    uncropped = vit | {"size": {"height": 256, "width": 256}, "do_center_crop": None, "crop_size": None}
    assert preprocessing({}, uncropped, None, 3, "f")[0]["size"] == 256
    assert preprocessing({}, vit | {"do_normalize": False}, None, 3, "f")[0]["std"] == [1.0, 1.0, 1.0]


def test_timm_keeps_it_in_config_json():
    config = {
        "architecture": "vit_large_patch16_dinov3",
        "pretrained_cfg": {
            "input_size": [3, 256, 256],
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "mean": [0.43, 0.411, 0.296],
            "std": [0.213, 0.156, 0.143],
        },
    }
    values, source = preprocessing(config, {}, find_preset("dinov3_l"), 3, "f")
    assert values["mean"] == [0.43, 0.411, 0.296] and values["size"] == 256 and "config.json" in source


def test_known_weights_and_unknown_ones():
    values, source = preprocessing({}, {}, find_preset("vit_base_patch16_224.augreg_in1k"), 3, "f")
    assert values == {
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "size": 224,
        "crop": 0.9,
        "interpolation": "bicubic",
    }
    values, source = preprocessing({}, {}, None, 3, "f")
    assert values == IMAGENET | {"size": 224, "crop": 1.0, "interpolation": "bicubic"} and "assumed" in source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"height": 224, "width": 336}}, "only square"),
        ({"size": {"longest_edge": 224}}, "only square"),
        ({"image_std": [0.5, 0.5]}, "not understood"),
        ({"image_std": [0.5, 0.0, 0.5]}, "not understood"),
        ({"resample": 17}, "not understood"),
    ],
)
def test_what_is_not_understood(change, message):
    vit = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": 224}
    with pytest.raises(UserError, match=message):
        preprocessing({}, vit | change, None, 3, "f")


@pytest.mark.parametrize("described", [{"image_mean": None}, {"size": "big"}, {"size": []}, {"image_std": 3}])
def test_what_is_not_understood_is_one_sentence(described):
    with pytest.raises(UserError, match="beside f is not understood"):
        preprocessing({}, {"image_mean": [0.5], "image_std": [0.5], "size": 8} | described, None, 1, "f")


def test_nothing_where_timm_keeps_it_and_sizes_as_lists():
    assert preprocessing({"pretrained_cfg": None}, {}, None, 3, "f")[1].startswith("nothing beside")
    vit = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": [224, 224]}
    assert preprocessing({}, vit, None, 3, "f")[0]["size"] == 224


def test_pictures_of_other_channels():
    """Nothing is said of them by a name; figures for other channels would broadcast, or fail at the first picture."""
    values, source = preprocessing({}, {}, find_preset("dinov2_s"), 1, "f")
    assert values["mean"] == values["std"] == [0.5] and "0.5 as mean and standard deviation" in source
    grey = {"image_mean": [0.4], "image_std": [0.3], "size": 224}
    assert preprocessing({}, grey, None, 1, "f")[0]["mean"] == [0.4]
    assert preprocessing({}, grey | {"do_normalize": False}, None, 1, "f")[0]["mean"] == [0.0]
    with pytest.raises(UserError, match=r"for 3 channels \(mean .*take pictures of 1"):
        preprocessing({}, {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224}, None, 1, "f")
