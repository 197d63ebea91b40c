"""The doctor: what it says of this machine, and of machines where something is missing."""

import json
import os
import subprocess
import sys

import pytest

from painjax import __main__ as cli
from painjax import doctor


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch, tmp_path):
    """A process of its own, as users start it: without the tests' eight devices."""
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("PAINJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PAINJAX_ICT_DIR", raising=False)


def found(checks):
    return {check.name: check for check in checks}


def test_what_works_here_is_said(synthetic_dataset):
    checks = found(doctor.main(synthetic_dataset))
    assert checks["devices"].state == checks["packages"].state == "ok" and "cpu" in checks["devices"].found
    assert "jax " in checks["packages"].found
    assert checks["3DPain"].found.startswith("pain3d/quick ")
    assert doctor.problems(list(checks.values())) == 0


def test_a_backend_that_does_not_start_is_a_problem_with_a_fix(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAX_PLATFORMS", "no_such_backend")
    monkeypatch.setenv("PAINJAX_ICT_DIR", str(tmp_path / "none"))
    assert cli.main(["doctor", f"--data_dir={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    assert "no_such_backend" in printed and "pip install 'jax[cuda12]'" in printed and "Problems: 2." in printed
    assert "tfds build tfds_builders/pain3d" in printed


def test_broken_drivers_do_not_take_the_doctor_down(monkeypatch):
    died = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"])
    assert died.returncode == -11
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -11, "", ""))
    checks = found(doctor.main())
    assert checks["devices"].state == checks["rendering"].state == "problem"
    assert "status -11" in checks["rendering"].found and "libegl1" in checks["rendering"].fix


def test_missing_packages_are_named_with_the_command_that_brings_them(monkeypatch, tmp_path):
    version = doctor.importlib.metadata.version

    def without(name):
        if name in ("pyrender", "av", "flax"):
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", without)
    checks = found(doctor.main(tmp_path))
    assert checks["packages"].state == "problem" and "flax" in checks["packages"].found
    assert checks["rendering"].state == "note" and "painjax[generate]" in checks["rendering"].fix
    assert checks["more extras"].fix == "pip install 'painjax[generate,video]'"


def test_json_is_one_array(tmp_path, capsys):
    cli.main(["doctor", "--json", f"--data_dir={tmp_path}"])
    checks = json.loads(capsys.readouterr().out)
    assert {"name", "state", "found", "fix"} == set(checks[0])


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, as whom tests may run, may write everywhere
    assert found(doctor.main(tmp_path))["disk"].state == "problem"
