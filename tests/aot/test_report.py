"""`painjax aot` from the command line, with the real TPU compiler."""

import json

import pytest

from configs import student_vitl, teacher_vitl
from painjax import outline
from painjax.__main__ import main
from painjax.errors import UserError

VIT_S = ["width=384", "depth=12", "heads=6", "project_width=384"]
COMMAND = [
    *("aot", "--config=configs/student_vitl.py", "--config.mesh.fsdp=2", "--json"),
    *(f"--config.model.{setting}" for setting in VIT_S),
]


@pytest.fixture
def run(monkeypatch, capfd, request):
    """Runs the command in the project's folder; its status and the object that it prints."""
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    monkeypatch.chdir(request.config.rootpath)

    def run(*options):
        status = main([*COMMAND, *options])
        return status, json.loads(capfd.readouterr().out)

    return run


@pytest.mark.slow
def test_a_vit_s_is_compiled_for_four_chips(run):
    status, found = run("--topology=v5e:2x2", "--batch_per_device=8")
    assert status == 0 and found["fits"] is True
    assert (found["devices"], found["batch_size"]) == (4, 32)
    assert found["mesh"] == {"data": 2, "fsdp": 2, "model": 1}
    assert found["hbm_bytes"] == 16 * 2**30

    # Frozen encoders, half of each on a chip in bfloat16: 12 layers of 12 D^2 twice, and their embeddings.
    frozen = 2 * 12 * 12 * 384**2
    assert 1 < found["memory"]["arguments"] / frozen < 2  # beside them heads, adapters and the batch
    assert found["memory"]["alias"] > 0.9 * found["memory"]["output"]  # donated
    assert (
        found["peak_bytes_per_device"]
        == sum(found["memory"][part] for part in ("arguments", "temporary", "output")) - (found["memory"]["alias"])
    )

    # Of an example the teacher sees one picture, forward; the student two: forward, again (remat), and back through
    # frozen weights. A forward pass is 24 D^2 a token and layer, and attention.
    tokens, layers, d = 201, 12, 384
    forward = layers * (24 * tokens * d**2 + 4 * tokens**2 * d)
    assert found["flops_per_step"] / (32 * forward) == pytest.approx(1 + 2 * 3, rel=0.15)

    collectives = found["collectives"]
    assert set(collectives) == {"all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute"}
    assert collectives["all-to-all"] == {"count": 0, "bytes": 0}
    # Each frozen encoder is gathered once on the way up, the student's once more on the way down.
    weights = 12 * 12 * 384**2 * 2
    assert 2.5 < collectives["all-gather"]["bytes"] / weights < 5
    assert found["program_from"] == "v5e:2x2"

    assert [row["chips"] for row in found["scaling"]] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert found["scaling"][0]["efficiency"] == 1
    assert found["scaling"][-1]["efficiency"] == found["efficiency_256"]
    assert 0 < found["efficiency_256"] <= found["scaling"][-1]["efficiency_overlapped"] <= 1
    assert any("overlap" in assumption for assumption in found["assumptions"])


@pytest.mark.slow
def test_a_vit_l_fits_sixteen_chips_and_scales_as_documented(monkeypatch, capfd, request):
    """What launch/tpu_vm/AOT.md says of configs/student_vitl.py."""
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    monkeypatch.chdir(request.config.rootpath)
    configs = ("--config=configs/student_vitl.py", "--teacher=configs/teacher_vitl.py")
    assert main(["aot", "--topology=v5e:4x4", *configs, "--batch_per_device=128", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["fits"] is True and found["batch_size"] == 16 * 128
    assert found["collectives"]["all-to-all"] == {"count": 0, "bytes": 0}
    assert found["efficiency_256"] >= 0.9


@pytest.mark.slow
def test_what_does_not_fit_is_said_with_the_compilers_numbers(run):
    status, found = run(
        *("--topology=v5e:2x2", "--batch_per_device=4096", "--config.model.remat=none", "--config.model.depth=2")
    )
    assert status == 1 and found["fits"] is False
    assert found["peak_bytes_per_device"] == found["memory"]["arguments"] + found["memory"]["temporary"]
    assert found["peak_bytes_per_device"] > found["hbm_bytes"]
    assert found["efficiency_256"] is None and found["collectives"] is None


def test_a_slice_that_is_not_known_is_a_mistake_of_the_user(monkeypatch, capsys, request):
    monkeypatch.chdir(request.config.rootpath)
    assert main([*COMMAND, "--topology=v5e:5x5"]) == 2
    assert "Known are v5e: 1x1" in capsys.readouterr().err


def test_without_a_trained_teacher_one_of_the_students_sizes_is_taken():
    student = outline.complete(student_vitl.get_config())
    teacher = outline.teacher_of(student, None)
    named = outline.teacher_of(student, teacher_vitl.get_config())
    for found in (teacher, named):
        assert (found.model.width, found.model.depth, found.model.in_channels) == (1024, 24, 1)
        assert found.model.lora_rank == 0 and found.model.neutral == "none"
    assert outline.teacher_of(named, None) is None  # a teacher has none


def test_a_teacher_that_the_student_cannot_learn_from_is_refused():
    student = outline.complete(student_vitl.get_config())
    small = teacher_vitl.get_config("test")
    with pytest.raises(UserError, match=r"image_size is 32, the student's 224.*model.width is 32.*--teacher=FILE"):
        outline.teacher_of(student, small)
