"""Beam draws the same examples as one process, whoever dies, and nothing outlives those it was drawn for."""

import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apache_beam
import numpy as np
import psutil
import pytest
import tensorflow_datasets as tfds

from data_gen import array_file, beam, finished, generate, processes
from data_gen.diffusion import album, cache, sources
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig
from data_gen.generator_config import GeneratorConfig
from data_gen.scene import SPLITS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = GeneratorConfig("procedural", 16, texture_size=16)
COMMAND = [
    Path(sys.executable).with_name("tfds"), "build", ROOT / "tfds_builders/pain3d", "--config=tiny",
    "--beam_pipeline_options=runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2",
]  # fmt: skip
ENVIRONMENT = os.environ | {"PAINJAX_WORKERS": "1"}
PICTURES = ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask")


@pytest.fixture(autouse=True)
def no_kept_processes():
    """Before and after each test."""
    forget_processes()
    yield
    forget_processes()


def forget_processes():
    while processes._IDLE:
        processes._IDLE.pop().shutdown()


def check_examples(data_dir, tiny_dataset, marked=None):
    """That a build has the examples of another; those of the identity `marked` have another asymmetry."""
    encoded = dict.fromkeys(PICTURES, tfds.decode.SkipDecoding())
    (built,) = (data_dir / "pain3d/tiny").glob("[0-9]*")
    for split in SPLITS:
        expected, got = (
            tfds.builder_from_directory(folder).as_data_source(split, decoders=encoded)
            for folder in (tiny_dataset, built)
        )
        assert len(got) == len(expected) > 0
        for i in range(len(expected)):
            mark = {"asymmetry": np.float32(0.5)} if expected[i]["identity"]["id"] == marked else {}
            np.testing.assert_equal(got[i], expected[i] | mark)


@pytest.mark.slow
def test_a_build_on_beam_is_that_of_one_process(tiny_dataset, tmp_path):
    subprocess.run([*COMMAND, f"--data_dir={tmp_path}"], check=True, cwd=tmp_path, env=ENVIRONMENT)
    check_examples(tmp_path, tiny_dataset)
    assert not list(tmp_path.rglob("unfinished_*"))


@pytest.mark.slow
def test_who_dies_costs_what_it_was_at(tiny_dataset, tmp_path):
    """First one of Beam's own processes, which DirectRunner waits for ever after, then a process that renders."""
    command = [*COMMAND, f"--data_dir={tmp_path}"]
    log = tmp_path / "log"
    with log.open("w") as said:
        build = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=said, start_new_session=True)
        try:
            wait_for(lambda: kept(tmp_path), build)
            wait_for(lambda: of_command(build, "sdk_worker_main"), build)[0].kill()
            wait_for(lambda: "Worker subprocess exited" in log.read_text(), build)
        finally:
            os.killpg(build.pid, signal.SIGKILL)
            build.wait()
    with pytest.raises(tfds.core.dataset_info.DatasetInfoFileError, match="dataset_info.json"):
        tfds.builder_from_directory(tmp_path / "pain3d" / "tiny" / tiny_dataset.name)

    # What is there is used: a mark in a finished identity comes out of the other end.
    marked = kept(tmp_path)[0]
    assert len(kept(tmp_path)) < 6
    frames = finished.load(marked.parent, int(marked.stem))
    for _, example in frames:
        example["asymmetry"] = np.float32(0.5)
    finished.save(marked.parent, int(marked.stem), frames)
    with log.open("w") as said:
        build = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=said, start_new_session=True)
        try:
            wait_for(lambda: of_command(build, "spawn_main"), build)[0].kill()
            assert build.wait() == 0, log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):  # nobody is left
                os.killpg(build.pid, signal.SIGKILL)
            build.wait()
    assert "A rendering process died; another one draws identity" in log.read_text()
    check_examples(tmp_path, tiny_dataset, marked=int(marked.stem))


def kept(data_dir):
    """The files of finished identities."""
    return sorted(data_dir.rglob("unfinished_*/[0-9]*.npz"))


def of_command(process, word):
    """The processes below one in whose command a word is, but for shells."""
    found = []
    for below in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # any more
            if word in " ".join(below.cmdline()) and "python" in Path(below.exe()).name:
                found.append(below)
    return found


def wait_for(what, build):
    """What it returns when that is something, while a build goes on."""
    deadline = time.monotonic() + 300
    while not (found := what()):
        assert build.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> GeneratorConfig:
    """Settings with models of random weights, pinned."""
    from tests.data_gen.diffusion import tiny_models

    models = tiny_models.write(tmp_path_factory.mktemp("models"), "sd")
    around = InpaintConfig(size=64, steps=1, strength=1.0)
    diffusion = sources.pinned(DiffusionConfig(*models, size=64, steps=1, batch=2, check="none", backdrop=around))
    return dataclasses.replace(CONFIG, texture_backend="diffusion", diffusion=diffusion)


@pytest.mark.slow
def test_portraits_travel_with_their_people(painted, tmp_path, monkeypatch):
    """And backdrops: to machines that have neither the models nor the cache of the one that painted."""
    monkeypatch.setenv("PAINJAX_WORKERS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the process that paints: tests share the cores
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "painter"))
    elements = list(beam._painted(painted, tmp_path / "kept", [0, 1]))
    assert [index for index, _ in elements] == [0, 1] and len(list(cache.entries())) == 2
    expected = generate.identity_examples(painted, 1)
    assert all(example["portrait"]["painted"] and example["backdrop"]["painted"] for _, example in expected)

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "renderer"))
    models = Path(painted.diffusion.model)
    hidden = models.rename(models.with_name("hidden"))
    try:
        np.testing.assert_equal(beam._drawn(painted, tmp_path / "kept", elements[1]), expected)
    finally:
        hidden.rename(models)
    (entry,), (book,) = cache.entries(), album.files()
    assert [entry.read_bytes(), book.read_bytes()] == elements[1][1] and entry.name.startswith("00000001-")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["00000001.npz"]

    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "later"))  # the models are needed no more, nor what they painted
    (element,) = beam._painted(painted, tmp_path / "kept", [1])
    np.testing.assert_equal(beam._drawn(painted, tmp_path / "kept", element), expected)
    assert element == (1, None) and not (tmp_path / "later").exists()


def test_who_is_finished_is_not_painted_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    diffusion = DiffusionConfig("org/model", "org/depth", revision="a" * 40, controlnet_revision="b" * 40, size=64)
    config, asked = dataclasses.replace(CONFIG, texture_backend="diffusion", diffusion=diffusion), []

    def paint(config, people):
        asked.append(people)
        for index in people:
            array_file.copy(beam._files(config, index)[0], b"portrait %d" % index)

    monkeypatch.setattr(generate, "with_portraits", paint)
    finished.save(tmp_path / "kept", 1, [("key", {"pspi": np.float32(1)})])
    elements = [(0, [b"portrait 0"]), (1, None), (2, [b"portrait 2"])]
    assert list(beam._painted(config, tmp_path / "kept", [0, 1, 2])) == elements
    assert list(beam._painted(config, tmp_path / "kept", [1])) == [(1, None)] and asked == [[0, 2]]
    assert list(beam._painted(config, None, [1])) == [(1, [b"portrait 1"])]


def test_painting_asks_for_a_gpu_and_drawing_does_not():
    """In the pipeline that runners are given."""
    diffusion = DiffusionConfig("org/model", "org/depth", revision="a" * 40, controlnet_revision="b" * 40, size=64)
    config = dataclasses.replace(CONFIG, texture_backend="diffusion", diffusion=diffusion)
    pipeline = apache_beam.Pipeline("DirectRunner")
    pipeline | beam.examples(config, range(100))
    told = pipeline.to_runner_api()
    asked = {
        step.unique_name.rpartition("/")[2]: dict(told.components.environments[step.environment_id].resource_hints)
        for step in told.components.transforms.values()
        if step.unique_name.endswith(("Paint", "Draw"))
    }
    accelerator = {"beam:resources:accelerator:v1": beam.ACCELERATOR.encode()}
    assert asked == {"Paint": accelerator, "Draw": {}}


def test_a_machine_paints_with_one_process_at_a_time():
    order = []

    def second():
        with beam._the_gpu():
            order.append("second")

    with beam._the_gpu():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_process_that_dies_is_replaced_and_the_examples_are_the_same(monkeypatch, caplog):
    monkeypatch.setenv("PAINJAX_WORKERS", "1")
    first = generate.generate_apart(CONFIG, 0)
    np.testing.assert_equal(first, generate.identity_examples(CONFIG, 0))
    (executor,) = processes._IDLE
    (process,) = executor._processes.values()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    np.testing.assert_equal(generate.generate_apart(CONFIG, 0), first)
    assert caplog.text.count("A rendering process died; another one draws identity 0 again.") == 1
    assert processes._IDLE and processes._IDLE != [executor]


def test_an_identity_that_kills_its_process_is_given_up_aloud(monkeypatch):
    """As one that no machine has the memory for."""
    monkeypatch.setattr(processes, "begin", functools.partial(os._exit, 1))
    with pytest.raises(RuntimeError, match="A rendering process died.*PAINJAX_WORKERS"):
        generate.generate_apart(CONFIG, 0)
    assert not processes._IDLE


def test_rendering_processes_end_with_their_parent(tmp_path):
    check_children_end(
        "from data_gen import generate, processes; from data_gen.generator_config import GeneratorConfig\n"
        "generate.generate_apart(GeneratorConfig('procedural', 16, texture_size=16), 0)\n"
        "children = processes._IDLE[0]._processes",
        tmp_path,
    )


@pytest.mark.slow
def test_painting_processes_end_with_their_parent(painted, tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    check_children_end(
        "import threading, time; from data_gen import generate; from data_gen.diffusion import cache\n"
        "from data_gen.diffusion.config import DiffusionConfig, InpaintConfig\n"
        "from data_gen.generator_config import GeneratorConfig\n"
        f"threading.Thread(target=generate.with_portraits, args=[{painted}, range(500)], daemon=True).start()\n"
        "deadline = time.monotonic() + 300\n"
        "while not list(cache.entries()): assert time.monotonic() < deadline; time.sleep(0.01)\n"
        "import psutil; children = [p.pid for p in psutil.Process().children() if 'spawn_main' in str(p.cmdline())]",
        tmp_path,
    )


def check_children_end(code, folder):
    """That the processes whose numbers the code puts into `children` do, when the one that runs it is killed."""
    code = f"import os, signal\n{code}\nprint(*children, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with (folder / "children").open("w") as said:  # a pipe would stay open as long as they live
        killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=said)
    children = [int(pid) for pid in (folder / "children").read_text().split()]
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
