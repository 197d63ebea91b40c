"""The variants of 3DPain by name: what `tfds build --config=NAME` and `painjax gallery --config=NAME` draw."""

import dataclasses

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

VARIANTS = {
    name + suffix: Variant(
        size.identities,
        GeneratorConfig(
            face_model, size.pixels, texture_size=size.texels, dataset_seed=size.dataset_seed, plan=size.plan
        ),
    )
    for face_model, suffix in FACE_MODEL_SUFFIXES.items()
    for name, size in SIZES.items()
}
