"""Beam draws the same examples as one process, and nothing outlives the processes that it was drawn for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_gen import generate
from data_gen.generator_config import GeneratorConfig
from data_gen.scene import SPLITS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = GeneratorConfig("procedural", 16, texture_size=16)
PICTURES = ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask")


@pytest.mark.slow
def test_a_build_on_beam_is_that_of_one_process(tiny_dataset, tmp_path):
    command = [Path(sys.executable).with_name("tfds"), "build", ROOT / "tfds_builders/pain3d", "--config=tiny"]
    options = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"
    subprocess.run(
        [*command, f"--data_dir={tmp_path}", f"--beam_pipeline_options={options}"],
        check=True, cwd=tmp_path, env=os.environ | {"PAINJAX_WORKERS": "1"},
    )  # fmt: skip
    encoded = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
    (built,) = (tmp_path / "pain3d/tiny").glob("[0-9]*")
    for split in SPLITS:
        expected, got = (
            tfds.builder_from_directory(folder).as_data_source(split, decoders=encoded)
            for folder in (tiny_dataset, built)
        )
        assert len(got) == len(expected) > 0
        for i in range(len(expected)):
            np.testing.assert_equal(got[i], expected[i])


def test_a_process_that_dies_is_said_and_another_draws(monkeypatch):
    monkeypatch.setenv("PAINJAX_WORKERS", "1")
    first = generate.generate_apart(CONFIG, 0)
    np.testing.assert_equal(first, generate.identity_examples(CONFIG, 0))
    (process,) = generate._kept_processes()._processes.values()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(RuntimeError, match="A rendering process died.*PAINJAX_WORKERS"):
        generate.generate_apart(CONFIG, 0)
    np.testing.assert_equal(generate.generate_apart(CONFIG, 0), first)
    generate._kept_processes().shutdown()
    generate._kept_processes.cache_clear()


def test_rendering_processes_end_with_their_parent(tmp_path):
    code = (
        "import os, signal; from data_gen import generate; from data_gen.generator_config import GeneratorConfig\n"
        "generate.generate_apart(GeneratorConfig('procedural', 16, texture_size=16), 0)\n"
        "print(*generate._kept_processes()._processes, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with (tmp_path / "children").open("w") as said:  # a pipe would stay open as long as they live
        killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=said, stderr=subprocess.DEVNULL)
    children = [int(pid) for pid in (tmp_path / "children").read_text().split()]
    assert children and killed.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    """Whether a process works; one that has ended and that nobody has asked for its status does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
