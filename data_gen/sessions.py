"""A person's session: one place, one set of lamps, one camera, and what drifts from frame to frame.

Rig and room belong together: no daylight in a room at night, no lamp in a garden. The neutral reference of a frame is
of the same session, so that it differs by the expression and not by the light.
"""

import dataclasses

from data_gen.scene import Lens, Light, Room, stream

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a named rig may be: where its key may stand (azimuth on either side), how strong and how warm its lamps
    are, which rooms it lights and how bright they are. The units are those of `Light` and `Room`."""

    rooms: tuple[str, ...]
    azimuth: Range
    elevation: Range
    key: Range
    fill: Range
    ambient: Range
    rim: Range
    kelvin: Range
    fill_kelvin: Range
    brightness: Range


INDOORS = ("hospital_room", "living_room", "office")
CLINIC = ("hospital_room", "corridor", "office")
OUTDOORS = ("garden", "street")

SETTINGS = {
    "window": Setting(
        INDOORS, (25, 60), (5, 30), (0.9, 1.1), (0.2, 0.4), (0.25, 0.4), (0.1, 0.3),
        (5600, 6800), (4400, 5400), (0.5, 0.8),
    ),
    "overhead": Setting(
        CLINIC, (0, 30), (45, 62), (0.7, 0.9), (0.4, 0.6), (0.7, 0.9), (0.1, 0.25),
        (4000, 5200), (4200, 5200), (0.6, 0.95),
    ),
    "ring": Setting(
        CLINIC, (0, 8), (0, 12), (0.9, 1.1), (0.15, 0.3), (0.25, 0.4), (0.05, 0.2),
        (5200, 6200), (4500, 5500), (0.3, 0.55),
    ),
    "lamp": Setting(
        ("living_room", "hospital_room"), (30, 60), (-5, 25), (0.9, 1.1), (0.2, 0.35), (0.2, 0.35), (0.1, 0.35),
        (2700, 3200), (2900, 3800), (0.15, 0.35),
    ),
    "overcast": Setting(
        OUTDOORS, (0, 60), (45, 75), (0.4, 0.6), (0.3, 0.5), (0.9, 1.1), (0.1, 0.3),
        (6200, 7200), (6500, 7500), (0.7, 1.0),
    ),
    "sun": Setting(
        OUTDOORS, (25, 60), (22, 50), (1.1, 1.4), (0.2, 0.35), (0.3, 0.45), (0.3, 0.6),
        (5000, 5600), (7000, 9000), (0.8, 1.2),
    ),
    "mixed": Setting(
        INDOORS, (30, 60), (5, 30), (0.8, 1.0), (0.35, 0.55), (0.3, 0.45), (0.3, 0.6),
        (5800, 6800), (2900, 3600), (0.4, 0.65),
    ),
}  # fmt: skip
RIGS = tuple(SETTINGS)
ROOMS = ("hospital_room", "living_room", "corridor", "office", "garden", "street")
AZIMUTH_DRIFT, STRENGTH_DRIFT = 2.0, 0.03  # degrees and share, either way: people move a little between expressions


def rig_of(identity_seed: int) -> str:
    """The rig of a person's session."""
    return RIGS[stream(identity_seed, "rig").integers(len(RIGS))]


def light(identity_seed: int, take_seed: int) -> Light:
    """The lamps of a session, and a little drift of them from expression to expression."""
    name = rig_of(identity_seed)
    setting = SETTINGS[name]
    session, drift = stream(identity_seed, "light"), stream(take_seed, "light drift")

    def strength(span: Range) -> float:
        return float(session.uniform(*span) * drift.uniform(1 - STRENGTH_DRIFT, 1 + STRENGTH_DRIFT))

    side = 1 if session.random() < 0.5 else -1
    return Light(
        key_azimuth=float(side * session.uniform(*setting.azimuth) + drift.uniform(-AZIMUTH_DRIFT, AZIMUTH_DRIFT)),
        key_elevation=float(session.uniform(*setting.elevation)),
        key=strength(setting.key),
        fill=strength(setting.fill),
        ambient=strength(setting.ambient),
        rim=strength(setting.rim),
        kelvin=float(session.uniform(*setting.kelvin)),
        fill_kelvin=float(session.uniform(*setting.fill_kelvin)),
        rig=name,
    )


def room(identity_seed: int) -> Room:
    """Where a session takes place."""
    setting, rng = SETTINGS[rig_of(identity_seed)], stream(identity_seed, "room")
    lamps = light(identity_seed, identity_seed)
    return Room(
        kind=setting.rooms[rng.integers(len(setting.rooms))],
        turn=float(rng.uniform(-180, 180)),
        brightness=float(rng.uniform(*setting.brightness)),
        kelvin=lamps.kelvin if setting.rooms == OUTDOORS else lamps.fill_kelvin,  # out of doors one sun lights all
        blur=float(rng.uniform(1.8, 3.6)),
    )


def lens(identity_seed: int, frame_seed: int) -> Lens:
    """The camera of a session; exposure, focus and noise are a little different in each frame."""
    session, frame = stream(identity_seed, "lens"), stream(frame_seed, "lens drift")
    return Lens(
        exposure=float(session.uniform(-0.15, 0.15) + frame.uniform(-0.05, 0.05)),
        warmth=float(session.uniform(-0.12, 0.12)),
        tint=float(session.uniform(-0.05, 0.05)),
        defocus=float(session.uniform(0.0, 1.4) + frame.uniform(0.0, 0.8)),
        noise=float(session.uniform(0.0015, 0.006)),
        vignette=float(session.uniform(0.02, 0.18)),
        jpeg_quality=int(session.integers(80, 96)),
    )
