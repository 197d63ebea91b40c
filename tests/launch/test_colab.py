"""The Colab notebooks: paired with their text, clean, installing the right things, and running from top to bottom."""

import base64
import importlib.machinery
import io
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from launch.colab import runtime
from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "launch" / "colab"
NAMES = ("meet_3dpain", "distil_a_vitpain", "use_it_in_your_project")

every_notebook = pytest.mark.parametrize("name", NAMES)


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def setup_cell(name):
    return next(cell.source for cell in read(name).cells if cell.cell_type == "code")


def repository():
    (found,) = re.findall(r'^REPOSITORY = "([\w.-]+/[\w.-]+)"', setup_cell(NAMES[0]), re.MULTILINE)
    return found


# ------------------------------------------------------------------------------------------------ the files


@every_notebook
def test_notebook_and_text_say_the_same(name):
    text = jupytext.read(FOLDER / f"{name}.py")
    assert [(c.cell_type, c.source) for c in text.cells] == [(c.cell_type, c.source) for c in read(name).cells], (
        "run: jupytext --sync launch/colab/*.ipynb"
    )


@every_notebook
def test_notebooks_are_committed_without_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
    assert set(notebook.metadata) == {"jupytext", "kernelspec"}


@every_notebook
def test_the_badge_opens_this_notebook(name):
    badge = f"https://colab.research.google.com/github/{repository()}/blob/main/launch/colab/{name}.ipynb"
    assert f"({badge})" in read(name).cells[0].source
    assert f"({badge})" in (FOLDER / "README.md").read_text()


def test_the_repository_is_the_one_of_the_package():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    for address in urls.values():
        if "github.com" in address:
            assert f"github.com/{repository()}" in address


@every_notebook
def test_all_begin_with_the_same_cell(name):
    assert setup_cell(name) == setup_cell(NAMES[0])


# ------------------------------------------------------------------------------------------------ the first cell


@pytest.fixture
def colab(monkeypatch):
    """A pretended Colab runtime; the fixture is the list of the commands that it was asked to run."""
    commands, failing = [], set()

    def run(command, **_):
        commands.append([str(word) for word in command])
        failed = any(word in failing for word in commands[-1])
        return types.SimpleNamespace(returncode=int(failed), stdout="", stderr="E: no\nE: it broke" if failed else "")

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv("COLAB_TPU_1VM", raising=False)
    return types.SimpleNamespace(commands=commands, failing=failing)


def missing(monkeypatch, *names):
    def find_spec(name):
        return None if name in names else importlib.machinery.ModuleSpec(name, None)

    monkeypatch.setattr(runtime.importlib.util, "find_spec", find_spec)


def pip_packages(commands):
    (command,) = [command for command in commands if "pip" in command]
    return command[command.index("--quiet") + 1 :]


@pytest.mark.parametrize("device", ["cpu", "cuda12", "tpu"])
def test_colab_gets_jax_for_its_device_and_a_renderer(colab, monkeypatch, device):
    if device == "tpu":
        monkeypatch.setenv("COLAB_TPU_1VM", "1")
    if device == "cpu":
        colab.failing.add("nvidia-smi")  # as on a runtime without a GPU, where the program is installed all the same
    runtime.install()
    packages = pip_packages(colab.commands)
    assert packages[0] == f"{ROOT}[render]"
    assert packages[1:] == ([] if device == "cpu" else [f"jax[{device}]"])
    (apt,) = [command for command in colab.commands if command[:2] == ["apt-get", "install"]]
    assert {"libegl1", "libgl1", "libgl1-mesa-dri", "libgles2"} <= set(apt)


def test_the_extras_exist_and_bring_no_tensorflow():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(package.startswith("pyrender") for package in extras["render"])
    assert not any(package.startswith(("tensorflow", "apache-beam")) for package in extras["render"])
    assert any(package.startswith("ipywidgets") for package in extras["demo"])


def test_a_failed_installation_is_one_sentence_with_the_reason(colab):
    colab.failing.add("pip")
    with pytest.raises(RuntimeError, match=r"(?s)^Installing PainJAX failed: E: it broke Run this cell again"):
        runtime.install()


def test_a_kernel_older_than_its_packages_must_be_restarted(monkeypatch):
    runtime.check_versions()
    monkeypatch.setattr(np, "__version__", "1.0")
    with pytest.raises(RuntimeError, match="numpy is newer on disk .* Restart session"):
        runtime.check_versions()


def test_elsewhere_nothing_is_installed_and_what_is_missing_is_named(monkeypatch):
    missing(monkeypatch, "pyrender", "ipywidgets")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("ran a command"))
    with pytest.raises(RuntimeError, match=r"needs pyrender, ipywidgets\. .* pip install -e '\.\[render,demo\]'"):
        runtime.start()


def test_outside_a_clone_the_first_cell_says_where_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match=f"git clone https://github.com/{repository()}"):
        exec(setup_cell(NAMES[0]), {})


def test_on_colab_the_first_cell_clones_the_repository(colab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError):  # for nothing has been cloned in truth
        exec(setup_cell(NAMES[0]).replace("/content/", f"{tmp_path}/"), {})
    (clone,) = colab.commands
    assert clone[:2] == ["git", "clone"]
    assert clone[-2:] == [f"https://github.com/{repository()}", f"{tmp_path}/painjax"]


# ------------------------------------------------------------------------------------------------ a whole run


@pytest.fixture
def run(tiny_dataset, tmp_path, monkeypatch):
    """Runs a notebook in its quick form in a kernel of its own, with further cells at its end."""
    for variable, value in {
        "PAINJAX_QUICK": "1",
        "TFDS_DATA_DIR": str(tiny_dataset.parents[2]),
        "TMPDIR": str(tmp_path),  # where the quick form keeps its trainings
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "XLA_FLAGS": xla_flags(1),  # one device, as users have
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PAINJAX_WORKERS": "1",
    }.items():
        monkeypatch.setenv(variable, value)

    def run(name, *cells):
        notebook = read(name)
        notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
        before = (ROOT / "runs").exists()
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(FOLDER)}}).execute()
        assert (ROOT / "runs").exists() == before, "the quick form leaves no trainings in the project's folder"
        return Outputs(notebook)

    return run


class Outputs:
    """What a run has shown; checks what holds for every notebook."""

    def __init__(self, notebook):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        self.text = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
        self.html = "".join(o.data.get("text/html", "") for o in outputs if "data" in o)
        self.widgets = [o for o in outputs if "data" in o and "application/vnd.jupyter.widget-view+json" in o.data]
        encoded = [o.data["image/png"] for o in outputs if "data" in o and "image/png" in o.data]
        self.pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(e))).convert("RGB")) for e in encoded]
        logged = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stderr")
        spilled = [line for line in re.split(r"[\r\n]+", logged) if line.strip() and not re.search(r"\d+%\|", line)]
        assert not spilled, "only progress bars go to stderr"
        assert "Warning" not in self.text and str(ROOT) not in self.text
        assert all(picture.std() > 10 for picture in self.pictures), "a blank picture"

    def number(self, pattern):
        return float(re.search(pattern, self.text).group(1))


MOVE_A_SLIDER = """
before = picture.value, formula.value
sliders["AU43"].value = 1
print("moved:", picture.value != before[0], formula.value)
"""


@pytest.mark.slow
def test_meet_3dpain(run):
    found = run("meet_3dpain", MOVE_A_SLIDER)
    assert len(found.pictures) == 4 and len(found.widgets) == 1
    assert "pain3d/tiny: 132 frames" in found.text
    assert "moved: True <b>PSPI = 4 + max(0, 3) + max(0, 2) + 1 = 10</b>" in found.text


@pytest.mark.slow
def test_distil_a_vitpain(run):
    found = run("distil_a_vitpain")
    assert len(found.pictures) == 2 and "<svg" in found.html and "Validation MAE" in found.html
    teacher = found.number(r"teacher: reads the true heatmap +([\d.]+)")
    assert teacher < 0.7 * found.number(r"best constant +([\d.]+)")
    assert len(re.findall(r"student: .*, with(?:out)? neutral", found.text)) == 4


@pytest.mark.slow
def test_use_it_in_your_project(run):
    found = run("use_it_in_your_project", "print('TensorFlow:', 'tensorflow' in sys.modules)")
    assert len(found.pictures) == 2
    assert found.number(r"probe ([\d.]+)") < 0.8 * found.number(r"best constant ([\d.]+)")
    assert "TensorFlow: False" in found.text
