"""Pipelines: the one file that imports diffusers."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np

from data_gen.diffusion import sources
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig

# What `model_index.json` calls a pipeline -> the family of pipelines that its parts can be put into.
FAMILIES = {
    "StableDiffusionPipeline": "StableDiffusion",
    "StableDiffusionImg2ImgPipeline": "StableDiffusion",
    "StableDiffusionInpaintPipeline": "StableDiffusion",
    "StableDiffusionControlNetPipeline": "StableDiffusion",
    "StableDiffusionControlNetInpaintPipeline": "StableDiffusion",
    "StableDiffusionXLPipeline": "StableDiffusionXL",
    "StableDiffusionXLImg2ImgPipeline": "StableDiffusionXL",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXL",
    "StableDiffusionXLControlNetPipeline": "StableDiffusionXL",
    "StableDiffusionXLControlNetInpaintPipeline": "StableDiffusionXL",
}
PLAIN, INPAINTING = 4, 9  # channels that the UNet reads: latents; latents, mask, and what is not to be painted
# What CUDA, cuBLAS and cuDNN say where they find no memory; they take theirs beside torch's, which has its own error.
FULL = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED")  # fmt: skip
NOT_BEGUN = ("CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_NOT_INITIALIZED")  # for want of memory, or another reason
BEGINNING = 1 << 29  # bytes that such a library takes as it begins, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """(S, S, 3) uint8, a picture of which a part is to be painted: where `missing` (S, S) bool is true."""

    picture: np.ndarray
    missing: np.ndarray


@dataclasses.dataclass(frozen=True)
class Painting:
    """(S, S, 3) uint8, or None and the `fault` that left no picture."""

    picture: np.ndarray | None
    fault: str = ""


class Painter:
    """A loaded `pipeline`. `about` says in words which, for the record; `batch` is how many pictures it paints at a
    time."""

    def __init__(self, pipeline, config: DiffusionConfig, settings: DiffusionConfig | InpaintConfig, about: dict):
        self.pipeline, self.about, self.batch = pipeline, about, settings.batch
        self._settings = settings
        self._named = "diffusion" if settings is config else "diffusion.backdrop"
        self._scales = [settings.control, *(control.scale for control in config.more_controls)]

    def check_lengths(self, prompts: Sequence[str]) -> None:
        """Refuses prompts of which the text encoder would not see the end.

        Raises:
          ValueError: naming the first one.
        """
        tokenizers = (getattr(self.pipeline, name, None) for name in ("tokenizer", "tokenizer_2"))
        for tokenizer in filter(None, tokenizers):
            for text in prompts:
                length, most = len(tokenizer(text).input_ids), tokenizer.model_max_length
                if length > most:
                    raise ValueError(
                        f"A prompt has {length} tokens, and {self.about['model']} reads {most}. Shorten "
                        f"{self._named}'s style or avoid. The prompt: {text!r}"
                    )

    def paint(
        self,
        controls: Sequence[Sequence[np.ndarray]],
        texts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        starts: Sequence[Start] | None = None,
    ) -> list[Painting]:
        """Pictures by what `conditions` drew for each ControlNet, prompts and seeds, one each; each has its own random
        stream. A pipeline that inpaints also wants what is to be painted around.

        Batches always have the same size, so that a picture is the same bit for bit whatever it is painted beside;
        another size may round otherwise.

        Raises:
          RuntimeError: if not even a single one fits into the GPU's memory.
        """
        import torch

        done: list[Painting] = []
        while len(done) < len(seeds):
            rows = slice(len(done), len(done) + self.batch)
            begun = None if starts is None else starts[rows]
            try:
                done += self._painted(controls[rows], texts[rows], negatives[rows], seeds[rows], begun)
                continue
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if self.batch == 1:
                    raise RuntimeError(
                        f"A single picture of {self._settings.size} pixels does not fit into the GPU's memory. Choose "
                        f"a smaller {self._named}.size or model, or a half precision."
                    ) from error
            self.batch = self.batch // 2
            torch.cuda.empty_cache()  # here, where the error holds the tensors no more: cuBLAS takes what is free
            logging.warning("Out of GPU memory: from here on %d pictures at a time.", self.batch)
        return done

    def _painted(
        self,
        controls: Sequence[Sequence[np.ndarray]],
        texts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        starts: Sequence[Start] | None,
    ) -> list[Painting]:
        import torch

        settings, filled = self._settings, [min(i, len(seeds) - 1) for i in range(self.batch)]
        # one tensor for each ControlNet: of several, most pipelines take no lists of pictures
        conditions = [torch.stack([_tensor(controls[i][net]) for i in filled]) for net in range(len(self._scales))]
        scales = [float(scale) for scale in self._scales]
        if len(scales) == 1:
            (conditions,), (scales,) = conditions, scales
        if starts is None:
            asked = {"image": conditions}
        else:
            asked = {
                "image": torch.stack([_tensor(starts[i].picture) for i in filled]),
                "mask_image": torch.stack([self._mask(starts[i].missing) for i in filled]),
                "control_image": conditions,
                "strength": float(settings.strength),
            }
        result = self.pipeline(
            [texts[i] for i in filled],
            negative_prompt=[negatives[i] for i in filled],
            width=settings.size,
            height=settings.size,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            controlnet_conditioning_scale=scales,
            # on the CPU whatever the device, so that a seed means the same noise everywhere
            generator=[torch.Generator("cpu").manual_seed(seeds[i]) for i in filled],
            output_type="np",
            **asked,
        )
        blanked = getattr(result, "nsfw_content_detected", None) or [False] * len(filled)
        return [_checked(picture, blank) for picture, blank in zip(result.images, blanked, strict=True)][: len(seeds)]

    def _mask(self, missing: np.ndarray):
        """(1, S, S) of 0 and 1. Latents are coarse: one that holds any missing pixel is painted as a whole."""
        import torch

        cell = self.pipeline.vae_scale_factor
        cells = missing.reshape(len(missing) // cell, cell, -1, cell).any((1, 3))
        return torch.from_numpy(np.kron(cells, np.ones((cell, cell))).astype(np.float32))[None]


def load(config: DiffusionConfig, inpaint: InpaintConfig | None = None) -> Painter:
    """Loads the models of pinned settings (`sources.pinned`) to the GPU, where there is one. The last ones stay loaded.

    Args:
      inpaint: settings of this `config` that say how to paint around something; None: portraits are to be painted.

    Raises:
      ModuleNotFoundError: if torch or diffusers is not installed; the message has the pip command.
      ValueError: if a model is of another kind than expected, or damaged, or the scheduler is none.
      FileNotFoundError: if files are missing; without network, from the hub's cache.
      RuntimeError: if it does not fit into the GPU's memory.
    """
    asked = config, inpaint
    if asked not in _loaded:
        _loaded.clear()  # first, for a GPU may not hold two
        _loaded[asked] = _load(config, inpaint)
    return _loaded[asked]


_loaded: dict[tuple[DiffusionConfig, InpaintConfig | None], Painter] = {}


def libraries() -> tuple[ModuleType, ModuleType, ModuleType]:
    """The modules diffusers, torch and transformers.

    Raises:
      ModuleNotFoundError: if one is not installed; the message has the pip command.
    """
    try:
        import diffusers
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The texture backend 'diffusion' needs {error.name}: {sources.INSTALL}", name=error.name
        ) from error
    return diffusers, torch, transformers


def place(config: DiffusionConfig) -> tuple[str, str]:
    """The device that paints, and in what precision."""
    _, torch, _ = libraries()
    return ("cuda", config.precision) if torch.cuda.is_available() else ("cpu", "float32")


def _load(config: DiffusionConfig, inpaint: InpaintConfig | None) -> Painter:
    diffusers, torch, _ = libraries()
    sources.require(config)
    dtype = getattr(torch, place(config)[1])
    model = config if inpaint is None or inpaint.model is None else inpaint  # whose pipeline it is
    nets = ((config.controlnet, config.controlnet_revision, "depth"),)
    nets += tuple((control.model, control.revision, control.kind) for control in config.more_controls)
    with _readable(model.model, *(name for name, _, _ in nets)):
        index = diffusers.DiffusionPipeline.load_config(model.model, **_at(model.model, model.revision))
        networks = [diffusers.ControlNetModel.load_config(name, **_at(name, revision)) for name, revision, _ in nets]
    family = FAMILIES.get(index["_class_name"])
    if family is None:
        raise ValueError(
            f"{model.model} is a {index['_class_name']}; expected a Stable Diffusion 1.5- or SDXL-class pipeline: "
            f"{', '.join(FAMILIES)}."
        )
    for (name, _, what), network in zip(nets, networks, strict=True):
        if network["_class_name"] != "ControlNetModel":
            raise ValueError(f"{name} is a {network['_class_name']}; expected a ControlNetModel for {what}.")
    kind = f"{family}ControlNet{'Inpaint' if inpaint else ''}Pipeline"
    with _readable(model.model, *(name for name, _, _ in nets)):
        controlnets = [
            diffusers.ControlNetModel.from_pretrained(name, dtype=dtype, **_at(name, revision))
            for name, revision, _ in nets
        ]
        pipeline = getattr(diffusers, kind).from_pretrained(
            model.model,
            controlnet=controlnets if len(controlnets) > 1 else controlnets[0],
            dtype=dtype,
            variant=model.variant,
            **_at(model.model, model.revision),
        )
    for part in ("tokenizer", "tokenizer_2"):
        _check_tokenizer(model.model, part, getattr(pipeline, part, None))
    channels, expected = pipeline.unet.config.in_channels, (PLAIN, INPAINTING) if inpaint else (PLAIN,)
    if channels not in expected:
        raise ValueError(
            f"The UNet of {model.model} reads {channels} channels; expected {' or '.join(map(str, expected))}. "
            "Portraits need a plain text-to-image model, all else one like it or one made for inpainting."
        )
    for (name, _, _), controlnet in zip(nets, controlnets, strict=True):
        _check_pair(model.model, name, pipeline.unet.config.cross_attention_dim, controlnet.config.cross_attention_dim)
    return ready(pipeline, config, inpaint)


def ready(pipeline, config: DiffusionConfig, inpaint: InpaintConfig | None) -> Painter:
    """A pipeline with ControlNets, set up as the settings say and on the device that paints; `inpaint` as in `load`.

    Raises:
      ValueError: if there is no such scheduler.
      RuntimeError: if it does not fit into the GPU's memory.
    """
    diffusers, torch, transformers = libraries()
    device, precision = place(config)
    pipeline.scheduler = _scheduler(diffusers, config.scheduler).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    if config.more_controls:  # warns for each batch that its pictures share their conditions, which they do not
        logging.getLogger("diffusers.pipelines.controlnet").setLevel(logging.ERROR)
    pipeline.vae.enable_slicing()  # decodes one picture at a time: most of the memory at a small cost
    # attention stays torch's scaled_dot_product_attention, diffusers' default: on CPU and GPU its fastest fused kernel
    if device == "cuda":  # whose convolutions like this layout
        for network in (pipeline.unet, pipeline.controlnet):
            network.to(memory_format=torch.channels_last)
    about = {
        "model": config.model if inpaint is None or inpaint.model is None else inpaint.model,
        "pipeline": type(pipeline).__name__,
        "scheduler": config.scheduler,
        "precision": precision,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "software": f"torch {torch.__version__}, diffusers {diffusers.__version__}, "
        f"transformers {transformers.__version__}",
    }
    try:
        pipeline.to(device)
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        raise RuntimeError(
            f"{about['model']} and its ControlNets do not fit into what is free of the GPU's memory. Free more of it "
            "(nvidia-smi shows who has it), or choose a smaller model or a half precision."
        ) from error
    return Painter(pipeline, config, inpaint or config, about)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether torch, or a library below it, found too little of the GPU's memory."""
    import torch

    if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in FULL):
        return True
    return any(words in str(error) for words in NOT_BEGUN) and torch.cuda.mem_get_info()[0] < BEGINNING


@contextlib.contextmanager
def _readable(*models: str) -> Iterator[None]:
    """One sentence for all that diffusers, transformers and safetensors raise where files are missing or damaged."""
    import safetensors

    try:
        yield
    except OSError as error:
        raise FileNotFoundError(
            f"{', '.join(models)} cannot be loaded: {_first_line(error)} Download them once where there is "
            "network, or copy their folders again."
        ) from error
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{', '.join(models)} cannot be loaded: {_first_line(error)} Files of them are damaged, do not belong "
            "together, or the variant is not there. Download them again, or copy their folders again."
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).removesuffix(".") + "."


def _check_tokenizer(model: str, part: str, tokenizer) -> None:
    """Without its files transformers makes one that knows no word, and every prompt would be the same."""
    if tokenizer is not None and set(tokenizer("face").input_ids) <= set(tokenizer.all_special_ids):
        raise FileNotFoundError(
            f"The {part} of {model} knows no words: its vocabulary is missing. Copy or download it again."
        )


def _at(model: str, revision: str | None) -> dict[str, str | None]:
    return {} if sources.is_folder(model) else {"revision": revision}


def _scheduler(diffusers, name: str):
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        raise ValueError(f"diffusion.scheduler is {name!r}; expected a scheduler class of diffusers, as DDIMScheduler.")
    return found


def _check_pair(model: str, controlnet: str, width: int, controlnet_width: int) -> None:
    if width != controlnet_width:
        raise ValueError(
            f"{controlnet} is a ControlNet for another class of models than {model}: it attends to text of width "
            f"{controlnet_width}, the pipeline's is {width}. Choose one made for the same base model."
        )


def _tensor(picture: np.ndarray):
    """(S, S) or (S, S, 3) uint8 -> (3, S, S) float32 tensor, 0..1."""
    import torch

    colors = np.broadcast_to(picture.reshape(*picture.shape[:2], -1), (*picture.shape[:2], 3))
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(colors, -1, 0))).float() / 255


def _checked(picture: np.ndarray, blank: bool) -> Painting:
    if not np.isfinite(picture).all():
        return Painting(None, "not finite")
    if blank:
        return Painting(None, "safety checker")
    return Painting(np.round(255 * picture).astype(np.uint8))
