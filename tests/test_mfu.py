import jax
import pytest

from configs import student_supervised
from painjax import chips, mfu, sharding

TOKENS, WIDTH, DEPTH = 1 + 4 + 14 * 14, 384, 12


def make_config(**model):
    config = student_supervised.get_config()
    config.batch_size = 2
    config.model.update({"image_size": 224, "width": WIDTH, "depth": DEPTH, "heads": 6, "neutral": "none"} | model)
    return config


def forward_on_paper(channels: int) -> int:
    """Of one picture through the encoder; the heads, below half a percent, are left out."""
    block = 2 * TOKENS * 12 * WIDTH**2 + 4 * TOKENS**2 * WIDTH
    return DEPTH * block + 2 * 14**2 * 16**2 * channels * WIDTH


@pytest.fixture(scope="module")
def mesh():
    return sharding.create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
def test_a_step_needs_three_forward_passes_however_much_it_recomputes(mesh, remat):
    expected = 2 * 3 * forward_on_paper(3)
    assert mfu.model_flops(make_config(remat=remat), mesh) == pytest.approx(expected, rel=0.02)


def test_accumulating_needs_no_more(mesh):
    config = make_config()
    whole = mfu.model_flops(config, mesh)
    config.accumulate = 2
    assert mfu.model_flops(config, mesh) == pytest.approx(whole, rel=1e-3)


def test_a_teacher_adds_its_forward_pass(mesh):
    config, teacher = make_config(project_width=WIDTH), make_config(in_channels=1)
    config.teacher, config.loss.features = "runs/teacher", 1.0
    teacher.data.input = "heatmap"
    alone = mfu.model_flops(make_config(), mesh)
    projection = 3 * 2 * 14**2 * WIDTH**2
    added = mfu.model_flops(config, mesh, teacher) - alone
    assert added == pytest.approx(2 * (forward_on_paper(1) + projection), rel=0.02)


def test_the_peak_is_that_of_all_devices(mesh, monkeypatch):
    config = make_config()
    assert mfu.peak_images_per_s(config, mesh) is None  # a CPU
    (v5e,) = (chip for chip in chips.CHIPS if chip.name == "TPU v5e")
    monkeypatch.setattr(mfu, "chip_of", lambda device: v5e)
    both = sharding.create_mesh({"data": 2, "fsdp": 1}, jax.devices()[:2])
    expected = 2 * 197e12 / (3 * forward_on_paper(3))
    assert mfu.peak_images_per_s(config, both) == pytest.approx(expected, rel=0.02)
