"""Pipelines: the one file that imports torch and diffusers."""

import dataclasses
import functools
import logging
from collections.abc import Sequence

import numpy as np

from data_gen.diffusion import sources
from data_gen.diffusion.config import DiffusionConfig

# What `model_index.json` calls a pipeline whose parts paint with a ControlNet -> the class that does.
CLASSES = {
    "StableDiffusionPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionImg2ImgPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionControlNetPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLImg2ImgPipeline": "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLControlNetPipeline": "StableDiffusionXLControlNetPipeline",
}


@dataclasses.dataclass(frozen=True)
class Painting:
    """(S, S, 3) uint8, or None and the `fault` that left no picture."""

    picture: np.ndarray | None
    fault: str = ""


class Painter:
    """A loaded pipeline. `about` says in words which, for the record."""

    def __init__(self, pipeline, config: DiffusionConfig, about: dict[str, str]):
        self.about = about
        self._pipeline, self._config, self._batch = pipeline, config, config.batch

    def check_lengths(self, prompts: Sequence[str]) -> None:
        """Refuses prompts of which the text encoder would not see the end.

        Raises:
          ValueError: naming the first one.
        """
        tokenizers = (getattr(self._pipeline, name, None) for name in ("tokenizer", "tokenizer_2"))
        for tokenizer in filter(None, tokenizers):
            for text in prompts:
                length, most = len(tokenizer(text).input_ids), tokenizer.model_max_length
                if length > most:
                    raise ValueError(
                        f"A prompt has {length} tokens, and {self._config.model} reads {most}. Shorten "
                        f"diffusion.style or diffusion.avoid. The prompt: {text!r}"
                    )

    def paint(
        self, controls: Sequence[np.ndarray], texts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]
    ) -> list[Painting]:
        """Portraits by depth pictures (S, S) uint8, prompts and seeds, one each; each has its own random stream.

        Batches always have the same size, so that a portrait is the same bit for bit whatever it is painted beside;
        another size may round otherwise.

        Raises:
          RuntimeError: if not even a single one fits into the GPU's memory.
        """
        import torch

        done: list[Painting] = []
        while len(done) < len(seeds):
            rows = slice(len(done), len(done) + self._batch)
            try:
                done += self._painted(controls[rows], texts[rows], negatives[rows], seeds[rows])
            except torch.OutOfMemoryError as error:
                if self._batch == 1:
                    raise RuntimeError(
                        f"A single portrait of {self._config.size} pixels does not fit into the GPU's memory. Choose "
                        "a smaller diffusion.size or model, or a half precision."
                    ) from error
                self._batch = self._batch // 2
                torch.cuda.empty_cache()
                logging.warning("Out of GPU memory: from here on %d portraits at a time.", self._batch)
        return done

    def _painted(
        self, controls: Sequence[np.ndarray], texts: Sequence[str], negatives: Sequence[str], seeds: Sequence[int]
    ) -> list[Painting]:
        import torch
        from PIL import Image

        config, filled = self._config, [min(i, len(seeds) - 1) for i in range(self._batch)]
        result = self._pipeline(
            [texts[i] for i in filled],
            image=[Image.fromarray(controls[i]).convert("RGB") for i in filled],
            negative_prompt=[negatives[i] for i in filled],
            width=config.size,
            height=config.size,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            controlnet_conditioning_scale=config.control,
            # on the CPU whatever the device, so that a seed means the same noise everywhere
            generator=[torch.Generator("cpu").manual_seed(seeds[i]) for i in filled],
            output_type="np",
        )
        blanked = getattr(result, "nsfw_content_detected", None) or [False] * len(filled)
        return [_checked(picture, blank) for picture, blank in zip(result.images, blanked, strict=True)][: len(seeds)]


@functools.lru_cache(maxsize=1)
def load(config: DiffusionConfig) -> Painter:
    """Loads the models of pinned settings (`sources.pinned`) to the GPU, where there is one; once in a process.

    Raises:
      ModuleNotFoundError: if torch or diffusers is not installed; the message has the pip command.
      ValueError: if a model is of another kind than expected, or the scheduler is none.
      FileNotFoundError: if files are missing; without network, from the hub's cache.
    """
    try:
        import diffusers
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The texture backend 'diffusion' needs {error.name}: {sources.INSTALL}", name=error.name
        ) from error
    sources.require(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = config.precision if device == "cuda" else "float32"
    dtype = getattr(torch, precision)
    try:
        index = diffusers.DiffusionPipeline.load_config(config.model, **_at(config.model, config.revision))
        kind = CLASSES.get(index["_class_name"])
        if kind is None:
            raise ValueError(
                f"{config.model} is a {index['_class_name']}; expected a Stable Diffusion 1.5- or SDXL-class pipeline: "
                f"{', '.join(CLASSES)}."
            )
        network = diffusers.ControlNetModel.load_config(
            config.controlnet, **_at(config.controlnet, config.controlnet_revision)
        )
        if network["_class_name"] != "ControlNetModel":
            raise ValueError(
                f"{config.controlnet} is a {network['_class_name']}; expected a ControlNetModel for depth."
            )
        controlnet = diffusers.ControlNetModel.from_pretrained(
            config.controlnet, dtype=dtype, **_at(config.controlnet, config.controlnet_revision)
        )
        pipeline = getattr(diffusers, kind).from_pretrained(
            config.model,
            controlnet=controlnet,
            dtype=dtype,
            variant=config.variant,
            **_at(config.model, config.revision),
        )
    except OSError as error:  # what diffusers raises for whatever file is missing or damaged
        raise FileNotFoundError(
            f"{config.model} with {config.controlnet} cannot be loaded: {str(error).strip().splitlines()[0]} Download "
            "both once where there is network, or copy their folders again."
        ) from error
    _check_pair(config, pipeline.unet.config.cross_attention_dim, controlnet.config.cross_attention_dim)
    pipeline.scheduler = _scheduler(diffusers, config.scheduler).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.enable_slicing()  # decodes one picture at a time: most of the memory at a small cost
    if device == "cuda":  # attention is torch's own fused kernel, diffusers' default; convolutions like this layout
        pipeline.unet.to(memory_format=torch.channels_last)
        controlnet.to(memory_format=torch.channels_last)
    about = {
        "pipeline": kind,
        "scheduler": config.scheduler,
        "precision": precision,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "software": f"torch {torch.__version__}, diffusers {diffusers.__version__}, "
        f"transformers {transformers.__version__}",
    }
    return Painter(pipeline.to(device), config, about)


def _at(model: str, revision: str | None) -> dict[str, str | None]:
    return {} if sources.is_folder(model) else {"revision": revision}


def _scheduler(diffusers, name: str):
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise ValueError(f"diffusion.scheduler is {name!r}; expected a scheduler class of diffusers, as DDIMScheduler.")
    return found


def _check_pair(config: DiffusionConfig, pipeline: int, controlnet: int) -> None:
    if pipeline != controlnet:
        raise ValueError(
            f"{config.controlnet} is a ControlNet for another class of models than {config.model}: it attends to text "
            f"of width {controlnet}, the pipeline's is {pipeline}. Choose one made for the same base model."
        )


def _checked(picture: np.ndarray, blank: bool) -> Painting:
    if not np.isfinite(picture).all():
        return Painting(None, "not finite")
    if blank:
        return Painting(None, "safety checker")
    return Painting(np.round(255 * picture).astype(np.uint8))
