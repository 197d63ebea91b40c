"""Settings of the generator, refused here if nothing could come of them."""

import dataclasses

from data_gen.diffusion.config import DiffusionConfig
from data_gen.face_models import FACE_MODELS
from data_gen.plan import PLANS
from data_gen.textures import BACKENDS

SMALLEST_PICTURE, LARGEST_PICTURE = 16, 4096  # pixels: what a framebuffer holds at twice the side is 8192


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Everything beside the seed that shapes an example.

    Attributes:
      face_model: one of `face_models.FACE_MODELS`.
      image_size: side of the frames in pixels, 16..4096.
      texture_backend: one of `textures.BACKENDS`.
      texture_size: side of the UV atlas in texels, 16..8192.
      dataset_seed: 0 <= seed < 2**24; 0 is a seed like any other.
      plan: one of `plan.PLANS`: which frames each identity has.
      neutral_variation: whether the neutral frames of plan 'pain', the one plan with neutral stills, move a little,
        outside PSPI. Else nothing moves on them, as never on neutral references, nor on the neutral frames of clips.
      diffusion: settings of the texture backend 'diffusion'; None with any other.

    Raises:
      ValueError: if any of them is none of these.
    """

    face_model: str
    image_size: int
    texture_backend: str = "procedural"
    texture_size: int = 512
    dataset_seed: int = 0
    plan: str = "pain"
    neutral_variation: bool = False
    diffusion: DiffusionConfig | None = None

    def __post_init__(self):
        for name, choices in (("face_model", FACE_MODELS), ("texture_backend", BACKENDS), ("plan", PLANS)):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
        if (self.texture_backend == "diffusion") != (self.diffusion is not None):
            raise ValueError(
                f"diffusion is {self.diffusion!r} with texture_backend {self.texture_backend!r}; expected a "
                "DiffusionConfig with 'diffusion', and None with any other."
            )
        for name, low, high in (
            ("image_size", SMALLEST_PICTURE, LARGEST_PICTURE),
            ("texture_size", SMALLEST_PICTURE, 2 * LARGEST_PICTURE),
            ("dataset_seed", 0, 2**24 - 1),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; expected a whole number from {low} to {high}.")
