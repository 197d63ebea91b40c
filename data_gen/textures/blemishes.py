"""Marks on the skin: freckles, moles, spots of age and youth, and fine broken vessels."""

import numpy as np

from data_gen.scene import Identity, stream
from data_gen.textures.noise import smoothstep
from data_gen.textures.skin_ground import Layers, SkinGround
from data_gen.textures.tone import Tone


def blemishes(identity: Identity, layers: Layers, ground: SkinGround, own: Tone) -> None:
    """Adds a person's marks to the layers of the skin."""
    rng = stream(identity.seed, "blemishes")
    old = float(smoothstep(45.0, 80.0, np.float64(identity.age)))
    young = float(smoothstep(36.0, 20.0, np.float64(identity.age)))
    _freckles(rng, layers, ground, own)
    _vessels(rng, layers, ground, own, old)
    face = ground.face
    on_face = np.flatnonzero(face.front > 0.3)
    for count, radius, melanin, blood, height in (
        (rng.poisson(5), (0.4, 1.0), (0.5, 1.8), 0.0, 0.05),  # moles
        (rng.poisson(22), (0.4, 0.9), (0.08, 0.35), 0.0, 0.0),  # specks that everybody has
        (rng.poisson(14 * old), (1.2, 4.0), (0.15, 0.55), 0.0, 0.0),  # solar lentigines
        (rng.poisson(rng.uniform(0, 12) * young), (0.6, 1.5), (0.02, 0.10), 0.30, 0.12),  # pimples
    ):
        centers, radii = face.points[rng.choice(on_face, count)], rng.uniform(*radius, count)
        amounts = rng.uniform(*melanin, count)
        for center, r, m, near in zip(centers, radii, amounts, ground.near(centers, 1.25 * radii), strict=True):
            spot = smoothstep(1.25 * r, 0.45 * r, np.linalg.norm(face.points[near] - center, axis=-1))
            layers.melanin[near] += m * spot
            layers.blood[near] += blood * own.fair * spot
            layers.height[near] += height * r * spot


def _freckles(rng, layers: Layers, ground: SkinGround, own: Tone) -> None:
    if rng.random() >= (0.35 if own.melanin < 1.6 else 0.12 if own.melanin < 2.6 else 0.0):
        return
    region = ground.regions["freckled"]
    spots = smoothstep(rng.uniform(1.2, 2.2), 2.9, ground.fields.mixed(rng, 2.2)[region.index])
    region.add(layers.melanin, rng.uniform(0.35, 0.9) * spots)


def _vessels(rng, layers: Layers, ground: SkinGround, own: Tone, old: float) -> None:
    """Broken capillaries (telangiectasia) on cheeks and nose: thin lines where a noise passes through zero."""
    amount = own.fair * old * rng.uniform(0.0, 0.5)
    if amount < 0.05:
        return
    threads = np.exp(-((ground.fields.mixed(rng, 4.0) / 0.22) ** 2))
    for name in ("cheeks", "nose tip", "wings"):
        region = ground.regions[name]
        region.add(layers.blood, amount * threads[region.index])
