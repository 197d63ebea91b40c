"""Prompts: an identity in words, from the same draws that shape its geometry, hair and clothes."""

import dataclasses

import numpy as np

from data_gen import sessions
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig, SideViewConfig
from data_gen.scene import ETHNICITIES, GENDERS, Identity, stream
from data_gen.textures import beard, clothes, hair

PEOPLE = {  # ethnicity -> adjective
    "african": "Black African",
    "east_asian": "East Asian",
    "european": "white European",
    "latin_american": "Latin American",
    "middle_eastern": "Middle Eastern",
    "south_asian": "South Asian",
}
# From this age on: how such a face is described.
AGE_WORDS = (
    (18, "smooth young skin"),
    (30, "natural skin"),
    (42, "first fine lines around the eyes"),
    (54, "crow's feet and forehead lines"),
    (66, "deep wrinkles and age spots"),
    (76, "very old, deeply wrinkled thin skin"),
)
CUT_WORDS = {
    "buzz": "buzz cut", "crop": "short cropped hair", "fringe": "hair with a fringe", "side part": "side-parted hair",
    "swept back": "swept-back hair", "quiff": "a quiff", "pixie": "a pixie cut", "bob": "a chin-length bob",
    "long middle": "long hair parted in the middle", "long side": "long side-parted hair",
    "long back": "long hair combed back", "tied": "hair tied back", "curly short": "short curly hair",
    "curly long": "long curly hair", "coily short": "short coily hair", "afro": "an afro",
    "balding": "short hair around a bald crown",
}  # fmt: skip
BEARD_WORDS = {"moustache": "a moustache", "goatee": "a goatee", "short": "a short beard", "full": "a full beard"}
PLACE_WORDS = {
    "hospital_room": "in a hospital room", "living_room": "in a living room", "corridor": "in a hospital corridor",
    "office": "in an office", "garden": "in a garden", "street": "in a street",
}  # fmt: skip
TOP_WORDS = {"V neck": "V-neck jumper", "crew neck": "crew-neck jumper"}
# Linear RGB of cloth -> the nearest of these.
COLOR_WORDS = {
    "white": (0.7, 0.7, 0.7), "light grey": (0.35, 0.35, 0.35), "grey": (0.16, 0.16, 0.16), "black": (0.02, 0.02, 0.02),
    "red": (0.35, 0.05, 0.05), "green": (0.06, 0.2, 0.07), "blue": (0.05, 0.1, 0.35), "light blue": (0.4, 0.55, 0.68),
    "yellow": (0.5, 0.4, 0.08), "purple": (0.2, 0.06, 0.25), "brown": (0.12, 0.07, 0.04), "pink": (0.6, 0.35, 0.4),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a picture shall show, and what it shall not."""

    text: str
    negative: str


def compose(identity: Identity, config: DiffusionConfig) -> Prompt:
    """The prompt of an identity: about 50 words, which fit the 77 tokens of CLIP unless `config.style` grows long."""
    parts = (
        f"passport photo of {_person(identity)}",
        _skin(identity),
        *_looks(identity),
        "looking into the camera, neutral expression, closed mouth",
        config.style,
    )
    return Prompt(", ".join(part for part in parts if part), config.avoid)


def side_view(identity: Identity, config: SideViewConfig) -> Prompt:
    """The prompt of a person seen from either side."""
    parts = (
        f"side view of the head of {_person(identity)}",
        _skin(identity),
        *_looks(identity),
        "looking past the camera, neutral expression, closed mouth",
        config.style,
    )
    return Prompt(", ".join(part for part in parts if part), config.avoid)


def backdrop(identity: Identity, config: InpaintConfig) -> Prompt:
    """The prompt of what surrounds a person's face, the same for all of their frames."""
    parts = (f"photo of {_person(identity)}", *_looks(identity), config.style)
    return Prompt(", ".join(part for part in parts if part), config.avoid)


def seed(identity: Identity, attempt: int) -> int:
    """The seed of an identity's `attempt`-th portrait, 0 <= seed < 2**63, on whatever machine and in whatever batch."""
    return int(stream(identity.seed, f"portrait {attempt}").integers(2**63))


def side_view_seed(identity: Identity, yaw: float, attempt: int) -> int:
    """The seed of the `attempt`-th painting of an identity seen from `yaw` degrees."""
    return int(stream(identity.seed, f"side view {yaw:g} {attempt}").integers(2**63))


def backdrop_seed(identity: Identity, attempt: int) -> int:
    """The seed of the `attempt`-th backdrop of any frame of an identity: frames that begin with the same noise keep the
    same hair, clothes and room."""
    return int(stream(identity.seed, f"backdrop {attempt}").integers(2**63))


def _person(identity: Identity) -> str:
    sex = "man" if GENDERS[identity.gender] == "male" else "woman"
    return f"a {identity.age:.0f} year old {PEOPLE[ETHNICITIES[identity.ethnicity]]} {sex}"


def _skin(identity: Identity) -> str:
    return [words for age, words in AGE_WORDS if identity.age >= age][-1]


def _looks(identity: Identity) -> tuple[str, str, str]:
    """Hair and beard, clothes, place."""
    look = hair.style(identity)
    grown = beard.choose(identity, look)
    face = (
        f" and {BEARD_WORDS[grown.kind]}" if grown else ", clean shaven" if GENDERS[identity.gender] == "male" else ""
    )
    top = clothes.top(identity)
    return (
        f"{_hair_color(look)} {CUT_WORDS[look.name].removeprefix('a ').removeprefix('an ')}{face}",
        f"wearing a {_color(top.color)} {TOP_WORDS.get(top.kind, top.kind)}",
        PLACE_WORDS[sessions.room(identity.seed).kind],
    )


def _hair_color(look: hair.Hair) -> str:
    if look.grey > 0.75:
        return "white"
    if look.grey > 0.35:
        return "grey"
    names = list(hair.COLORS)
    distances = [np.linalg.norm(np.log(look.color) - np.log(hair.COLORS[name])) for name in names]
    return names[int(np.argmin(distances))]


def _color(rgb: np.ndarray) -> str:
    names = list(COLOR_WORDS)
    distances = [np.linalg.norm(np.sqrt(rgb) - np.sqrt(COLOR_WORDS[name])) for name in names]
    return names[int(np.argmin(distances))]
