"""Painting around something with the real classes and random weights: alone or in company, and whatever goes wrong."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from data_gen import scene
from data_gen.diffusion import pipelines, scenery, sources
from data_gen.diffusion.config import ControlConfig, DiffusionConfig, InpaintConfig
from tests.data_gen.diffusion import tiny_models

pytestmark = pytest.mark.usefixtures("quiet")

SIZE = 64
TEXTS, NEGATIVES, SEEDS = ["a room", "a garden", "a street"], ["hands"] * 3, [1, 2**62, 3]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_models.write_all(tmp_path_factory.mktemp("models"))


def settings(folders, kind, more=(), **changes) -> DiffusionConfig:
    inpaint = InpaintConfig(**{"size": SIZE, "steps": 3, "batch": 3} | changes)
    config = DiffusionConfig(folders[kind], folders[f"{kind}_depth"], size=SIZE, more_controls=more, backdrop=inpaint)
    return sources.pinned(config)


def load(config):
    return pipelines.load(config, config.backdrop)


def material(nets=1):
    """Conditions and starts of three frames: discs whose inside is kept."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    discs = [np.hypot(x - 32, y - c) < 18 for c in (28, 32, 36)]
    rng = np.random.default_rng(0)
    rendered = [rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8) for _ in discs]
    controls = [[np.where(disc, np.uint8(200 - 60 * net), np.uint8(0)) for net in range(nets)] for disc in discs]
    return controls, [pipelines.Start(picture, ~disc) for picture, disc in zip(rendered, discs, strict=True)]


def pictures(painter, rows=range(3), nets=1):
    controls, starts = material(nets)
    done = painter.paint(*([each[i] for i in rows] for each in (controls, TEXTS, NEGATIVES, SEEDS, starts)))
    assert not any(painting.fault for painting in done)
    return [painting.picture for painting in done]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("own", [None, "inpaint"])
def test_a_painting_is_the_same_in_any_company(folders, kind, own):
    """With the portraits' four channels, and with nine; alone, in any order, after others, in batches of any size."""
    config = settings(folders, kind, model=own and folders[f"{kind}_{own}"])
    painter = load(config)
    assert painter.about["pipeline"].endswith("ControlNetInpaintPipeline")
    assert painter.about["model"] == folders[f"{kind}_inpaint" if own else kind]
    together = pictures(painter)
    assert all(picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8 for picture in together)
    assert not np.array_equal(together[0], together[1])
    for rows in ([0], [2, 0, 1], [1, 1]):
        for row, picture in zip(rows, pictures(painter, rows), strict=True):
            np.testing.assert_array_equal(picture, together[row])
    singly = pictures(load(settings(folders, kind, model=config.backdrop.model, batch=1)))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(singly, together, strict=True)) <= 1


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_what_is_kept_words_seed_and_strength_all_matter(folders, kind):
    controls, starts = material()
    first = (controls[:1], TEXTS[:1], NEGATIVES[:1], SEEDS[:1], starts[:1])
    whole = pipelines.Start(starts[0].picture, np.ones((SIZE, SIZE), bool))
    inverted = pipelines.Start(255 - starts[0].picture, starts[0].missing)
    painter = load(settings(folders, kind))
    expected = painter.paint(*first)[0].picture
    for place, other in ((0, controls[2:]), (1, TEXTS[1:2]), (3, SEEDS[1:2]), (4, [whole]), (4, [inverted])):
        changed = list(first)
        changed[place] = other
        assert not np.array_equal(painter.paint(*changed)[0].picture, expected)
    bold = load(settings(folders, kind, strength=1.0))
    assert not np.array_equal(bold.paint(*first)[0].picture, expected)


def test_latents_that_hold_any_missing_pixel_are_painted(folders):
    painter = load(settings(folders, "sd"))
    cell = painter.pipeline.vae_scale_factor
    missing = np.zeros((SIZE, SIZE), bool)
    missing[9, 20] = True
    mask = painter._mask(missing).numpy()[0]
    assert mask.sum() == cell**2 and mask[9, 20] == 1 and mask[9 // cell * cell, 20 // cell * cell] == 1


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_several_controlnets(folders, kind):
    """For portraits and backdrops, in batches; each has its own say."""
    normal = ControlConfig("normal", folders[f"{kind}_normal"], scale=0.5)
    config = settings(folders, kind, more=(normal,))
    together = pictures(load(config), nets=2)
    np.testing.assert_array_equal(pictures(load(config), [1], nets=2)[0], together[1])
    assert not np.array_equal(together[0], pictures(load(settings(folders, kind)))[0])
    silent = settings(folders, kind, more=(dataclasses.replace(normal, scale=0.0),))
    worst = np.abs(pictures(load(silent), nets=2)[0].astype(int) - pictures(load(settings(folders, kind)))[0]).max()
    assert worst <= 1
    config = dataclasses.replace(config, batch=2, steps=2)
    painter, (controls, _) = pipelines.load(config), material(2)
    both = painter.paint(controls[:2], TEXTS[:2], NEGATIVES[:2], SEEDS[:2])
    np.testing.assert_array_equal(
        painter.paint(controls[1:2], TEXTS[1:2], NEGATIVES[1:2], SEEDS[1:2])[0].picture, both[1].picture
    )


def test_numbers_that_are_none_are_a_fault(folders, tmp_path):
    shutil.copytree(folders["sd_inpaint"], tmp_path / "copy")
    (file,) = (tmp_path / "copy" / "unet").glob("*.safetensors")
    weights = load_file(file)
    weights["conv_in.bias"] = weights["conv_in.bias"] * np.float32("nan")
    save_file(weights, file, {"format": "pt"})
    controls, starts = material()
    painter = load(settings(folders, "sd", model=str(tmp_path / "copy")))
    (painting, *_) = painter.paint(controls, TEXTS, NEGATIVES, SEEDS, starts)
    assert painting == pipelines.Painting(None, "not finite")


def test_a_safety_checker_that_blanks_is_a_fault(folders, tmp_path):
    tiny_models.write_blanking(tmp_path / "copy", folders["sd"])
    controls, starts = material()
    painter = load(settings(folders, "sd", model=str(tmp_path / "copy")))
    (painting, *_) = painter.paint(controls, TEXTS, NEGATIVES, SEEDS, starts)
    assert painting == pipelines.Painting(None, "safety checker")


def test_a_prompt_that_is_too_long_is_named(folders, tmp_path):
    short = tiny_models.write_pipeline(tmp_path / "short", "sd", tokens=77)
    with pytest.raises(
        ValueError, match="A prompt has .* tokens, and .*short reads 77. Shorten diffusion.backdrop's style"
    ):
        scenery.paint([], scene.identity(0, 6), SIZE, settings(folders, "sd", model=short))


def test_memory_for_not_even_one(folders, monkeypatch):
    def never(self, texts, **arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    painter = load(settings(folders, "sd", batch=1))
    monkeypatch.setattr(type(painter.pipeline), "__call__", never)
    with pytest.raises(RuntimeError, match=r"A single picture of 64 pixels does not fit .* diffusion\.backdrop\.size"):
        pictures(painter)


def test_models_that_do_not_fit(folders):
    config = DiffusionConfig(folders["sd_inpaint"], folders["sd_depth"], size=SIZE)
    with pytest.raises(ValueError, match="reads 9 channels; expected 4. Portraits need a plain"):
        pipelines.load(sources.pinned(config))
    with pytest.raises(ValueError, match="sd_depth is a ControlNet for another class of models than .*sdxl_inpaint"):
        load(settings(folders, "sd", model=folders["sdxl_inpaint"]))
    with pytest.raises(ValueError, match="sdxl_normal is a ControlNet for another class"):
        load(settings(folders, "sd", more=(ControlConfig("normal", folders["sdxl_normal"]),)))
    with pytest.raises(ValueError, match="has no model_index.json"):
        settings(folders, "sd", model=folders["sd_depth"])


def test_sizes_follow_the_class_of_the_model(folders):
    """512 pixels for Stable Diffusion 1.5, 1024 for SDXL, where the settings name none."""
    for kind, usual in (("sd", 512), ("sdxl", 1024)):
        config = DiffusionConfig(folders[kind], folders[f"{kind}_depth"], backdrop=InpaintConfig())
        assert (sources.pinned(config).size, sources.pinned(config).backdrop.size) == (usual, usual)
        smaller = dataclasses.replace(config, size=64, backdrop=InpaintConfig(size=128))
        assert (sources.pinned(smaller).size, sources.pinned(smaller).backdrop.size) == (64, 128)
        assert sources.pinned(sources.pinned(config)) == sources.pinned(config)


def test_too_little_memory_halves_the_batch(folders, caplog):
    """The pipeline is the real one; only the memory is."""
    import torch

    expected = pictures(load(settings(folders, "sd", batch=1)))
    painter = load(settings(folders, "sd", batch=3))
    inside = painter.pipeline

    class Tight:
        vae_scale_factor = inside.vae_scale_factor

        def __call__(self, texts, **arguments):
            if len(texts) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return inside(texts, **arguments)

    painter.pipeline = Tight()
    for a, b in zip(pictures(painter), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [record.message for record in caplog.records] == ["Out of GPU memory: from here on 1 pictures at a time."]
