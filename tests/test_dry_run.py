"""Against the state that training really makes, leaf by leaf."""

import json
import re

import jax
import numpy as np
import pytest

from configs import student, teacher
from painjax import dry_run, outline, sharding
from painjax.__main__ import main
from painjax.errors import UserError
from painjax.state import create_state

pytestmark = pytest.mark.slow  # compiles the step


def make_config():
    config = student.get_config("test")
    config.mesh.update({"data": 2, "fsdp": 4})
    config.ema_decay = 0.9
    config.model.project_width = config.model.width
    return config


@pytest.fixture(scope="module")
def found():
    return dry_run.main(make_config())


@pytest.fixture(scope="module")
def state():
    config = make_config()
    mesh = sharding.create_mesh(config.mesh.to_dict())
    with jax.set_mesh(mesh):
        return create_state(config, mesh, outline.teacher_of(config, None))[0]


def on_one_device(tree):
    device = jax.devices()[3]
    shards = [shard for array in jax.tree.leaves(tree) for shard in array.addressable_shards if shard.device == device]
    return sum(shard.data.nbytes for shard in shards)


def test_memory_is_what_the_arrays_take(found, state):
    memory = found["memory"]
    for name in ("params", "opt_state", "ema", "frozen"):
        key = {"params": "parameters", "opt_state": "optimizer"}.get(name, name)
        assert memory[key] == on_one_device(getattr(state, name)), name
    config = make_config()
    row = 2 * 32 * 32 * 3 + 32 * 32  # frame, neutral reference, heatmap
    assert memory["batch"] == pytest.approx(config.batch_size / 8 * row, rel=0.02)
    kept = memory["parameters"] + memory["optimizer"] + memory["ema"] + memory["frozen"] + memory["batch"]
    assert memory["compiled"]["arguments"] == pytest.approx(kept, rel=0.02)
    assert memory["compiled"]["peak"] > memory["compiled"]["arguments"]
    assert set(memory["compiled"]) == {"arguments", "temporary", "output", "alias", "peak"}  # as `painjax aot` has them


def test_every_parameter_is_counted_once(found, state):
    size = {name: sum(x.size for x in jax.tree.leaves(getattr(state, name))) for name in ("params", "frozen")}
    assert sum(row["trained"] for row in found["parameters"]) == size["params"]
    assert sum(row["frozen"] for row in found["parameters"]) == size["frozen"]
    assert sum(row["parameters"] for row in found["optimizer_groups"]) == size["params"]
    assert {row["part"] for row in found["parameters"]} == {"encoder", "heads", "teacher"}
    arrays = found["arrays"]
    assert sum(int(np.prod(row["shape"])) for row in arrays) == sum(size.values())
    assert len({row["path"] for row in arrays}) == len(arrays)


def test_the_table_says_where_parameters_lie(found):
    rows = {row["path"]: row for row in found["arrays"]}
    kernel = rows["model/encoder/blocks/fc1/kernel"]
    assert kernel["shape"] == [2, 32, 128] and kernel["dtype"] == "float32"
    assert kernel["logical"] == ["layer", "embed", "mlp"] and kernel["spec"] == [None, "fsdp", "model"]
    assert kernel["bytes"] == 2 * 32 * 128 * 4 // 4
    assert rows["teacher/encoder/norm/scale"]["logical"] == [None]


def test_what_is_not_known_is_assumed_and_said(found):
    assert found["assumed"] == ["config.teacher is empty: a teacher of the student's own sizes."]
    json.dumps(found, allow_nan=False)
    assert 0 < found["flops"]["model"] <= found["flops"]["step"]


def test_the_command_touches_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = teacher.__file__
    assert main(["train", "--dry_run", f"--config={config}:test"]) == 0
    assert not list(tmp_path.iterdir())
    text = capsys.readouterr().out
    assert re.search(r"^model/encoder/blocks/qkv/kernel +2 x 32 x 96 +float32 +layer, embed, heads", text, re.M)
    assert "the compiled step: peak" in text and "TFLOP per step" in text


def test_a_trained_teacher_may_lack_settings_of_later_versions():
    given = teacher.get_config("test")
    del given.keep_best, given.wandb
    assert outline.teacher_of(make_config(), given).model == given.model


def test_a_mesh_that_does_not_fit_is_refused():
    config = make_config()
    config.mesh.fsdp = 3
    with pytest.raises(UserError, match="does not fit the devices"):
        dry_run.main(config)


def test_a_training_needs_a_folder(capsys):
    for arguments, message in (
        (["train", "--config=configs/teacher.py"], "train needs --workdir"),
        (["train", "--config=configs/teacher.py", "--workdir=w", "--devices=4"], "--devices is for --dry_run"),
        (["train", "--dry_run", "--config=configs/teacher.py", "--devices=0"], "--devices is 0; expected at least 1"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
