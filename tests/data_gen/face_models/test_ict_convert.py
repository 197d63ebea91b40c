"""ICT-FaceKit's OBJ files: the conversion, and what it says about damaged ones, on a model of five vertices."""

import os

import numpy as np
import pytest

from data_gen.face_models import ict_convert
from data_gen.face_models.ict import IctFace


@pytest.fixture
def tiny_source(tmp_path, monkeypatch):
    """A folder of 158 OBJ files over one quad and one triangle, and the vertices written into them."""
    monkeypatch.setattr(ict_convert, "VERTICES", 5)
    monkeypatch.setattr(ict_convert, "FACES", 2)
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    rng = np.random.default_rng(0)
    written = {}
    for name in ict_convert.SOURCE_FILES:
        written[name] = np.round(rng.normal(0, 10, (5, 3)), 5)
        _write_obj(folder / name, written[name])
    return folder, written


def _write_obj(path, vertices):
    lines = ["# a comment", "mtllib a.mtl", *("v {:.5f} {:.5f} {:.5f}".format(*v) for v in vertices)]
    lines += ["vt 0.25 0.5", "vt 1.75 1", "usemtl M_Face", "f 1/1 2/2 3/1 4/2", "usemtl M_Teeth", "f 3/1 4/2 5/1"]
    path.write_text("\n".join(lines) + "\n")


def test_conversion_keeps_every_coordinate_and_happens_once(tiny_source):
    folder, written = tiny_source
    assert len(ict_convert.SOURCE_FILES) == len(set(ict_convert.SOURCE_FILES)) == 158
    path = ict_convert.convert(ict_convert.find_sources(folder.parent), progress=False)
    arrays = ict_convert.load_cache(path)
    neutral = written["generic_neutral_mesh.obj"]
    np.testing.assert_allclose(arrays.neutral, neutral, rtol=1e-7)
    for name, delta in zip(ict_convert.SHAPES, arrays.deltas, strict=True):
        np.testing.assert_allclose(delta, written[f"{name}.obj"] - neutral, rtol=1e-6, atol=1e-9)
    assert arrays.faces.tolist() == [[0, 1, 2, 3], [2, 3, 4, -1]]
    assert arrays.uv_faces.tolist() == [[0, 1, 0, 1], [0, 1, 0, -1]]
    assert arrays.uvs.tolist() == [[0.25, 0.5], [1.75, 1.0]]
    assert arrays.materials.tolist() == ["M_Face", "M_Teeth"]

    made = path.stat().st_ino
    assert ict_convert.convert(ict_convert.find_sources(folder), progress=False) == path
    assert path.stat().st_ino == made and [p.name for p in path.parent.iterdir()] == [path.name]
    assert ict_convert.newest_cache() == path


def test_a_changed_source_is_converted_again(tiny_source):
    folder, written = tiny_source
    first = ict_convert.convert(ict_convert.find_sources(folder), progress=False)
    _write_obj(folder / "jawOpen.obj", written["jawOpen.obj"] + 1)
    os.utime(folder / "jawOpen.obj", (1, 1))
    second = ict_convert.convert(ict_convert.find_sources(folder), progress=False)
    assert second != first and ict_convert.newest_cache() == second
    row = ict_convert.SHAPES.index("jawOpen")
    np.testing.assert_allclose(
        ict_convert.load_cache(second).deltas[row] - ict_convert.load_cache(first).deltas[row], 1, atol=1e-5
    )


def test_downloads_may_have_any_names(tiny_source):
    folder, _ = tiny_source
    assert set(ict_convert.source_urls()) == set(ict_convert.SOURCE_FILES)
    files = {}
    for number, name in enumerate(ict_convert.SOURCE_FILES):
        files[name] = folder / f"raw.githubusercontent.com_{number}"
        (folder / name).rename(files[name])
    assert ict_convert.convert(files, progress=False).is_file()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("v ", "v x", 1), r"browDown_L\.obj, line 3: .* not a vertex"),
        (lambda text: text.replace("vt 0.25", "v nan 0 1\nvt 0.25", 1), r"browDown_L\.obj, line 8: .* not a vertex"),
        (lambda text: text.replace("vt 0.25", "v 0 1\nvt 0.25", 1), r"browDown_L\.obj, line 8: .* not a vertex"),
        (lambda text: text.replace("vt 0.25", "v 0 1 2\nvt 0.25", 1), r"browDown_L\.obj has 6 vertices; expected 5"),
        (lambda text: text[: text.index("v ")], r"browDown_L\.obj has 0 readable vertices"),
        (lambda text: text[:60], r"browDown_L\.obj"),
        (lambda text: "<html>404: Not Found</html>", r"browDown_L\.obj"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tiny_source, damage, message):
    folder, _ = tiny_source
    path = folder / "browDown_L.obj"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message):
        ict_convert.convert(ict_convert.find_sources(folder), progress=False)
    assert ict_convert.newest_cache() is None


def test_a_damaged_face_is_named_with_its_line(tiny_source):
    folder, _ = tiny_source
    path = folder / "generic_neutral_mesh.obj"
    path.write_text(path.read_text().replace("f 3/1 4/2 5/1", "f 3/1 4/2 9/1"))
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj, line 13: 'f 3/1 4/2 9/1' is not a face"):
        ict_convert.convert(ict_convert.find_sources(folder), progress=False)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("\nf 3/1", "has 1 faces over 2 texture coordinates; expected 2 faces"),
        ("\nusemtl M_Face", "has 0 faces over 2 texture coordinates; expected 2 faces"),
        ("vt 1.75 1\n", "has 2 faces over 1 texture coordinates; expected 2 faces, each over coordinates"),
    ],
)
def test_a_neutral_that_lacks_faces_or_coordinates_is_refused(tiny_source, cut, message):
    """Cut off between two lines, every line that is left is sound."""
    folder, _ = tiny_source
    path = folder / "generic_neutral_mesh.obj"
    text = path.read_text()
    path.write_text(text.replace(cut, "") if cut.startswith("vt") else text[: text.index(cut) + 1])
    with pytest.raises(ValueError, match=rf"generic_neutral_mesh\.obj {message}"):
        ict_convert.convert(ict_convert.find_sources(folder), progress=False)


def test_a_missing_file_is_named(tiny_source):
    folder, _ = tiny_source
    (folder / "identity042.obj").unlink()
    (folder / "jawOpen.obj").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks identity042\.obj and 1 more"):
        IctFace.load(folder)


def test_a_wrong_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PAINJAX_ICT_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} holds no ICT-FaceKit model.*PAINJAX_ICT_DIR"):
        IctFace.load()


def test_nothing_configured_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        IctFace.load()
    for part in ("PAINJAX_ICT_DIR", "ICT-VGL/ICT-FaceKit", "MIT", "git clone", str(tmp_path)):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_an_interrupted_conversion_leaves_nothing(tiny_source, monkeypatch):
    folder, _ = tiny_source
    monkeypatch.setattr(np, "savez", lambda file, **arrays: (file.write(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        ict_convert.convert(ict_convert.find_sources(folder), progress=False)
    assert not list(ict_convert.cache_folder().iterdir())


def test_a_damaged_cache_is_made_anew_from_the_source_and_named_without_it(tiny_source):
    folder, _ = tiny_source
    files = ict_convert.find_sources(folder)
    path = ict_convert.convert(files, progress=False)
    whole = ict_convert.load_cache(path)
    sound = path.read_bytes()
    broken = bytearray(sound)
    broken[len(sound) // 2] ^= 0xFF
    unknown = bytearray(sound)  # a way to compress that nobody knows
    unknown[8] = unknown[sound.index(b"PK\x01\x02") + 10] = 99
    for damage in (sound[: len(sound) // 2], b"", b"no archive", bytes(broken), bytes(unknown)):
        path.write_bytes(damage)
        with pytest.raises(ict_convert.DamagedCache, match=rf"{path.name} is damaged.*PAINJAX_ICT_DIR"):
            ict_convert.load_cache(path)
        again = ict_convert.load_sources(files, progress=False)
        np.testing.assert_array_equal(again.deltas, whole.deltas)
        assert path.read_bytes() == sound


def test_a_cache_of_other_arrays_is_refused(tiny_source):
    path = ict_convert.convert(ict_convert.find_sources(tiny_source[0]), progress=False)
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **arrays | {"deltas": arrays["deltas"][:50]})
    with pytest.raises(ict_convert.DamagedCache, match=r"\(50, 5, 3\).*expected \(157, 5, 3\)"):
        ict_convert.load_cache(path)


def test_another_version_is_refused_with_what_differs(tiny_source):
    folder, _ = tiny_source
    (folder / "mouthUpperUp_L.obj").rename(folder / "mouthUpperUpLeft.obj")
    with pytest.raises(
        ValueError, match=r"another version .*has mouthUpperUpLeft\.obj \(1 .*lacks mouthUpperUp_L\.obj"
    ):
        ict_convert.find_sources(folder)
