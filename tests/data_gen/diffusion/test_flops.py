"""Operations of a picture, against sums by hand over the layers that a real painting runs through."""

import contextlib

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention
from transformers.models.clip.modeling_clip import CLIPAttention

from data_gen.diffusion import flops, pipelines, random_models, sources
from data_gen.diffusion.config import ControlConfig, DiffusionConfig, InpaintConfig
from tests.data_gen.diffusion import tiny_models

pytestmark = pytest.mark.usefixtures("quiet")

SIZE, BATCH = 64, 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_models.write_all(tmp_path_factory.mktemp("models"))


def by_hand(module, arguments, named, output) -> int:
    """Two for each multiply-add."""
    if isinstance(module, torch.nn.Conv2d):
        return 2 * output.numel() * module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
    if isinstance(module, torch.nn.Linear):
        return 2 * output.numel() * module.in_features
    read = arguments[0] if arguments else named["hidden_states"]
    if isinstance(module, CLIPAttention):
        count, tokens, width = read.shape
        return 4 * count * tokens * tokens * width
    other = named.get("encoder_hidden_states")
    queries = read.flatten(2).shape[2] if read.ndim == 4 else read.shape[1]  # the VAE's are (B, C, H, W)
    keys = queries if other is None else other.shape[1]
    return 4 * len(read) * queries * keys * module.inner_dim


@contextlib.contextmanager
def summed(pipeline):
    """Into the list: the operations of each layer that runs."""
    done = []
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    layers = (torch.nn.Conv2d, torch.nn.Linear, Attention, CLIPAttention)
    handles = [
        module.register_forward_hook(lambda *ran: done.append(by_hand(*ran)), with_kwargs=True)
        for network in networks
        for module in network.modules()
        if isinstance(module, layers)
    ]
    yield done
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    "kind, changes, inpaint",
    [
        ("sd", {}, None),
        ("sdxl", {"steps": 3}, None),
        ("sd", {"guidance": 1.0}, None),  # without a pass for the negative prompt
        ("sd", {"more": "normal"}, None),
        ("sd", {}, {"steps": 5, "strength": 0.5}),
        ("sdxl", {}, {"steps": 2, "strength": 1.0}),
        ("sd", {}, {"steps": 2, "strength": 1.0, "model": "inpaint"}),
        ("sdxl", {}, {"steps": 3, "strength": 0.7, "model": "inpaint"}),
    ],
)
def test_what_is_counted_without_weights_is_what_a_painting_computes(folders, kind, changes, inpaint):
    changes = {"steps": 2} | changes
    if changes.pop("more", None):
        changes["more_controls"] = (ControlConfig("normal", folders["sd_normal"]),)
    if inpaint is not None:
        own = inpaint.get("model") and {"model": folders[f"{kind}_{inpaint['model']}"]}
        inpaint = InpaintConfig(**{"size": SIZE, "batch": BATCH, **inpaint, **(own or {})})
    config = sources.pinned(
        DiffusionConfig(folders[kind], folders[f"{kind}_depth"], size=SIZE, batch=BATCH, backdrop=inpaint, **changes)
    )
    painter = pipelines.load(config, config.backdrop)
    grey = np.full((SIZE, SIZE), 128, np.uint8)
    around = pipelines.Start(np.zeros((SIZE, SIZE, 3), np.uint8), grey > 0)
    controls = [[grey] * (1 + len(config.more_controls))] * BATCH
    with summed(painter.pipeline) as done:
        painter.paint(controls, ["a"] * BATCH, ["b"] * BATCH, [0, 1], None if inpaint is None else [around] * BATCH)
    assert len(done) > 50
    assert flops.count(painter.pipeline.components, config, config.backdrop) == sum(done) / BATCH


def test_the_first_convolution_and_an_attention_of_the_published_unet():
    """Of 64 x 64 latents of 4 channels into 320; and of 8 x 8 places of 1280 channels to 77 tokens of 768."""
    unet = random_models.networks("sd", "meta", "float32")["unet"]
    places = torch.zeros(1, 64, 1280, device="meta")
    tokens = torch.zeros(1, 77, 768, device="meta")
    assert flops._counted(unet.conv_in, torch.zeros(1, 4, 64, 64, device="meta")) == 2 * 64 * 64 * 320 * 4 * 3 * 3
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn2
    projections = 2 * 64 * 1280 * 1280 * 2 + 2 * 77 * 768 * 1280 * 2  # queries and outputs; keys and values
    products = 2 * 64 * 77 * 1280 * 2
    assert flops._counted(attention, places, encoder_hidden_states=tokens) == projections + products
