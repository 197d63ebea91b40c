"""Wheel and sdist hold what users need, and the wheel works in an environment of its own."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "painjax/__main__.py",
    "painjax/py.typed",
    "painjax/report.html",
    "painjax/weights/layouts/official.py",
    "data_gen/scene.py",
    "tfds_builders/pain3d/pain3d_dataset_builder.py",
    "tfds_builders/pain3d/README.md",
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """Both, built from a copy: building writes beside the sources."""
    folder = tmp_path_factory.mktemp("packages")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--outdir", str(folder), str(folder / "source")]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_both_hold_the_packages_and_their_files(packages):
    (wheel,), (sdist,) = packages.glob("*.whl"), packages.glob("*.tar.gz")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert set(NEEDED) <= inside
    shaders = {str(path.relative_to(ROOT)) for path in (ROOT / "data_gen").rglob("*.frag")}
    assert shaders <= inside
    assert {name.split("/")[0] for name in inside} <= {"painjax", "data_gen", "tfds_builders"} | {
        name.split("/")[0] for name in inside if ".dist-info/" in name
    }
    with tarfile.open(sdist) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
    assert set(NEEDED) | {"pyproject.toml", "LICENSE", "README.md"} <= names


@pytest.mark.slow
def test_the_wheel_works_without_the_extras(packages, tmp_path):
    """Installed alone beside the core packages; those of the extras and the clone are out of reach."""
    (wheel,) = packages.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-t", tmp_path / "site", wheel], check=True
    )
    absent = "torch transformers tensorflow pyrender trimesh apache_beam av jax2onnx huggingface_hub".split()
    code = f"import sys\nfor name in {absent}: sys.modules[name] = None\n"
    code += "import painjax\nfrom painjax.__main__ import main\nprint(painjax.__file__)\nsys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "XLA_FLAGS": ""}

    def run(*arguments):
        command = [sys.executable, "-P", "-c", code, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run("--help")
    assert done.returncode == 0 and str(tmp_path) in done.stdout and "doctor" in done.stdout
    done = run("import", "--from=someone/something", f"--to={tmp_path / 'model'}")
    assert done.returncode == 2 and "pip install 'painjax[hub]'" in done.stderr and "Traceback" not in done.stderr
