"""The arrows between folders, and what `import painjax` may load."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {"painjax", "data_gen", "tfds_builders", "configs", "launch", "tests"}
# These alone may load torch, and only when they are called: it reads and writes torch's files, and is compared with.
TORCH_USERS = {"weights/torch_file.py", "bench/torch_side.py"}
HEAVY = {"torch", "peft", "diffusers", "transformers", "tensorflow", "pyrender", "OpenGL", "trimesh", "apache_beam"}


def imports_of(path: Path) -> set[str]:
    """Dotted names a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


@pytest.mark.parametrize("path", files("painjax"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_imports_no_other_folder_and_nothing_heavy(path):
    roots = {name.split(".")[0] for name in imports_of(path)}
    allowed = {"torch", "transformers", "peft"} if str(path.relative_to(ROOT / "painjax")) in TORCH_USERS else set()
    assert not roots & ((PROJECT - {"painjax"}) | HEAVY) - allowed


@pytest.mark.parametrize("path", [*files("data_gen"), *files("tfds_builders")], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_generator_takes_only_pspi_from_the_library(path):
    ours = {name for name in imports_of(path) if name.split(".")[0] == "painjax"}
    assert all(name == "painjax.pspi" or name.startswith("painjax.pspi.") for name in ours), ours
    allowed = {"data_gen"} | ({"tfds_builders"} if "tfds_builders" in path.parts else set())
    assert not {name.split(".")[0] for name in imports_of(path)} & (PROJECT - allowed - {"painjax"})


# Later ones may import earlier ones, never the other way round.
LAYERS = [
    {"errors", "pspi", "large_pages", "own_lines"},
    {"config", "files", "sharding", "agreement", "arguments", "flops", "chips"},
    {"data"},
    {"models"},
    {"model_folder"},
    {"weights"},
    {"losses", "metrics", "overlay", "teacher_outputs"},
    {"objectives", "optim", "demographics"},
    {"pretrained"},
    {"state", "training_log", "meter", "progress", "profiling", "divergence", "sole_training"},
    {"checkpoint", "mfu"},
    {"provenance"},
    {"evaluate", "same_experiment", "settings", "teacher"},
    {"pictures", "video", "prediction_table", "exportable", "outline"},
    {"predictor"},
    {"train", "precompute", "predict", "report_plots", "model_card", "serving"},
    {"report", "stablehlo", "onnx_export", "huggingface_export"},
    {"export", "aot"},
    {"bench"},
    {"console", "doctor", "launch", "generator", "dry_run"},
    {"__main__"},
]


def layer_of(name: str) -> int:
    (layer,) = [i for i, names in enumerate(LAYERS) if name in names]
    return layer


@pytest.mark.parametrize("path", files("painjax"), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_inside_the_library_go_one_way(path):
    name = path.relative_to(ROOT / "painjax").parts[0].removesuffix(".py")
    if name == "__init__":
        return
    for imported in imports_of(path):
        parts = imported.split(".")
        if parts[0] == "painjax" and len(parts) > 1 and parts[1] not in {name, "__version__"}:
            assert layer_of(parts[1]) < layer_of(name), f"{name} imports {parts[1]}"


def test_only_one_file_each_touches_orbax_and_opengl():
    def users(package, folder):
        return {p.name for p in files(folder) if any(n.split(".")[0] == package for n in imports_of(p))}

    assert users("orbax", "painjax") == {"orbax_files.py"}
    assert users("pyrender", "data_gen") == {"egl.py", "naive_loop.py"}  # what the benchmark compares with
    assert users("OpenGL", "data_gen") <= {"egl.py", "naive_loop.py"}
    for package in ("diffusers", "transformers"):
        assert users(package, "data_gen") == {"pipelines.py"}
    assert users("torch", "data_gen") == {"pipelines.py", "flops.py"}  # which counts with torch's own counter


def test_import_painjax_is_light_and_quick():
    code = (
        "import time, sys, json; t = time.perf_counter(); import painjax; t = time.perf_counter() - t;"
        "import painjax.train, painjax.predict, painjax.report, painjax.export, painjax.weights;"  # all of the library
        "print(json.dumps([t, sorted({m.split('.')[0] for m in sys.modules})]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, modules = json.loads(result.stdout)
    assert not HEAVY & set(modules)
    assert seconds < 2


def test_pspi_formula_stands_in_one_place():
    """PSPI is spelled once: nobody else takes a maximum over pairs of action units."""
    others = [p for f in ("painjax", "data_gen", "tfds_builders") for p in files(f) if p.name != "pspi.py"]
    assert not [p for p in others if "def pspi(" in p.read_text()]
