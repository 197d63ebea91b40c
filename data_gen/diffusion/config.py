"""Settings of the diffusion backend: which models paint, how, and who looks at what they painted."""

import dataclasses
from typing import ClassVar

SMALLEST, LARGEST = 64, 2048  # pixels
PRECISIONS = ("float16", "bfloat16", "float32")
CHECKS = ("geometry", "none")
CONDITIONS = ("normal", "landmarks")


@dataclasses.dataclass(frozen=True)
class ControlConfig:
    """A ControlNet beside that for depth.

    Attributes:
      kind: one of `CONDITIONS`: what its picture shows; `conditions` draws it.
      model: hub id or folder, of the class of the pipeline.
      revision: as `DiffusionConfig.controlnet_revision`.
      scale: how strongly it binds.

    Raises:
      ValueError: if any of them is out of its range.
    """

    kind: str
    model: str
    revision: str | None = None
    scale: float = 0.6

    def __post_init__(self):
        if self.kind not in CONDITIONS:
            raise ValueError(f"A ControlNet's kind is {self.kind!r}; expected one of {', '.join(CONDITIONS)}.")
        if not self.model:
            raise ValueError(f"The ControlNet for {self.kind} has no model; expected a hub id or a folder.")
        if not 0 <= self.scale <= 100:
            raise ValueError(f"The ControlNet for {self.kind} has scale {self.scale!r}; expected 0 to 100.")


@dataclasses.dataclass(frozen=True)
class InpaintConfig:
    """How the missing part of a picture is painted: what surrounds a face.

    Attributes:
      model: hub id or folder of a pipeline of the class of the ControlNets, made for inpainting (nine channels) or
        not (four); None: the one that paints portraits.
      revision, variant: as `DiffusionConfig`'s.
      size: side in pixels of what the model sees and paints, a multiple of 64; None: what is usual for the class of the
        portraits' model. The result is brought to the size of the frame.
      steps: of denoising at strength 1; guidance: classifier-free; control: how strongly the depth binds.
      strength: 0..1, how far the model may go from what was rendered there; 1: it does not see it.
      style: words that end every prompt; avoid: what the negative prompt names.
      tries: how often a picture is painted until it is accepted.
      batch: pictures at a time; halved where memory does not suffice. It changes no picture but by rounding.

    Raises:
      ValueError: if any of them is out of its range.
    """

    WHERE: ClassVar[str] = "diffusion.backdrop"  # what refusals call these settings

    model: str | None = None
    revision: str | None = None
    variant: str | None = None
    size: int | None = None
    steps: int = 30
    guidance: float = 6.0
    control: float = 0.8
    strength: float = 0.8
    style: str = "photograph, background out of focus"
    avoid: str = "second person, hands, jewellery, glasses, hat, frame, drawing, 3d render, text"
    tries: int = 3
    batch: int = 6

    def __post_init__(self):
        _check(self, self.WHERE)
        if self.model == "":
            raise ValueError(f"{self.WHERE}.model is empty; expected None, a hub id or the folder of a pipeline.")
        if not 0 < self.strength <= 1 or int(self.steps * self.strength) < 1:
            raise ValueError(
                f"{self.WHERE}.strength is {self.strength!r} of {self.steps} steps; expected more than 0 and at "
                "most 1, and one step at least."
            )


@dataclasses.dataclass(frozen=True)
class SideViewConfig(InpaintConfig):
    """How skin that a portrait hardly shows is painted, on the head seen from the side.

    Attributes:
      yaws: of the cameras in degrees, one after another; positive on the subject's left.
      style, avoid: as `InpaintConfig`'s, for light that can be told from colour.

    Raises:
      ValueError: if any of them is out of its range.
    """

    WHERE: ClassVar[str] = "diffusion.side_views"

    style: str = "photograph, even light, sharp focus"
    avoid: str = "hands, jewellery, glasses, make-up, hat, open mouth, smile, shadow, drawing, 3d render, text"
    yaws: tuple[float, ...] = (-50.0, 50.0)

    def __post_init__(self):
        super().__post_init__()
        if not self.yaws or len({*self.yaws}) < len(self.yaws) or not all(20 <= abs(yaw) <= 90 for yaw in self.yaws):
            raise ValueError(
                f"{self.WHERE}.yaws is {self.yaws!r}; expected different angles of 20 to 90 degrees to either side."
            )


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """How portraits are painted.

    Attributes:
      model: hub id or folder of a Stable Diffusion 1.5- or SDXL-class pipeline.
      controlnet: hub id or folder of a ControlNet for depth of the same class.
      revision, controlnet_revision: branch, tag or commit on the hub, None the default branch; of folders, what
        `sources.pinned` says of their contents.
      variant: of the weights' files, as 'fp16' in `model.fp16.safetensors`; None: the files without one.
      size: side of a portrait in pixels, a multiple of 64; None: what is usual for the model's class, 512 for Stable
        Diffusion 1.5 and 1024 for SDXL (`sources.pinned` says which).
      scheduler: name of a scheduler class of diffusers, set up from the pipeline's own scheduler.
      steps: of denoising; guidance: classifier-free; control: how strongly the depth binds.
      style: words that end every prompt; avoid: what the negative prompt names.
      tries: how often a portrait is painted until the check passes it.
      check: 'geometry' (silhouette, skin and symmetry against the geometry), 'none' (any finite picture), or
        'module:function', a landmark detector: see `checks.detector`; it comes on top of 'geometry'.
      precision: of weights and activations on a GPU; a CPU computes in float32.
      batch: identities at a time; halved where memory does not suffice. It changes no portrait but by rounding.
      more_controls: further ControlNets, each of another kind.
      backdrop: how hair, clothes and room are painted around the faces of all frames; None: they stay as rendered.
      side_views: how the sides of the face are painted that the portrait hardly shows; None: each side is completed
        from the other.

    Raises:
      ValueError: if any of them is out of its range.
    """

    model: str
    controlnet: str
    revision: str | None = None
    controlnet_revision: str | None = None
    variant: str | None = None
    size: int | None = None
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
    more_controls: tuple[ControlConfig, ...] = ()
    backdrop: InpaintConfig | None = None
    side_views: SideViewConfig | None = None

    def __post_init__(self):
        for name in ("model", "controlnet", "scheduler"):
            if not getattr(self, name):
                raise ValueError(f"diffusion.{name} is empty; expected {_EXPECTED[name]}.")
        _check(self, "diffusion")
        if self.precision not in PRECISIONS:
            raise ValueError(f"diffusion.precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        module, _, function = self.check.partition(":")
        if self.check not in CHECKS and not (module and function):
            raise ValueError(
                f"diffusion.check is {self.check!r}; expected {', '.join(CHECKS)}, or module:function of a detector."
            )
        kinds = [control.kind for control in self.more_controls]
        if len({*kinds}) < len(kinds):
            raise ValueError(f"diffusion.more_controls has the kinds {', '.join(kinds)}; expected each once at most.")


def _check(config: DiffusionConfig | InpaintConfig, where: str) -> None:
    """What the settings of all paintings have in common."""
    for name, low, high in (("size", SMALLEST, LARGEST), ("steps", 1, 1000), ("tries", 1, 100), ("batch", 1, 1024)):
        value = getattr(config, name)
        if (name, value) != ("size", None) and (type(value) is not int or not low <= value <= high):
            raise ValueError(f"{where}.{name} is {value!r}; expected a whole number from {low} to {high}.")
    if config.size and config.size % 64:
        raise ValueError(f"{where}.size is {config.size}; expected a multiple of 64, as the models downscale.")
    for name in ("guidance", "control"):
        if not 0 <= getattr(config, name) <= 100:
            raise ValueError(f"{where}.{name} is {getattr(config, name)!r}; expected a number from 0 to 100.")


_EXPECTED = {
    "model": "a hub id or the folder of a pipeline",
    "controlnet": "a hub id or the folder of a ControlNet for depth",
    "scheduler": "the name of a scheduler class of diffusers",
}
