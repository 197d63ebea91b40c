"""Floating-point operations of one picture: its matrix products and convolutions, two for each multiply-add.

They are counted on torch's device 'meta', which computes shapes only: without weights and memory, in seconds.
"""

from collections.abc import Mapping
from typing import Any

from data_gen.diffusion import pipelines
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig


def count(parts: Mapping[str, Any], config: DiffusionConfig, inpaint: InpaintConfig | None) -> int:
    """Operations of one picture as `pipelines.Painter` paints it, without a safety checker.

    Args:
      parts: `components` of a pipeline with ControlNets, or `random_models.networks`.
      config: with its size; `inpaint`, with its own, as in `pipelines.load`.

    Raises:
      ModuleNotFoundError: if torch or diffusers is not installed; the message has the pip command.
    """
    settings, unet, controlnet = inpaint or config, _on_meta(parts["unet"]), parts["controlnet"]
    controlnets = [_on_meta(net) for net in getattr(controlnet, "nets", [controlnet])]
    vae = _on_meta(parts["vae"])
    encoders = [_on_meta(parts[name]) for name in ("text_encoder", "text_encoder_2") if parts.get(name) is not None]
    side = settings.size // 2 ** (len(vae.config.block_out_channels) - 1)  # of the latents
    picture = (1, 3, settings.size, settings.size)

    text = sum(_counted(net, _zeros(1, net.config.max_position_embeddings).long()) for net in encoders)
    tokens = encoders[0].config.max_position_embeddings
    step = _counted(unet, **_noisy(unet, side, tokens))
    step += sum(_counted(net, **_noisy(net, side, tokens), controlnet_cond=_zeros(*picture)) for net in controlnets)
    decode = _counted(vae.decode, _zeros(1, vae.config.latent_channels, side, side))
    passes = 2 if settings.guidance > 1 else 1  # with the prompt, and with the negative one
    if inpaint is None:
        return passes * (text + settings.steps * step) + decode
    # What is kept is encoded; so is the whole picture, to begin with or where the UNet does not read what is kept.
    encodings = 1 + (unet.config.in_channels == pipelines.PLAIN or settings.strength < 1)
    encode = _counted(vae.encode, _zeros(*picture))
    return passes * (text + int(settings.steps * settings.strength) * step) + encodings * encode + decode


def _on_meta(network):
    """A network of the same sizes without weights."""
    _, torch, _ = pipelines.libraries()
    if network.device.type == "meta":
        return network
    with torch.device("meta"):
        if hasattr(network, "from_config"):  # diffusers' way; the text encoders are of transformers
            return type(network).from_config(network.config)
        return type(network)(network.config)


def _noisy(network, side: int, tokens: int) -> dict[str, Any]:
    """What a UNet or a ControlNet reads at each step: latents of `side` x `side` places, and so many tokens."""
    config = network.config
    read = {
        "sample": _zeros(1, config.in_channels, side, side),
        "timestep": _zeros(),
        "encoder_hidden_states": _zeros(1, tokens, config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":  # SDXL: six numbers beside the pooled text
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        read["added_cond_kwargs"] = {"text_embeds": _zeros(1, pooled), "time_ids": _zeros(1, 6)}
    return read


def _zeros(*shape: int):
    _, torch, _ = pipelines.libraries()
    return torch.zeros(shape, device="meta")


def _counted(function, *arguments, **named) -> int:
    _, torch, _ = pipelines.libraries()
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*arguments, **named)
    return counter.get_total_flops()
