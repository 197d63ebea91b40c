"""Slices by name."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from painjax.aot import topology
from painjax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("v5e:16x16", "v5e:16x16"),
        ("v5e-16", "v5e:4x4"),
        ("v5e-256", "v5e:16x16"),
        ("v5litepod-16", "v5e:4x4"),
        ("v5litepod:4x4", "v5e:4x4"),
        ("v5p-64", "v5p:4x4x4"),
        ("v6e-256", "v6e:16x16"),
    ],
)
def test_a_slice_may_be_named_by_its_number_of_chips(given, expected):
    assert topology.canonical(given) == expected


@pytest.mark.parametrize("name", ["v5e:3x3", "v5e", "v5e-", "v5e-17", "v5e-4x4", "v9:2x2", "", "v5e:16"])
def test_unknown_slices_are_refused_with_those_there_are(name):
    with pytest.raises(UserError, match=r"is not known. Known are v5e: 1x1, .*16x16; v5p: .*; v6e: "):
        topology.canonical(name)


def test_without_libtpu_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'painjax\[tpu-aot\]'"):
        topology.describe("v5e-16")


@pytest.mark.slow
def test_every_slice_that_is_listed_is_one_that_libtpu_knows():
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    for family, shapes in topology.SHAPES.items():
        for shape in shapes:
            described = topology.describe(f"{family}:{shape}")
            assert len(described.devices) == topology.chips(shape)
            assert described.chip.name == f"TPU {family}"
            assert described.axes == (3 if family == "v5p" else 2)


def test_a_machine_without_a_tpu_is_not_complained_of():
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    program = "from painjax.aot import topology; print(len(topology.describe('v5p:2x2x2').devices))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TPU_")}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_flags_for_other_devices_are_hidden_from_libtpu_and_come_back(monkeypatch):
    devices = "--xla_force_host_platform_device_count=8"
    given = f"--xla_cpu_use_fusion_emitters=false {devices} --xla_gpu_autotune_level=0"
    monkeypatch.setenv("XLA_FLAGS", given)
    with topology.flags_that_libtpu_knows():
        assert os.environ["XLA_FLAGS"].split() == [devices]
    assert os.environ["XLA_FLAGS"] == given
    monkeypatch.delenv("XLA_FLAGS")
    with topology.flags_that_libtpu_knows():
        assert "XLA_FLAGS" not in os.environ
