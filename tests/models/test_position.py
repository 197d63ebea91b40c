"""RoPE and learned tables: against complex numbers, against PyTorch, and what randomness may change."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from painjax.models.config import ViTConfig
from painjax.models.position import RoPE, patch_centres, resize_positions, rope_angles, rotate


def test_rope_is_rotation_of_complex_pairs():
    """RoPE written out with complex numbers: pair (k, k + K/2) turns by its angle; prefix tokens stay."""
    rows, columns, head_dim, theta = 2, 3, 8, 100.0
    x = np.random.default_rng(0).normal(size=(1, 2 + rows * columns, 1, head_dim)).astype(np.float32)
    got = np.asarray(rotate(jnp.asarray(x), rope_angles(rows, columns, head_dim, theta)))
    np.testing.assert_array_equal(got[:, :2], x[:, :2])
    for n in range(rows * columns):
        y = (n // columns + 0.5) / rows * 2 - 1
        z = (n % columns + 0.5) / columns * 2 - 1
        for k in range(head_dim // 2):
            centre, j = (y, k) if k < head_dim // 4 else (z, k - head_dim // 4)
            turn = np.exp(2j * np.pi * centre / theta ** (j / (head_dim // 4)))
            want = complex(x[0, 2 + n, 0, k], x[0, 2 + n, 0, k + head_dim // 2]) * turn
            assert got[0, 2 + n, 0, k] == pytest.approx(want.real, abs=1e-5)
            assert got[0, 2 + n, 0, k + head_dim // 2] == pytest.approx(want.imag, abs=1e-5)


def recovered_centres(rope, rows, columns):
    """Coordinates from the angles: channel 0 turns by 2 pi y, channel K/4 by 2 pi x."""
    angles = np.asarray(rope(rows, columns), np.float64)
    return angles[:, [0, rope.head_dim // 4]] / (2 * np.pi)


@pytest.mark.parametrize("kind", ["shift", "jitter", "rescale"])
def test_random_coordinates_change_as_they_are_told_to(kind):
    value = {"shift": 0.3, "jitter": 1.5, "rescale": 2.0}[kind]
    config = ViTConfig(patch_size=4, width=32, depth=1, heads=2, **{f"rope_{kind}": value})
    rope = RoPE(config, rngs=nnx.Rngs(0))
    plain = patch_centres(3, 4)
    shifts, factors = [], []
    for _ in range(200):
        centres = recovered_centres(rope, 3, 4)
        factor = np.array([np.polyfit(plain[:, i], centres[:, i], 1)[0] for i in range(2)])
        np.testing.assert_allclose(
            centres - plain * factor, np.broadcast_to((centres - plain * factor)[0], (12, 2)), atol=1e-5
        )
        factors.append(factor)
        shifts.append((centres - plain * factor)[0])
    factors, shifts = np.log(factors), np.array(shifts)
    spread = shifts if kind == "shift" else factors
    still = factors if kind == "shift" else shifts
    limit = value if kind == "shift" else np.log(value)
    np.testing.assert_allclose(still, 0, atol=1e-4)
    assert np.abs(spread).max() <= limit + 1e-4 and np.abs(spread).max() > 0.9 * limit
    np.testing.assert_allclose(spread.std(axis=0), limit / np.sqrt(3), rtol=0.15)  # that of a uniform distribution
    together = np.allclose(spread[:, 0], spread[:, 1], atol=1e-4)
    assert together == (kind == "rescale")
    rope.eval()
    np.testing.assert_array_equal(rope(3, 4), rope_angles(3, 4, 16, 100.0))


@pytest.mark.parametrize("size", [(4, 4), (7, 5), (3, 9)])
def test_tables_are_resized_as_in_torch(size):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(4, 4, 6)).astype(np.float32)
    channels_first = torch.from_numpy(table.transpose(2, 0, 1)[None])
    want = torch.nn.functional.interpolate(channels_first, size=size, mode="bicubic", align_corners=False)
    got = resize_positions(jnp.asarray(table), *size)
    np.testing.assert_allclose(got, want[0].numpy().transpose(1, 2, 0), atol=1e-5)
