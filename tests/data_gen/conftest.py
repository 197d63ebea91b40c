"""The real face model for the tests, unpacked and converted once per machine."""

import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from data_gen.face_models.ict import IctFace


@pytest.fixture(scope="session")
def ict_dir(shared) -> Path:
    """The `FaceXModel` folder, also in PAINJAX_ICT_DIR; the 405 MB are unpacked once and kept between runs."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("PAINJAX_ICT_DIR"):
            patch.setenv("PAINJAX_ICT_DIR", str(_unpacked(shared / "data" / "ict_facekit.tar.xz")))
            patch.setenv("PAINJAX_CACHE", os.environ.get("PAINJAX_CACHE", str(_kept_folder() / "cache")))
        yield Path(os.environ["PAINJAX_ICT_DIR"])


@pytest.fixture(scope="session")
def ict(ict_dir) -> IctFace:
    return IctFace.load(ict_dir)


def _kept_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"painjax-tests-{os.getuid()}"


def _unpacked(archive: Path) -> Path:
    if not archive.is_file():
        pytest.skip(f"needs ICT-FaceKit: {archive}, or PAINJAX_ICT_DIR set to a `FaceXModel` folder")
    folder = _kept_folder() / f"ict-{archive.stat().st_size}"
    if not folder.is_dir():
        _kept_folder().mkdir(exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=_kept_folder()))
        with tarfile.open(archive) as packed:
            packed.extractall(partial, filter="data")
        partial.rename(folder)
    return folder / "FaceXModel"
