import json
import subprocess
import sys
from pathlib import Path

import pytest

import painjax
from configs import teacher
from painjax import provenance
from painjax.data.records import dataset_version
from tests import synthetic_pain3d

ROOT = Path(__file__).resolve().parents[1]


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "painjax").mkdir()
    (tmp_path / "painjax/__init__.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_the_revision_and_whether_files_differ_from_it(checkout):
    revision = git(checkout, "rev-parse", "HEAD")
    assert provenance.git_revision(checkout) == {"revision": revision, "dirty": False}
    (checkout / "painjax/__init__.py").write_text("a = 2\n")
    assert provenance.git_revision(checkout) == {"revision": revision, "dirty": True}


def test_a_wheel_inside_another_project_has_no_revision(checkout, monkeypatch):
    """As in a virtual environment that lies, ignored, in somebody's checkout."""
    site = checkout / "venv/site-packages"
    (site / "painjax").mkdir(parents=True)
    (site / "painjax/__init__.py").write_text("a = 1\n")
    assert provenance.git_revision(site) is None
    assert provenance.git_revision(Path("/")) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert provenance.git_revision(checkout) is None


def test_the_source_hash_is_of_every_file(monkeypatch, tmp_path):
    def found():
        provenance.source_sha256.cache_clear()
        return provenance.source_sha256()

    monkeypatch.setattr(painjax, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "deep").mkdir()
    hashes = []
    for name, text in (("__init__.py", ""), ("deep/a.py", "1"), ("deep/a.py", "2"), ("deep/b.py", "2")):
        (tmp_path / name).write_text(text)
        hashes.append(found())
    (tmp_path / "deep/a.py").rename(tmp_path / "deep/c.py")
    hashes.append(found())
    assert len(set(hashes)) == 5
    (tmp_path / "notes.txt").write_text("no code")
    assert found() == hashes[-1]
    provenance.source_sha256.cache_clear()


def test_a_data_set_is_told_from_one_of_other_frames(synthetic_dataset, tmp_path):
    same, other = tmp_path / "same", tmp_path / "other"
    found = dataset_version("pain3d/quick", str(synthetic_dataset))
    assert found["name"] == "pain3d/quick" and found["version"] == "1.0.0"
    assert dataset_version("pain3d/quick", str(synthetic_pain3d.build(same))) == found
    assert dataset_version("pain3d/quick", str(synthetic_pain3d.build(other, test=11))) != found


def test_what_hosts_must_have_in_common(synthetic_dataset, tmp_path):
    config = teacher.get_config("test")
    config.data.data_dir = str(synthetic_dataset)
    origin = provenance.describe(config)
    facts = provenance.facts(config, origin, tmp_path)
    json.dumps(facts)
    assert facts["config.seed"] == 0 and facts["config.optim.groups.all.rate"] == 1.0
    assert facts["source_sha256"] == origin["source_sha256"] and facts["data_set"]["version"] == "1.0.0"
    assert facts["checkpoints"] == [] and facts["pretrained"] is None
    assert not {"config.data.data_dir", "config.pretrained", "git"} & set(facts)  # may differ from host to host


def test_each_start_is_noted_down(tmp_path):
    assert provenance.last_start(tmp_path) is None
    provenance.note_start(tmp_path, 0, {"painjax": "1"}, {})
    provenance.note_start(tmp_path, 7, {"painjax": "2"}, {"seed": "0 -> 1"})
    first, last = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert (first["step"], last["step"]) == (0, 7) and last == provenance.last_start(tmp_path)
    assert last["changes"] == {"seed": "0 -> 1"} and last["painjax"] == "2" and last["devices"] == "8 x cpu"


def test_it_works_without_a_checkout_and_without_git(tmp_path):
    """The package copied somewhere else, as a wheel installs it."""
    subprocess.run(["cp", "-r", ROOT / "painjax", tmp_path / "painjax"], check=True)
    code = "from painjax import provenance as p; from pathlib import Path; import painjax;"
    code += "print(p.git_revision(Path(painjax.__file__).parents[1]), p.source_sha256())"
    environment = {"PATH": "/nowhere", "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["None", provenance.source_sha256()], done.stderr
