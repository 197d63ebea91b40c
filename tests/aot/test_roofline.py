"""The estimate against figures worked out by hand."""

import pytest

from painjax.aot import roofline
from painjax.aot.collectives import Collective
from painjax.chips import CHIPS

V5E = next(chip for chip in CHIPS if chip.name == "TPU v5e")


def gather(count=10, size=8_000_000, asynchronous=True):
    return Collective("all-gather", count, size, ("fsdp",), asynchronous)


def reduce(count=1, size=4_000_000):
    return Collective("all-reduce", count, size, ("data", "fsdp"), False)


def test_a_link_carries_all_shards_but_its_own():
    # 8 MB over 4 chips at 1 GB/s: three quarters pass each link, in 3 steps of a microsecond.
    assert roofline.collective_s(gather(), 4, 1e9) == pytest.approx(6e-3 + 3e-6)
    # An all-reduce goes round twice.
    assert roofline.collective_s(reduce(), 2, 1e9) == pytest.approx(2 * (2e-3 + 1e-6))
    assert roofline.collective_s(Collective("collective-permute", 1, 10**6, ("data",), False), 8, 1e9) == 1e-3 + 1e-6
    assert roofline.collective_s(reduce(), 1, 1e9) == 0


def test_one_chip_waits_for_the_slower_of_products_and_memory():
    line = roofline.make_roofline(98.5e12, 1, [], V5E, 2, {"data": 1}, "data")
    assert line.step_s(1) == pytest.approx(1.0)  # half of 197 TFLOP/s
    line = roofline.make_roofline(1.0, int(819e9 * 0.8 * 3), [], V5E, 2, {"data": 1}, "data")
    assert line.step_s(1) == pytest.approx(3.0)
    assert line.link_bytes_per_s == 50e9  # 200 GB/s over four links


def test_efficiency_falls_by_what_is_communicated():
    mesh = {"data": 4, "fsdp": 4, "model": 1}
    line = roofline.make_roofline(0.985e12, 1, [gather(), reduce()], V5E, 2, mesh, "data")  # 10 ms of products
    gathered = 10 * (6e6 / 50e9 + 3e-6)
    reduced = 2 * (255 / 256 * 4e6 / 50e9 + 255e-6)
    assert line.step_s(256) == pytest.approx(0.01 + gathered + reduced)
    assert line.efficiency(256) == pytest.approx(0.01 / (0.01 + gathered + reduced))
    assert line.efficiency(256, overlapped=True) == pytest.approx(0.01 / (0.01 + reduced))
    assert line.efficiency(1) == 1


def test_fixed_axes_are_filled_first():
    mesh = {"data": 16, "fsdp": 4, "model": 1}
    assert roofline.mesh_of(1, mesh, "data") == {"data": 1, "fsdp": 1, "model": 1}
    assert roofline.mesh_of(2, mesh, "data") == {"data": 1, "fsdp": 2, "model": 1}
    assert roofline.mesh_of(256, mesh, "data") == {"data": 64, "fsdp": 4, "model": 1}
    assert roofline.mesh_of(8, mesh, "fsdp") == {"data": 8, "fsdp": 1, "model": 1}
