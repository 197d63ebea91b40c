"""Lips: thin skin over blood, wrinkled across, moist, with a pale rim and a dark line where they meet."""

import numpy as np

from data_gen.scene import GENDERS, Identity, stream
from data_gen.textures.noise import noise, smoothstep
from data_gen.textures.skin_ground import Layers, SkinGround
from data_gen.textures.tone import Tone


def lips(identity: Identity, layers: Layers, ground: SkinGround, own: Tone, old: float) -> None:
    """Adds a person's lips to the layers; `old` is 0 for young skin, 1 for the oldest."""
    rng, male = stream(identity.seed, "lips"), GENDERS[identity.gender] == "male"
    face, index = ground.face, ground.regions["lip"].index
    points, inside, upper = face.points[index], face.lips[index], face.upper_lip[index]
    uneven = noise(rng, points, 5.0)
    corner = face.landmarks[54, 0]
    lip = smoothstep(-0.7, 1.1, inside + 0.22 * uneven) * smoothstep(corner + 1, corner - 6, np.abs(points[:, 0]))
    strength = (0.60 if male else 0.90) * rng.uniform(0.75, 1.25) * (1 - 0.35 * old)
    if not male and rng.random() < 0.25:
        strength += rng.uniform(0.2, 0.7)  # lipstick
    across = np.stack([points[:, 0], 0.16 * points[:, 1]], -1)
    ridges, fine = noise(rng, across, 2.4), noise(rng, across, 1.1)
    middle = np.exp(-((points[:, 0] / 13) ** 2))
    brown = 0.12 + 0.13 * max(own.melanin - 1.8, 0.0)
    layers.blood[index] += lip * (
        strength * np.where(upper, 1.1, 0.95 - 0.12 * middle) + 0.035 * ridges + 0.03 * uneven
    )
    layers.melanin[index] += lip * (brown * np.where(upper, 1.3, 0.6) + 0.03 * fine + 0.04 * uneven)
    layers.height[index] += lip * (0.045 * ridges + 0.02 * fine)
    layers.roughness[index] += lip * (0.04 * np.abs(fine) - rng.uniform(0.13, 0.22))
    rim = np.exp(-(((inside + 1.3) / 0.9) ** 2)) * np.where(upper, 1.0, 0.4)
    layers.height[index] += 0.16 * rim * (1 - 0.5 * old)
    layers.melanin[index] -= 0.07 * rim
    line = np.exp(-((face.mouth_line[index] / 0.9) ** 2)) * smoothstep(-1.5, 1.0, inside)
    layers.melanin[index] += 1.2 * line
    layers.blood[index] += 0.6 * line
