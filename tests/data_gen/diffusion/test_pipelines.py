"""The real classes, loaded from folders by the real code, with random weights."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from data_gen.diffusion import pipelines, sources
from data_gen.diffusion.config import DiffusionConfig
from tests.data_gen.diffusion import tiny_models
from tests.weights.hub_stand_in import COMMIT, cached

pytestmark = pytest.mark.usefixtures("quiet")

SIZE = 64
TEXTS, NEGATIVES, SEEDS = ["a face", "an old face", "a third"], ["hands"] * 3, [1, 2**62, 3]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{kind: (pipeline, ControlNet)}"""
    where = tmp_path_factory.mktemp("models")
    return {kind: tiny_models.write(where, kind) for kind in ("sd", "sdxl")}


def settings(folders, **changes) -> DiffusionConfig:
    model, controlnet = folders
    return sources.pinned(DiffusionConfig(model, controlnet, **{"size": SIZE, "steps": 2, "batch": 3} | changes))


def controls():
    disc = np.hypot(*np.meshgrid(np.arange(SIZE) - 32, np.arange(SIZE) - 32)) < 25
    return [[np.where(disc, np.uint8(level), np.uint8(0))] for level in (80, 160, 240)]


def pictures(painter, rows=range(3), these=None):
    these = controls() if these is None else these
    done = painter.paint([these[i] for i in rows], [TEXTS[i] for i in rows], NEGATIVES[: len(rows)],
                         [SEEDS[i] for i in rows])  # fmt: skip
    assert not any(painting.fault for painting in done)
    return [painting.picture for painting in done]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_a_portrait_is_the_same_in_any_company(folders, kind):
    """Bit for bit, on a CPU: alone, in any order, after others, and in batches of another size."""
    painter = pipelines.load(settings(folders[kind]))
    together = pictures(painter)
    assert all(picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 for picture in together)
    assert not np.array_equal(together[0], together[1])
    for rows in ([0], [2, 0, 1], [1, 1]):
        for row, picture in zip(rows, pictures(painter, rows), strict=True):
            np.testing.assert_array_equal(picture, together[row])
    singly = pictures(pipelines.load(settings(folders[kind], batch=1)))
    worst = max(np.abs(a.astype(int) - b).max() for a, b in zip(singly, together, strict=True))
    assert worst <= 1  # 0 on the machines tried; another size of batch may take another kernel


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_depth_words_and_seed_all_matter(folders, kind):
    painter = pipelines.load(settings(folders[kind], guidance=7.5))
    first = painter.paint(controls()[:1], TEXTS[:1], NEGATIVES[:1], SEEDS[:1])[0].picture
    for change in ((controls()[2:], TEXTS[:1], NEGATIVES[:1], SEEDS[:1]), (controls()[:1], TEXTS[1:2], NEGATIVES[:1],
                   SEEDS[:1]), (controls()[:1], TEXTS[:1], NEGATIVES[:1], SEEDS[1:2])):  # fmt: skip
        assert not np.array_equal(painter.paint(*change)[0].picture, first)


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_in_half_precision_every_network_is_and_the_picture_stays(folders, monkeypatch, kind):
    """As on a GPU; and the attention of all is torch's fused one."""
    expected = pictures(pipelines.load(settings(folders[kind])))
    pipelines._loaded.clear()
    monkeypatch.setattr(pipelines, "place", lambda config: ("cpu", "bfloat16"))
    painter = pipelines.load(settings(folders[kind]))
    pipeline, got = painter.pipeline, pictures(painter)
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert {network.dtype for network in networks} == {torch.bfloat16} and len(networks) >= 4
    assert pipeline.vae.use_slicing and painter.about["precision"] == "bfloat16"
    for network in (pipeline.unet, pipeline.controlnet, pipeline.vae):
        assert {type(each).__name__ for each in network.attn_processors.values()} == {"AttnProcessor2_0"}
    for a, b in zip(got, expected, strict=True):
        assert 0 < np.abs(a.astype(int) - b).mean() < 2  # levels: eight bits of each number


def test_the_record_says_what_painted(folders):
    painter = pipelines.load(settings(folders["sdxl"], scheduler="DDIMScheduler"))
    assert painter.about["pipeline"] == "StableDiffusionXLControlNetPipeline"
    assert painter.about["scheduler"] == "DDIMScheduler" and painter.about["precision"] == "float32"
    assert f"torch {torch.__version__}" in painter.about["software"]


_BY_HUB_ID = """
import socket, sys
import numpy as np
from data_gen.diffusion import pipelines, sources
from data_gen.diffusion.config import DiffusionConfig
def refuse(*_): sys.exit("the network is asked")
socket.socket.connect = refuse
for kind in ("sd", "sdxl"):
    config = sources.pinned(DiffusionConfig(f"org/{kind}", f"org/{kind}_depth", size=64, steps=2, batch=1))
    (got,) = pipelines.load(config).paint([[np.zeros((64, 64), np.uint8)]], ["a face"], ["hands"], [1])
    print(config.revision, got.picture.tobytes().hex())
"""


def test_models_of_the_hub_are_loaded_from_its_cache_without_network(folders, tmp_path):
    """By their ids, as `hf download` leaves them: the pictures are those of the same models in folders."""
    for kind, models in folders.items():
        for name, model in zip((kind, f"{kind}_depth"), map(Path, models), strict=True):
            files = {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}
            cached(tmp_path, f"org/{name}", files)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _BY_HUB_ID], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for kind, said in zip(("sd", "sdxl"), done.stdout.splitlines(), strict=True):
        painter = pipelines.load(settings(folders[kind], batch=1))
        (expected,) = painter.paint([[np.zeros((SIZE, SIZE), np.uint8)]], ["a face"], ["hands"], [1])
        assert said.split() == [COMMIT, expected.picture.tobytes().hex()]


def test_a_prompt_that_is_too_long_is_named(tmp_path):
    painter = pipelines.load(settings(tiny_models.write(tmp_path, "sd", tokens=77)))
    painter.check_lengths(["x" * 75])
    with pytest.raises(ValueError, match="A prompt has 78 tokens, and .* reads 77. Shorten diffusion's style .*'xxx"):
        painter.check_lengths(["short", "x" * 76])


def test_models_of_different_classes(folders):
    with pytest.raises(ValueError, match="another class of models.*width 64, the pipeline's is 32"):
        pipelines.load(settings((folders["sd"][0], folders["sdxl"][1])))


def renamed(folder, tmp_path, file, name):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(index | {"_class_name": name}))
    return str(copy)


def test_models_of_the_wrong_type(folders, tmp_path):
    model, controlnet = folders["sd"]
    with pytest.raises(ValueError, match="is a FluxPipeline; expected a Stable Diffusion 1.5- or SDXL-class"):
        pipelines.load(settings((renamed(model, tmp_path / "a", "model_index.json", "FluxPipeline"), controlnet)))
    with pytest.raises(ValueError, match="is a T2IAdapter; expected a ControlNetModel"):
        pipelines.load(settings((model, renamed(controlnet, tmp_path / "b", "config.json", "T2IAdapter"))))
    with pytest.raises(ValueError, match="has no model_index.json; expected a diffusers pipeline"):
        settings((controlnet, controlnet))
    with pytest.raises(ValueError, match="'DiceScheduler'; expected a scheduler class"):
        pipelines.load(settings(folders["sd"], scheduler="DiceScheduler"))
    with pytest.raises(ValueError, match="'UNet2DModel'; expected a scheduler class"):
        pipelines.load(settings(folders["sd"], scheduler="UNet2DModel"))


def remove(path):
    path.unlink()


def point_to_large_file_storage(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


def cut(path):
    os.truncate(path, 1000)


def of_another_size(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cross_attention_dim": 48}))


@pytest.mark.parametrize(
    ("file", "harm", "error", "said"),
    [
        ("unet/*.safetensors", remove, FileNotFoundError, "cannot be loaded.*copy their folders again"),
        ("unet/*.safetensors", point_to_large_file_storage, FileNotFoundError, "cannot be loaded: .*git-lfs"),
        ("unet/*.safetensors", cut, FileNotFoundError, "cannot be loaded: Unable to load weights"),
        ("unet/config.json", of_another_size, ValueError, "cannot be loaded: .*expected shape.*copy their folders"),
        (
            "text_encoder/*.safetensors",
            point_to_large_file_storage,
            ValueError,
            "cannot be loaded: .*copy their folders",
        ),
        ("text_encoder/*.safetensors", cut, ValueError, "cannot be loaded: .*copy their folders again"),
        ("tokenizer/tokenizer.json", cut, ValueError, "cannot be loaded: .*copy their folders again"),
        ("tokenizer/tokenizer.json", remove, FileNotFoundError, "The tokenizer of .*copy knows no words.*again"),
        ("tokenizer", shutil.rmtree, FileNotFoundError, "The tokenizer of .*copy knows no words"),
        ("scheduler", shutil.rmtree, FileNotFoundError, "cannot be loaded: .*scheduler_config.json.*again"),
    ],
)
def test_a_folder_that_is_not_whole(folders, tmp_path, file, harm, error, said):
    model, controlnet = folders["sd"]
    shutil.copytree(model, tmp_path / "copy")
    (harmed,) = (tmp_path / "copy").glob(file)
    harm(harmed)
    with pytest.raises(error, match=said):
        pipelines.load(settings((str(tmp_path / "copy"), controlnet)))


# As torch passes them on; an AcceleratorError is no OutOfMemoryError.
TOO_LITTLE = {
    "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "CUDA": torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ...", 2),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cuDNN 8": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
}
NOT_BEGUN = (
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
)


def test_models_for_which_the_gpu_has_no_room(folders, monkeypatch):
    """The pipeline is the real one; only the memory is not."""

    def full(pipeline, device):
        raise TOO_LITTLE["CUDA"]

    monkeypatch.setattr(diffusers.DiffusionPipeline, "to", full)
    with pytest.raises(RuntimeError, match=r"sd and its ControlNets do not fit .*nvidia-smi"):
        pipelines.load(settings(folders["sd"], steps=3))  # not those that are loaded


def test_numbers_that_are_none_are_a_fault(folders, tmp_path):
    model, controlnet = folders["sd"]
    shutil.copytree(model, tmp_path / "copy")
    (file,) = (tmp_path / "copy" / "unet").glob("*.safetensors")
    weights = load_file(file)
    weights["conv_in.bias"] = weights["conv_in.bias"] * np.float32("nan")
    save_file(weights, file, {"format": "pt"})
    painter = pipelines.load(settings((str(tmp_path / "copy"), controlnet)))
    (painting, _, _) = painter.paint(controls(), TEXTS, NEGATIVES, SEEDS)
    assert painting == pipelines.Painting(None, "not finite")


def test_a_safety_checker_that_blanks_is_a_fault(folders, tmp_path):
    model, controlnet = folders["sd"]
    tiny_models.write_blanking(tmp_path / "copy", model)
    painter = pipelines.load(settings((str(tmp_path / "copy"), controlnet)))
    (painting,) = painter.paint(controls()[:1], TEXTS[:1], NEGATIVES[:1], SEEDS[:1])
    assert painting == pipelines.Painting(None, "safety checker")


@pytest.mark.parametrize("error", TOO_LITTLE.values(), ids=TOO_LITTLE)
def test_too_little_memory_halves_the_batch_and_says_so_once(folders, caplog, error):
    """The pipeline is the real one; only the memory is not."""
    config = settings(folders["sd"], batch=3)
    expected = pictures(pipelines.load(dataclasses.replace(config, batch=1)))
    painter = pipelines.load(config)
    inside, sizes = painter.pipeline, []

    def tight(texts, **arguments):
        sizes.append(len(texts))
        if len(texts) > 1:
            raise error
        return inside(texts, **arguments)

    painter.pipeline = tight
    with caplog.at_level(logging.WARNING):
        got = pictures(painter)
    assert sizes == [3, 1, 1, 1]
    assert [record.message for record in caplog.records] == ["Out of GPU memory: from here on 1 pictures at a time."]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)

    painter.pipeline = refusing(error)
    with pytest.raises(RuntimeError, match=r"A single picture of 64 pixels does not fit .* diffusion\.size"):
        pictures(painter)


def refusing(error):
    def pipeline(texts, **arguments):
        raise error

    return pipeline


@pytest.mark.parametrize("error", NOT_BEGUN, ids=["cuBLAS", "cuDNN"])
def test_a_library_that_cannot_begin_wants_memory_where_there_is_none(folders, monkeypatch, error):
    """Else its driver is amiss, or an earlier kernel: fewer pictures would not help."""
    painter = pipelines.load(settings(folders["sd"], batch=2))
    painter.pipeline = refusing(error)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 << 20, 24 << 30))
    with pytest.raises(RuntimeError, match="A single picture"):
        pictures(painter)
    painter.batch = 2
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 << 30, 24 << 30))
    with pytest.raises(RuntimeError, match="NOT_INITIALIZED"):
        pictures(painter)
    assert painter.batch == 2


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: an illegal memory access was encountered",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "The size of tensor a (64) must match",
    ],
)
def test_no_other_error_is_taken_for_too_little_memory(folders, said):
    painter = pipelines.load(settings(folders["sd"], batch=2))
    painter.pipeline = refusing(RuntimeError(said))
    with pytest.raises(RuntimeError) as raised:
        pictures(painter)
    assert str(raised.value) == said and painter.batch == 2


def test_what_did_not_fit_is_let_go_before_memory_is_given_back(folders, monkeypatch):
    """Torch gives back what no tensor holds, and those of the pipeline live as long as its error does."""
    painter, held, seen = pipelines.load(settings(folders["sd"], batch=2)), [], []
    inside = painter.pipeline

    def tight(texts, **arguments):
        latents = torch.zeros(3)
        held.append(weakref.ref(latents))
        if len(texts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inside(texts, **arguments)

    painter.pipeline = tight
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append(held[0]()))
    pictures(painter)
    assert seen == [None]


def test_without_the_extra(folders, monkeypatch):
    config = settings(folders["sd"])
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs diffusers: pip install 'painjax\[diffusion\]'"):
        pipelines.load(config)
