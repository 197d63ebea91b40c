"""Settings of the diffusion backend: which models paint, how, and who looks at what they painted."""

import dataclasses

SMALLEST, LARGEST = 64, 2048  # pixels
PRECISIONS = ("float16", "bfloat16", "float32")
CHECKS = ("geometry", "none")


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """How portraits are painted.

    Attributes:
      model: hub id or folder of a Stable Diffusion 1.5- or SDXL-class pipeline.
      controlnet: hub id or folder of a ControlNet for depth of the same class.
      revision, controlnet_revision: branch, tag or commit on the hub, None the default branch; of folders, what
        `sources.pinned` says of their contents.
      variant: of the weights' files, as 'fp16' in `model.fp16.safetensors`; None: the files without one.
      size: side of a portrait in pixels, a multiple of 64; 512 is usual for Stable Diffusion 1.5, 1024 for SDXL.
      scheduler: name of a scheduler class of diffusers, set up from the pipeline's own scheduler.
      steps: of denoising; guidance: classifier-free; control: how strongly the depth binds.
      style: words that end every prompt; avoid: what the negative prompt names.
      tries: how often a portrait is painted until the check passes it.
      check: 'geometry' (silhouette, skin and symmetry against the geometry), 'none' (any finite picture), or
        'module:function', a landmark detector: see `checks.detector`; it comes on top of 'geometry'.
      precision: of weights and activations on a GPU; a CPU computes in float32.
      batch: identities at a time; halved where memory does not suffice. It changes no portrait but by rounding.

    Raises:
      ValueError: if any of them is out of its range.
    """

    model: str
    controlnet: str
    revision: str | None = None
    controlnet_revision: str | None = None
    variant: str | None = None
    size: int = 512
    scheduler: str = "DPMSolverMultistepScheduler"
    steps: int = 30
    guidance: float = 6.0
    control: float = 1.0
    style: str = "photograph, even frontal light, sharp focus"
    avoid: str = "hands, jewellery, glasses, make-up, hat, open mouth, smile, shadow, drawing, 3d render, text"
    tries: int = 4
    check: str = "geometry"
    precision: str = "float16"
    batch: int = 4

    def __post_init__(self):
        for name in ("model", "controlnet", "scheduler"):
            if not getattr(self, name):
                raise ValueError(f"diffusion.{name} is empty; expected {_EXPECTED[name]}.")
        for name, low, high in (("size", SMALLEST, LARGEST), ("steps", 1, 1000), ("tries", 1, 100), ("batch", 1, 1024)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"diffusion.{name} is {value!r}; expected a whole number from {low} to {high}.")
        if self.size % 64:
            raise ValueError(f"diffusion.size is {self.size}; expected a multiple of 64, as the models downscale.")
        for name in ("guidance", "control"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"diffusion.{name} is {getattr(self, name)!r}; expected a number from 0 to 100.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"diffusion.precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        module, _, function = self.check.partition(":")
        if self.check not in CHECKS and not (module and function):
            raise ValueError(
                f"diffusion.check is {self.check!r}; expected {', '.join(CHECKS)}, or module:function of a detector."
            )


_EXPECTED = {
    "model": "a hub id or the folder of a pipeline",
    "controlnet": "a hub id or the folder of a ControlNet for depth",
    "scheduler": "the name of a scheduler class of diffusers",
}
