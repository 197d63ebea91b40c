"""What cannot be kept is not painted."""

import collections
import dataclasses

import pytest

from data_gen import record
from data_gen.diffusion import album, cache, room, scenery, studio
from data_gen.diffusion.config import DiffusionConfig, InpaintConfig, SideViewConfig
from data_gen.generator_config import GeneratorConfig
from data_gen.variants import VARIANTS
from tests.data_gen.diffusion.conftest import SIZE

Usage = collections.namedtuple("Usage", "total used free")
PINNED = DiffusionConfig("org/model", "org/depth", revision="a", controlnet_revision="b", size=SIZE)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def settings(**diffusion) -> GeneratorConfig:
    return GeneratorConfig(
        "procedural", 128, texture_backend="diffusion", diffusion=dataclasses.replace(PINNED, **diffusion)
    )


def test_estimates_hold_for_rendered_portraits_and_backdrops(sitter, kept):
    """Photographs have more noise; what is kept needs no room again."""
    config = settings(backdrop=InpaintConfig(size=SIZE))
    portrait = sitter.render(sitter.base)
    marks = sitter.neutral[sitter.model.topology.landmarks]
    before = room.needed_bytes(config, [6])
    told = {"painted": True, "tries": 1, "faults": [], "seed": 1, "about": {}}
    cache.save(
        studio.shaping(sitter.person, "procedural", config.diffusion),
        cache.Entry(portrait, sitter.sitting, marks, told),
    )
    left = room.needed_bytes(config, [6])
    (file,) = (kept / "portraits").glob("*.npz")
    assert 0.3 * (before - left) < file.stat().st_size < before - left

    book = album.Album(album.shaping(sitter.person, "procedural", 128, config.texture_size, config.diffusion), marks)
    painting = record.jpeg(portrait[::2, ::2], scenery.QUALITY)
    book.frames = {f"{i:024x}": album.Backdrop(painting, 1, ()) for i in range(36)}  # 33 frames, 3 neutral references
    book.save()
    (file,) = (kept / "backdrops").glob("*.npz")
    assert 0.3 * left < file.stat().st_size < left
    assert room.needed_bytes(config, [6]) == 0 and room.needed_bytes(config, [6, 7]) == before


def test_side_views_are_kept_beside_the_portrait():
    sides = settings(side_views=SideViewConfig(size=SIZE))
    assert room.needed_bytes(sides, [1]) == 4 * room.needed_bytes(settings(), [1])  # alone, and with both sides


def test_too_little_room_names_estimate_and_free_space(kept, monkeypatch):
    full = VARIANTS["full_backdrop"].generator
    backdrop = dataclasses.replace(full.diffusion.backdrop, size=512)
    diffusion = dataclasses.replace(full.diffusion, size=512, revision="a", controlnet_revision="b", backdrop=backdrop)
    config, people = dataclasses.replace(full, diffusion=diffusion), range(100)
    needed = 100 * (2 * 512**2 + 36 * 0.8 * 224**2)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(0, 0, int(1.05 * needed)))
    room.check(config, people)
    room.check(config, people, kept.parent / "data", int(0.04 * needed))
    with pytest.raises(OSError, match=r"cache for the .* 100 people: .* 0\.2 GB, 0\.5 GB with the .* 0\.2 GB are free"):
        room.check(config, people, kept.parent / "data", 300_000_000)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(0, 0, int(0.95 * needed)))
    with pytest.raises(OSError, match=r"about 0\.2 GB, and 0\.2 GB are free.*PAINJAX_CACHE"):
        room.check(config, people)
    room.check(VARIANTS["full"].generator, people)  # nothing is painted
