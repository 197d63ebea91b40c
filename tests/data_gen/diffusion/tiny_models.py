"""Pipelines of the real classes with a few thousand random weights each, as folders that `from_pretrained` reads."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

torch.set_num_threads(1)  # other tests have the other cores
TEXT = 512  # tokens: without merges every letter is one
WIDTH = {"sd": 32, "sdxl": 64}  # of the text that the models attend to; SDXL reads two encoders


def write(folder: Path, kind: str, tokens: int = TEXT, seed: int = 0) -> tuple[str, str]:
    """The folders of a pipeline and a ControlNet of kind 'sd' or 'sdxl', made below `folder`."""
    return write_pipeline(folder / kind, kind, tokens, seed), write_controlnet(folder / f"{kind}_depth", kind)


def write_all(folder: Path) -> dict[str, str]:
    """The folders of both kinds by name: 'sd', 'sd_depth', 'sd_normal', 'sd_inpaint' and 'sdxl', ..."""
    made = {}
    for kind in WIDTH:
        made[kind], made[f"{kind}_depth"] = write(folder, kind)
        made[f"{kind}_inpaint"] = write_pipeline(folder / f"{kind}_inpaint", kind, inpainting=True)
        made[f"{kind}_normal"] = write_controlnet(folder / f"{kind}_normal", kind, seed=1)
    return made


def write_pipeline(folder: Path, kind: str, tokens: int = TEXT, seed: int = 0, inpainting: bool = False) -> str:
    """The folder of a pipeline; one for inpainting reads nine channels."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.parent, tokens)
    parts = {
        "vae": AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=8,
        ),
        "unet": UNet2DConditionModel(
            sample_size=32,
            in_channels=9 if inpainting else 4,
            out_channels=4,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **_blocks(kind),
        ),
        "text_encoder": _encoder(CLIPTextModel, tokens),
        "tokenizer": tokenizer,
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
            set_alpha_to_one=False,
        ),
    }
    if kind == "sd":
        nothing = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        pipeline = (StableDiffusionInpaintPipeline if inpainting else StableDiffusionPipeline)(**parts, **nothing)
    else:
        second = _encoder(CLIPTextModelWithProjection, tokens)
        made = StableDiffusionXLInpaintPipeline if inpainting else StableDiffusionXLPipeline
        pipeline = made(**parts, text_encoder_2=second, tokenizer_2=tokenizer)
    pipeline.save_pretrained(folder)
    return str(folder)


def write_controlnet(folder: Path, kind: str, seed: int = 0) -> str:
    """The folder of a ControlNet."""
    torch.manual_seed(seed)
    # two entries: it must shrink its picture as the VAE does
    network = ControlNetModel(conditioning_embedding_out_channels=(16, 32), in_channels=4, **_blocks(kind))
    for layer in (network.controlnet_cond_embedding.conv_out, network.controlnet_mid_block):
        torch.nn.init.normal_(layer.weight, std=0.3)  # made to do nothing at first, as in every ControlNet
    network.save_pretrained(folder)
    return str(folder)


def write_blanking(folder: Path, pipeline: str) -> None:
    """A copy of a pipeline of kind 'sd' with a safety checker to which everything is an offence."""
    shutil.copytree(pipeline, folder)
    parts = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 1}
    config = CLIPConfig(text_config=parts, vision_config=parts | {"image_size": 32, "patch_size": 8}, projection_dim=16)
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)  # everything is above such a threshold
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder / "feature_extractor")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "requires_safety_checker": True,
    }
    (folder / "model_index.json").write_text(json.dumps(index))


def _blocks(kind: str) -> dict:
    blocks = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "cross_attention_dim": WIDTH[kind],
        "norm_num_groups": 8,
        "attention_head_dim": 4,
    }
    if kind == "sdxl":  # size, crop and target: six numbers of 8 places each, beside the pooled text
        blocks |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 32 + 6 * 8,
        }
    return blocks


def _encoder(kind: type, tokens: int):
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=32, intermediate_size=37, projection_dim=32, num_attention_heads=4,
        num_hidden_layers=2, max_position_embeddings=tokens, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip
    return kind(config)


def _tokenizer(folder: Path, tokens: int) -> CLIPTokenizer:
    """Bytes as CLIP writes them, without merges, so that no vocabulary must be downloaded."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(code) for code in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    vocabulary = symbols + [symbol + "</w>" for symbol in symbols] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({symbol: i for i, symbol in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=tokens)
