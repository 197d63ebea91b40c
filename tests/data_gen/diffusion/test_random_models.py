"""Random models: as large as the published ones, and painted with by the real code."""

import numpy as np
import pytest

from data_gen.diffusion import pipelines, random_models
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig

PARAMETERS = {  # of the published weights
    "sd": {"unet": 859_520_964, "controlnet": 361_279_120, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sdxl": {
        "unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840,
    },
}  # fmt: skip
SMALL = {"block_out_channels": (32, 64, 64, 64)}
ENCODER = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}


@pytest.mark.parametrize("family", ["sd", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_sizes_are_the_published_ones(family):
    networks = random_models.networks(family, "meta", "float16")
    assert {weight.device.type for network in networks.values() for weight in network.parameters()} == {"meta"}
    count = {name: sum(weight.numel() for weight in network.parameters()) for name, network in networks.items()}
    assert PARAMETERS[family].items() <= count.items()


@pytest.fixture(params=["sd", "sdxl"])
def small(request, monkeypatch):
    """A family whose parts are narrow."""
    sizes = random_models.SIZES[request.param]
    width = 64 if request.param == "sd" else 128
    blocks = {"block_out_channels": (32, 64, 64, 64)[: len(sizes["unet"].get("block_out_channels", "four"))]}
    narrow = {"unet": blocks | {"cross_attention_dim": width}, "vae": {"block_out_channels": (32,) * 4}}
    narrow["controlnet"] = narrow["unet"]
    if request.param == "sdxl":
        narrow["unet"] |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64 + 48}
        narrow["unet"] |= {"attention_head_dim": (2, 4, 4), "transformer_layers_per_block": 1}
    encoder = ENCODER | {"projection_dim": 64}
    monkeypatch.setitem(
        random_models.SIZES, request.param, {name: part | narrow.get(name, encoder) for name, part in sizes.items()}
    )
    return request.param


def test_they_paint(small):
    inpaint = InpaintConfig(size=64, steps=2, batch=2)
    config = DiffusionConfig("random", "random", size=64, steps=1, batch=2, backdrop=inpaint)
    networks = random_models.networks(small, *pipelines.place(config))
    grey = np.full((64, 64), 128, np.uint8)
    around = pipelines.Start(np.zeros((64, 64, 3), np.uint8), grey > 0)
    painted = [
        random_models.painter(networks, config, None).paint([[grey]] * 2, ["a"] * 2, ["b"] * 2, [0, 1]),
        random_models.painter(networks, config, inpaint).paint(
            [[grey]] * 2, ["a"] * 2, ["b"] * 2, [0, 1], [around] * 2
        ),
    ]
    for pictures in painted:
        assert [picture.fault for picture in pictures] == ["", ""]
        assert pictures[0].picture.shape == (64, 64, 3)
        assert not np.array_equal(pictures[0].picture, pictures[1].picture)
