"""The whole path by the commands a user types: data set, teacher, student, evaluation, prediction, report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.xla_flags import xla_flags

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def painjax(*arguments, check=True, where=ROOT):
    here = {"XLA_FLAGS": xla_flags(1), "PYTHONWARNINGS": "ignore"}  # one device, as a user's laptop has
    environment = os.environ | here
    command = [sys.executable, "-m", "painjax", *map(str, arguments)]
    result = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
    assert not check or result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope="module")
def runs(tiny_dataset, tmp_path_factory):
    """Workdirs of a teacher and a student, trained for a few steps on pain3d/tiny; named by relative paths, as users
    do."""
    folder = tmp_path_factory.mktemp("runs")
    data = ["--config.data.name=pain3d/tiny", f"--config.data.data_dir={tiny_dataset.parents[2]}"]
    size = ["--config.model.image_size=64"]
    configs = f"--config={ROOT}/configs"
    painjax("train", f"{configs}/teacher.py:test", "--workdir=teacher", *data, *size, where=folder)
    student = [f"{configs}/student.py:test", "--config.teacher=teacher", "--workdir=student"]
    painjax("train", *student, *data, *size, where=folder)
    return folder


def test_training_leaves_what_it_promises(runs):
    for run in ("teacher", "student"):
        lines = [json.loads(line) for line in (runs / run / "metrics.jsonl").read_text().splitlines()]
        steps = [line["step"] for line in lines]
        assert lines and steps == sorted(steps)
        assert json.loads((runs / run / "config.json").read_text())["data"]["name"] == "pain3d/tiny"


def test_evaluation_has_every_number(runs):
    result = painjax("evaluate", "--workdir=student", "--split=test", "--json", where=runs)
    printed = json.loads(result.stdout)
    stored = json.loads((runs / "student/evaluation.json").read_text())
    assert printed == stored
    assert stored["split"] == "test" and stored["n"] == 33
    assert {"mae", "rmse", "pcc", "icc", "auroc@1", "auroc@2", "auroc@3"} <= set(stored["pspi"])
    assert set(stored["aus"]) == {"AU4", "AU6", "AU7", "AU9", "AU10", "AU43"}
    assert stored["baselines"]["constant"]["mae"] > 0


@pytest.fixture(scope="module")
def pictures(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    frames = tfds.builder_from_directory(tiny_dataset).as_data_source("test")
    for i in (0, 1):
        Image.fromarray(frames[i]["image"]).save(folder / f"{i}.png")
    Image.fromarray(frames[0]["neutral_image"]).save(folder / "rest.png")
    return folder


def test_prediction_with_and_without_a_neutral_reference(runs, pictures):
    for extra in ([], [f"--neutral={pictures}/rest.png"]):
        result = painjax("predict", f"--workdir={runs}/student", f"--image={pictures}/0.png", *extra, "--json")
        (found,) = json.loads(result.stdout)["predictions"]
        assert 0 <= found["pspi"] <= 16 and set(found["aus"]) == {"AU4", "AU6", "AU7", "AU9", "AU10", "AU43"}


def test_prediction_goes_on_past_a_bad_file(runs, pictures, tmp_path):
    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    result = painjax("predict", f"--workdir={runs}/student", f"--image={tmp_path}", check=False)
    assert result.returncode != 0
    assert "broken.jpg" in result.stderr and "Traceback" not in result.stderr
    assert "0.png" in result.stdout and "1.png" in result.stdout and "rest.png" in result.stdout


def test_report_is_one_page_with_pictures(runs):
    painjax("evaluate", f"--workdir={runs}/teacher", "--split=test")
    painjax("evaluate", f"--workdir={runs}/student", "--split=test")
    painjax("report", f"--workdir={runs}/student", f"--compare={runs}/teacher")
    page = (runs / "student/report.html").read_text()
    assert page.count("data:image/jpeg") >= 8 * 5 and page.count("<svg") == 4
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--config.optim.no_such_key=1"], "no_such_key"),
        (["--config.steps=many"], "steps"),
        (["--config.data.name=pain3d/nothing"], "tfds build"),
        (["--config.mesh.data=2"], "config.mesh"),
        (["--config.optim.warmup_steps=9"], "config.optim.warmup_steps"),
    ],
)
def test_a_users_mistake_is_named_and_shows_no_traceback(tmp_path, arguments, named):
    result = painjax("train", "--config=configs/teacher.py:test", f"--workdir={tmp_path}/run", *arguments, check=False)
    assert result.returncode != 0
    assert named in result.stderr and "Traceback" not in result.stderr


def test_a_student_without_teacher_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    result = painjax(
        "train", "--config=configs/student.py:test", f"--config.teacher={tmp_path}/empty",
        f"--workdir={tmp_path}/run", check=False,
    )  # fmt: skip
    assert result.returncode != 0
    assert "empty" in result.stderr and "painjax train" in result.stderr and "Traceback" not in result.stderr
