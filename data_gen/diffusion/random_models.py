"""Models of the published sizes with random weights: they paint noise, at what the real ones take.

Sizes: the config.json files of stable-diffusion-v1-5/stable-diffusion-v1-5 and lllyasviel/control_v11f1p_sd15_depth; of
stabilityai/stable-diffusion-xl-base-1.0 and diffusers/controlnet-depth-sdxl-1.0.
"""

from collections.abc import Mapping
from typing import Any

from data_gen.diffusion import pipelines
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig
from data_gen.diffusion.pipelines import Painter

CLASSES = {"sd": "StableDiffusion", "sdxl": "StableDiffusionXL"}  # family -> how its pipelines' names begin
TOKENS = 77  # that CLIP reads, whatever the length of the prompt

_CROSS = {"cross_attention_dim": 768, "attention_head_dim": 8}
_CROSS_XL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
_CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768,
}  # fmt: skip
_CLIP_BIG_G = {
    "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
    "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip

# Family -> what its parts are made with, beside their classes' defaults, which are those of Stable Diffusion 1.5.
SIZES = {
    "sd": {"unet": _CROSS, "controlnet": _CROSS, "vae": _VAE, "text_encoder": _CLIP_L},
    "sdxl": {
        "unet": _CROSS_XL | {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")},
        "controlnet": _CROSS_XL,
        "vae": _VAE | {"scaling_factor": 0.13025, "force_upcast": True},
        "text_encoder": _CLIP_L,
        "text_encoder_2": _CLIP_BIG_G,
    },
}


def networks(family: str, device: str, precision: str) -> dict[str, Any]:
    """The networks of a family of `SIZES` by the names that pipelines give them, made on a device.

    Args:
      device, precision: torch's names for them, such as 'cuda' and 'float16'. On 'meta' they take neither memory nor
        time.

    Raises:
      ModuleNotFoundError: if torch or diffusers is not installed; the message has the pip command.
    """
    diffusers, torch, transformers = pipelines.libraries()
    classes = {
        "unet": diffusers.UNet2DConditionModel,
        "controlnet": diffusers.ControlNetModel,
        "vae": diffusers.AutoencoderKL,
    }
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, precision))
    try:
        with torch.device(device):
            made = {name: kind(**SIZES[family][name]) for name, kind in classes.items()}
            for name in ("text_encoder", "text_encoder_2"):
                if name in SIZES[family]:
                    pooled = name == "text_encoder_2"
                    encoder = transformers.CLIPTextModelWithProjection if pooled else transformers.CLIPTextModel
                    made[name] = encoder(transformers.CLIPTextConfig(**SIZES[family][name]))
    finally:
        torch.set_default_dtype(before)
    return {name: network.eval().requires_grad_(False) for name, network in made.items()}


def painter(networks: Mapping[str, Any], config: DiffusionConfig, inpaint: InpaintConfig | None) -> Painter:
    """A painter with networks that `networks` made; `inpaint` as in `pipelines.load`."""
    diffusers, _, transformers = pipelines.libraries()
    extended = "text_encoder_2" in networks
    # one letter: CLIP's vocabulary would have to be downloaded, and every prompt is filled up to TOKENS
    vocabulary = {"a": 0, "a</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)
    others = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if extended:
        others = {"tokenizer_2": tokenizer}
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
    )
    kind = f"{CLASSES['sdxl' if extended else 'sd']}ControlNet{'Inpaint' if inpaint else ''}Pipeline"
    pipeline = getattr(diffusers, kind)(**networks, tokenizer=tokenizer, scheduler=scheduler, **others)
    return pipelines.ready(pipeline, config, inpaint)
