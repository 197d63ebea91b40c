"""What a wisp of hair looks like close up: strands side by side, each with its own tone and end."""

import functools

import numpy as np

from data_gen.scene import stream
from data_gen.textures.noise import smoothstep

VARIANTS, COLUMNS, ROWS = 6, 48, 128  # wisps side by side in the texture, texels across one and along it
STRANDS = 13  # of a wisp
# sideways wander of a strand (fractions of a wisp's width), turns of it along the wisp, breadth of a strand
PATTERNS = {"straight": (0.03, 0.8, 0.055), "wavy": (0.06, 1.6, 0.055), "coily": (0.17, 5.0, 0.06)}


@functools.cache
def strands(pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """(ROWS, VARIANTS * COLUMNS) tone of unit variance and opacity 0..1; row 0 is at the roots."""
    rng = stream(0, f"strands {pattern}")
    wander, turns, breadth = PATTERNS[pattern]
    v = (np.arange(ROWS)[:, None] + 0.5) / ROWS
    across = (np.arange(COLUMNS) + 0.5) / COLUMNS
    tones, opacities = [], []
    for _ in range(VARIANTS):
        tone = np.zeros((ROWS, COLUMNS))
        opacity = np.zeros((ROWS, COLUMNS))
        for place in rng.permutation(STRANDS):
            middle = 0.10 + 0.80 * (place + rng.uniform(0.2, 0.8)) / STRANDS
            phase = 2 * np.pi * rng.random(2)
            turn = turns * rng.uniform(0.7, 1.3)
            path = middle + wander * (np.sin(2 * np.pi * turn * v + phase[0]) + 0.5 * np.sin(5 * turn * v + phase[1]))
            path = 0.5 + (path - 0.5) * (1 - 0.35 * v**2)  # strands gather towards the tip
            start, end = rng.uniform(0, 0.05), rng.uniform(0.72, 1.0)
            alive = smoothstep(start, start + 0.04, v) * smoothstep(end, end - 0.16, v)
            body = np.exp(-(((across - path) / (breadth * rng.uniform(0.7, 1.2))) ** 2)) * alive
            tone += body * (rng.normal() - tone)
            opacity += (1 - opacity) * 0.95 * body
        edge = smoothstep(0.0, 0.10, across) * smoothstep(1.0, 0.90, across)
        tones.append(tone)
        opacities.append(opacity * edge)
    return np.concatenate(tones, 1).astype(np.float32), np.concatenate(opacities, 1).astype(np.float32)
