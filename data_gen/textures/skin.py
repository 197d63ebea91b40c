"""Skin: pigment and blood, how they vary over the face, relief and shine."""

import numpy as np

from data_gen.scene import GENDERS, Identity, stream
from data_gen.textures.blemishes import blemishes
from data_gen.textures.lips import lips
from data_gen.textures.noise import smoothstep
from data_gen.textures.skin_ground import Layers, SkinGround
from data_gen.textures.tone import Tone, tone


def skin(identity: Identity, ground: SkinGround) -> Layers:
    """Skin of the whole head and neck, without hair."""
    rng = stream(identity.seed, "skin")
    own = tone(identity)
    old = float(smoothstep(30.0, 78.0, np.float64(identity.age)))
    fields, turn = ground.fields, rng.uniform(0, 2 * np.pi)
    broad, middle, fine = (fields.mixed(rng, wavelength) for wavelength in (38.0, 9.0, 2.6))
    veins = fields.mixed(rng, 5.0)
    grain = np.float32(np.cos(turn)) * ground.grain[0] + np.float32(np.sin(turn)) * ground.grain[1]

    layers = Layers(
        melanin=own.melanin + 0.08 * broad + (0.012 + 0.02 * old) * middle + 0.026 * fine + 0.035 * grain,
        blood=own.blood + own.fair * ((0.016 + 0.012 * old) * middle + 0.018 * veins + 0.014 * fine + 0.02 * grain),
        height=0.008 * fine + 0.010 * grain,
        roughness=0.57 + 0.012 * fine - 0.015 * grain,
        carotene=own.carotene,
    )
    _regional(rng, layers, ground, own, old)
    _pores(rng, layers, ground, identity, old)
    _around_the_eyes(rng, layers, ground, own, old)
    _sag(rng, layers, ground, old)
    if old > 0.1:  # old skin is cracked finely all over
        layers.height -= np.float32(0.05 * old) * np.exp(-((veins / np.float32(0.35)) ** 2))
    lips(identity, layers, ground, own, old)
    blemishes(identity, layers, ground, own)
    if GENDERS[identity.gender] == "male":
        _stubble(rng, layers, ground, own, float(rng.choice([0.2, 0.5, 0.8, 1.3], p=[0.35, 0.3, 0.2, 0.15])))
    return layers


def _regional(rng, layers: Layers, ground: SkinGround, own: Tone, old: float) -> None:
    """Painters' zones: a yellower forehead, a red middle of the face, a paler and cooler lower third; oil."""
    mottled = ground.fields.mixed(rng, 6.0)
    flush = (0.15 + 0.85 * own.fair) * rng.uniform(0.7, 1.5)
    for name, amount in (
        ("cheeks", 0.20),
        ("nose tip", 0.14 + 0.12 * old),
        ("wings", 0.20 + 0.05 * old),
        ("chin", 0.10),
        ("ears", 0.28),
        ("forehead", -0.05),
        ("around the mouth", -0.06),
        ("neck", 0.05),
    ):
        region = ground.regions[name]
        region.add(layers.blood, flush * amount * (1 + 0.18 * mottled[region.index]))
    for name, amount in (("forehead", 0.10), ("cheeks", -0.05), ("wings", 0.08), ("around the mouth", 0.07)):
        ground.regions[name].add(layers.melanin, amount * (1 + 0.15 * own.melanin))
    ground.regions["neck"].add(layers.melanin, rng.uniform(-0.15, 0.25))
    ground.regions["shine"].add(layers.roughness, -rng.uniform(0.05, 0.17) * (1 - 0.4 * old))


def _pores(rng, layers: Layers, ground: SkinGround, identity: Identity, old: float) -> None:
    """Pits, darker inside and dull; larger on men and with age."""
    index = ground.regions["pores"].index
    size = rng.uniform(0.6, 1.2) * (1.15 if GENDERS[identity.gender] == "male" else 0.9) * (1 + 0.25 * old)
    layers.height[index] -= np.float32(0.11 * size) * ground.pores
    layers.melanin[index] += np.float32(0.16 * size) * ground.pores
    layers.roughness[index] += np.float32(0.10 * size) * ground.pores


def _around_the_eyes(rng, layers: Layers, ground: SkinGround, own: Tone, old: float) -> None:
    """Thin skin: darker and bluer lids and inner corners, redder lid margins, shadowed lash line."""
    tired = old * rng.uniform(0.4, 1.0) + rng.uniform(0.1, 0.7)
    thin = 0.22 + 0.06 * own.melanin
    for name, melanin, blood in (
        ("orbit", 0.55 * thin, 0.13),
        ("upper lid", 0.45 * thin, 0.10),
        ("tear trough", thin * tired, 0.20 * tired),
        ("lid margin", 0.0, 0.35),
        ("lid crease", 0.42, 0.10),
        ("lash roots", 2.2, 0.5),
    ):
        ground.regions[name].add(layers.melanin, melanin)
        ground.regions[name].add(layers.blood, blood)
    ground.regions["orbit"].add(layers.roughness, -0.04)


def _sag(rng, layers: Layers, ground: SkinGround, old: float) -> None:
    """What gravity does: bags under the eyes and jowls beside the chin, as slopes only."""
    ground.regions["eye bag"].add(layers.height, rng.uniform(0.0, 0.35) + 1.3 * old * rng.uniform(0.2, 1.0))
    ground.regions["jowls"].add(layers.height, 2.2 * old * rng.uniform(0.2, 1.0))


def _stubble(rng, layers: Layers, ground: SkinGround, own: Tone, amount: float) -> None:
    """A shaved or short beard: a shadow made of dots, ragged at its edge."""
    region = ground.regions["beard"]
    index = region.index
    area = smoothstep(0.25, 0.75, region.weight + 0.07 * ground.fields.mixed(rng, 9.0)[index]) * region.weight
    dots = np.clip(0.5 + 0.65 * ground.grain[int(rng.integers(2)), index], 0, 2)
    layers.melanin[index] += amount * area * dots * (0.75 if own.melanin < 4 else 0.4)
    layers.blood[index] -= 0.10 * min(amount, 1.0) * area * own.fair
    layers.roughness[index] += 0.08 * area * min(amount, 1.0)
