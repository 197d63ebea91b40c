"""The variants of 3DPain by name: what `tfds build --config=NAME` and `painjax gallery --config=NAME` draw."""

import dataclasses
import os

from data_gen.diffusion.config import DiffusionConfig, InpaintConfig
from data_gen.generator_config import GeneratorConfig
from data_gen.plan import frames_per_identity


@dataclasses.dataclass(frozen=True)
class Variant:
    """How many people, and the generator's settings."""

    identities: int
    generator: GeneratorConfig

    @property
    def frames(self) -> int:
        """Number of examples over all splits."""
        return self.identities * frames_per_identity(self.generator.plan)


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a variant is: number of identities, side of a frame in pixels, side of the UV atlas in texels."""

    identities: int
    pixels: int
    texels: int
    dataset_seed: int = 0
    plan: str = "pain"


# Data sets of one dataset seed have the same people: `distractors` and `clips` go with `full`, and split alike.
SIZES = {
    "tiny": Size(6, 64, 256, dataset_seed=2),  # this seed puts somebody into every split
    "quick": Size(72, 112, 512),  # two of each age x gender x ethnicity cell
    "full": Size(2500, 224, 1024),
    "full_512": Size(2500, 512, 2048),
    "distractors": Size(500, 224, 1024, plan="distractors"),
    "distractors_tiny": Size(6, 64, 256, dataset_seed=2, plan="distractors"),
    "clips": Size(250, 224, 1024, plan="clips"),
    "clips_tiny": Size(6, 64, 256, dataset_seed=2, plan="clips"),
}
FACE_MODEL_SUFFIXES = {"procedural": "", "ict": "_ict", "flame": "_flame"}

# With the suffixes `_diffusion` and `_backdrop`, which is with backdrops too; other models, ids on the hub or folders,
# are named by environment variables.
DIFFUSION_SIZES = ("tiny", "quick", "full", "full_512")
DIFFUSION = DiffusionConfig(
    model=os.environ.get("PAINJAX_DIFFUSION_MODEL") or "stable-diffusion-v1-5/stable-diffusion-v1-5",
    controlnet=os.environ.get("PAINJAX_DIFFUSION_CONTROLNET") or "lllyasviel/control_v11f1p_sd15_depth",
)
BACKDROP = InpaintConfig(model=os.environ.get("PAINJAX_DIFFUSION_INPAINT") or None)


def _variant(face_model: str, size: Size) -> Variant:
    generator = GeneratorConfig(
        face_model, size.pixels, texture_size=size.texels, dataset_seed=size.dataset_seed, plan=size.plan
    )
    return Variant(size.identities, generator)


def _painted(variant: Variant, diffusion: DiffusionConfig) -> Variant:
    generator = dataclasses.replace(variant.generator, texture_backend="diffusion", diffusion=diffusion)
    return dataclasses.replace(variant, generator=generator)


VARIANTS = {
    name + suffix: _variant(face_model, size)
    for face_model, suffix in FACE_MODEL_SUFFIXES.items()
    for name, size in SIZES.items()
}
VARIANTS |= {
    f"{name}{suffix}_{painted}": _painted(VARIANTS[name + suffix], dataclasses.replace(DIFFUSION, backdrop=backdrop))
    for painted, backdrop in (("diffusion", None), ("backdrop", BACKDROP))
    for suffix in FACE_MODEL_SUFFIXES.values()
    for name in DIFFUSION_SIZES
}
