import dataclasses
import json
import math
import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import teacher
from painjax import sharding
from painjax.checkpoint import Checkpoints, best_step, read_config, restore_model, restore_params
from painjax.checkpoint.scores import known_metrics
from painjax.errors import UserError
from painjax.model_folder import write_model_folder
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.state import create_state
from tests import tiny_encoder


@pytest.fixture(scope="module")
def state():
    return make_state({"data": 2, "fsdp": 4})


def make_state(shape):
    mesh = sharding.create_mesh(shape)
    return create_state(teacher.get_config("test"), mesh)[0]


def at(state, step):
    """`state` at another step, with weights that tell it from the others."""
    params = jax.tree.map(lambda value: value + step, state.params)
    return dataclasses.replace(state, step=state.step + step, params=params)


def save(workdir, state, steps, scores=None, keep=2, metric="pspi.mae"):
    with Checkpoints(workdir, keep, metric) as checkpoints:
        for step in steps:
            checkpoints.save(at(state, step), {"data": {"next_index": step}})
            if step in (scores or {}):
                checkpoints.write_scores(step, {"pspi": scores[step]})
    (workdir / "config.json").write_text(teacher.get_config("test").to_json())


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_running_mean_is_kept_beside_the_weights_and_is_what_is_used(tmp_path):
    config = teacher.get_config("test")
    config.ema_decay = 0.9
    with_mean = create_state(config, sharding.create_mesh({"data": 4, "fsdp": 2}))[0]
    with_mean = dataclasses.replace(at(with_mean, 5), ema=jax.tree.map(lambda value: value - 1, with_mean.ema))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(with_mean, {})
    (tmp_path / "config.json").write_text(config.to_json())
    other = create_state(config, sharding.create_mesh({"data": 8, "fsdp": 1}))[0]
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore(other)
    for part in ("params", "ema", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(restored, part), getattr(with_mean, part))
    used = nnx.to_pure_dict(nnx.state(restore_model(tmp_path)[0], nnx.Param))
    jax.tree.map(np.testing.assert_array_equal, used, with_mean.ema["model"])


def test_a_state_comes_back_exactly_and_onto_another_mesh(state, tmp_path):
    save(tmp_path, state, [3])
    other = make_state({"data": 8, "fsdp": 1})
    with Checkpoints(tmp_path) as checkpoints:
        restored, position = checkpoints.restore(other)
    assert position == {"data": {"next_index": 3}} and int(restored.step) == 3
    jax.tree.map(np.testing.assert_array_equal, restored.params, at(state, 3).params)
    jax.tree.map(np.testing.assert_array_equal, restored.opt_state, state.opt_state)
    placed = [leaf.sharding for leaf in jax.tree.leaves((restored.params, restored.opt_state, restored.step))]
    assert placed == [leaf.sharding for leaf in jax.tree.leaves((other.params, other.opt_state, other.step))]


def test_the_last_ones_and_the_best_are_kept(state, tmp_path):
    save(
        tmp_path,
        state,
        [1, 2, 3, 4, 5],
        scores={s: {"mae": mae} for s, mae in {1: 3.0, 2: 1.0, 3: 2.0, 4: math.nan}.items()},
    )
    assert kept(tmp_path) == [2, 4, 5]
    assert best_step(tmp_path) == 2
    model, config, step = restore_model(tmp_path)
    assert step == 2 and config.model.width == 32
    expected = at(state, 2).params["model"]["encoder"]["cls_token"]
    np.testing.assert_array_equal(model.encoder.cls_token[...], expected)
    assert model.pspi_head.dropout.deterministic


def test_the_best_is_said_by_any_metric_and_by_its_direction(state, tmp_path):
    scores = {1: {"mae": 1.0, "pcc": 0.2}, 2: {"mae": 2.0, "pcc": 0.9}, 3: {"mae": 3.0, "pcc": None}}
    save(tmp_path, state, [1, 2, 3, 4], scores, keep=1, metric="pspi.pcc")
    assert kept(tmp_path) == [2, 4]
    config = teacher.get_config("test")
    config.keep_best = "pspi.pcc"
    (tmp_path / "config.json").write_text(config.to_json())
    assert best_step(tmp_path) == 2
    assert {"pspi.mae", "pspi.auroc@2", "aus.AU4.pcc", "heatmap.attention_iou"} < set(known_metrics())
    assert not {"heatmap.n", "aus.AU4.prevalence"} & set(known_metrics())  # counts, of which none is good


def test_scores_of_an_earlier_version_are_read(state, tmp_path):
    save(tmp_path, state, [1, 2], {1: {"mae": 1.0}, 2: {"mae": 2.0}})
    for step, score in ((1, "3.0"), (2, "Infinity")):  # as it wrote where nothing was validated
        (tmp_path / f"checkpoints/{step}/metrics/metrics").write_text(f'{{"pspi_mae": {score}}}')
    assert best_step(tmp_path) == 1


def test_a_validation_can_be_made_up_for(state, tmp_path):
    save(tmp_path, state, [1])
    with Checkpoints(tmp_path) as checkpoints:
        assert not checkpoints.is_validated(1)
        checkpoints.write_scores(1, {"pspi": {"mae": 1.0}})
        assert checkpoints.is_validated(1)


def test_the_order_is_that_of_steps_whatever_the_clock_says(state, tmp_path):
    save(tmp_path, state, [9, 10])
    for step, age in ((9, 0), (10, 10**9)):
        os.utime(tmp_path / "checkpoints" / str(step), (age, age))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() == 10 and int(checkpoints.restore(state)[0].step) == 10


# Orbax's other threads complain of the same disk, when and how they like.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_takes_no_more_is_one_sentence_and_the_last_good_one_stays(state, tmp_path):
    save(tmp_path, state, [1])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            UserError, match=r"of step 2 could not be written to .*: File too large. The one of step 1 is"
        ):
            with Checkpoints(tmp_path) as checkpoints:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
                checkpoints.save(at(state, 2), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert kept(tmp_path) == [1]  # and nothing half written
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(state)[0].step) == 1


def test_without_validation_the_last_one_counts(state, tmp_path):
    save(tmp_path, state, [1, 2])
    assert best_step(tmp_path) == 2


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# Orbax gives up at the first array, and its threads cannot say what became of the others.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "damage", ["truncated", "emptied", "no params", "no progress", "no position", "no metadata", "one file", "nothing"]
)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(state, tmp_path, damage, caplog):
    save(tmp_path, state, [1, 2])
    last = tmp_path / "checkpoints" / "2"
    if damage == "truncated":
        truncate(last / "params")
    elif damage == "emptied":
        for file in last.rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
    elif damage == "no metadata":
        for file in last.rglob("_METADATA"):
            file.unlink()
    elif damage == "one file":
        max((last / "progress/d").iterdir(), key=lambda file: file.stat().st_size).unlink()
    elif damage == "nothing":
        shutil.rmtree(last)
        last.mkdir()
    else:
        shutil.rmtree(last / damage.removeprefix("no "))
    with Checkpoints(tmp_path) as checkpoints:
        restored, position = checkpoints.restore(state)
        assert int(restored.step) == 1 and position["data"] == {"next_index": 1}
        assert "checkpoints/2 cannot be read" in caplog.text
        checkpoints.save(at(state, 2), {"data": {"next_index": 2}})  # its place is free again
    assert kept(tmp_path) == [1, 2]
    with Checkpoints(tmp_path) as checkpoints:
        assert int(checkpoints.restore(state)[0].step) == 2


def test_a_checkpoint_of_another_model_is_refused_and_left_where_it_is(state, tmp_path):
    save(tmp_path, state, [1, 2])
    more = {"new_head": {"kernel": jnp.zeros((2, 3))}, **state.params["model"]}
    other = dataclasses.replace(state, params={"model": more})
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(UserError, match=r"another model.*new_head/kernel is absent there and \(2, 3\) here"):
            checkpoints.restore(other)
    wider = jax.tree.map(lambda value: jnp.zeros((*value.shape, 2)), state.params)
    with pytest.raises(UserError, match=r"au_head/bias is \(6,\) there and \(6, 2\) here, .* [0-9]+ more"):
        restore_params(tmp_path, 2, wider["model"])
    assert kept(tmp_path) == [1, 2] and not list(tmp_path.glob("damaged*"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_may_not_read_just_now_leaves_the_checkpoint_where_it_is(state, tmp_path):
    save(tmp_path, state, [1, 2])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Checkpoints(tmp_path) as checkpoints:
        opened = {int(name) for name in os.listdir("/proc/self/fd")}
        first_free = min(set(range(len(opened) + 1)) - opened)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limit[1]))
            with pytest.raises(UserError, match="checkpoints/2 cannot be read: Too many open files"):
                checkpoints.restore(state)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert int(checkpoints.restore(state)[0].step) == 2
    assert kept(tmp_path) == [1, 2] and not list(tmp_path.glob("damaged*"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(state, tmp_path):
    save(tmp_path, state, [1, 2])
    for step in (1, 2):
        truncate(tmp_path / f"checkpoints/{step}/progress")
    for _ in range(2):  # and not at the next start either
        with Checkpoints(tmp_path) as checkpoints:
            with pytest.raises(UserError, match="No checkpoint .*damaged_checkpoint_1, .*damaged_checkpoint_2"):
                checkpoints.restore(state)
    assert kept(tmp_path) == []


def test_a_damaged_model_is_named_with_advice(state, tmp_path):
    save(tmp_path, state, [1, 2])
    truncate(tmp_path / "checkpoints/2/params")
    with pytest.raises(UserError, match=r"checkpoints/2 cannot be read.*Remove that folder") as error:
        restore_model(tmp_path)
    assert "\n" not in str(error.value)
    shutil.rmtree(tmp_path / "checkpoints/2")
    assert restore_model(tmp_path)[2] == 1


def test_nothing_to_restore(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state) is None and checkpoints.latest_step() is None


def test_a_folder_without_a_model_says_how_to_get_one(tmp_path):
    for function in (read_config, restore_model, best_step):
        with pytest.raises(FileNotFoundError, match="painjax train --config"):
            function(tmp_path)
    (tmp_path / "config.json").write_text(teacher.get_config("test").to_json())
    assert read_config(tmp_path).seed == 0
    with pytest.raises(FileNotFoundError, match="no checkpoints"):
        restore_model(tmp_path)


# ---------------------------------------------------------------- model folders


def write_vitpain(folder, experiment=None, **fields):
    """A ViTPain with random weights as a model folder, and its parameters."""
    model = tiny_encoder.MODEL | {"image_size": 32, "neutral": "shared", "lora_rank": 2} | fields
    outline = nnx.eval_shape(lambda: ViTPain(ViTPainConfig(**model), rngs=nnx.Rngs(0)))
    params = tiny_encoder.random_params(outline, seed=0)
    source = {"from": "a test", "revision": None, "file": None, "sha256": None}
    pictures = tiny_encoder.preprocessing(fields.get("in_channels", 3)) | {"crop": 0.9}
    described = {"model": model, "preprocessing": pictures, "source": source, "card": "# Tiny\n"}
    write_model_folder(folder, params, kind="vitpain", experiment=experiment, **described)
    return params


def test_a_model_folder_is_restored_as_a_run_is(tmp_path):
    params = write_vitpain(tmp_path / "model")
    model, config, step = restore_model(tmp_path / "model")
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(model, nnx.Param)), params)
    assert model.pspi_head.dropout.deterministic
    assert step == best_step(tmp_path / "model") == 0
    assert config == read_config(tmp_path / "model")
    assert (config.batch_size, config.seed, config.data.name, config.data.input) == (32, 0, "pain3d/quick", "image")
    assert config.data.image_mean == (0.5, 0.4, 0.3) and config.data.image_std == (0.2, 0.3, 0.4)
    assert config.model.neutral == "shared" and config.model.image_size == 32
    like = jax.tree.map(jnp.zeros_like, params)
    jax.tree.map(np.testing.assert_array_equal, restore_params(tmp_path / "model", 0, like), params)


def test_a_model_folder_remembers_its_training(tmp_path):
    experiment = teacher.get_config("test")
    experiment.data.data_dir = "elsewhere"
    write_vitpain(tmp_path / "model", json.loads(experiment.to_json()), in_channels=1, neutral="none")
    config = read_config(tmp_path / "model")
    assert (config.data.input, config.data.data_dir, config.batch_size) == ("heatmap", "elsewhere", 8)
    assert config.model.depth == 2 and config.model.lora_rank == 2 and "image_mean" not in config.data


def test_an_encoder_alone_is_no_model_of_pain(tmp_path):
    folder = tiny_encoder.write(tmp_path / "encoder")
    for function in (read_config, restore_model):
        with pytest.raises(UserError, match="holds an encoder without heads.*configs/student_lora.py"):
            function(folder)


def test_a_damaged_model_folder_is_refused(tmp_path):
    write_vitpain(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="has changed since it was written"):
        restore_model(tmp_path / "model")


@pytest.mark.parametrize(("field", "value"), [("remat", "always"), ("bag_of_words", 3)])
def test_a_run_of_another_version_is_one_sentence(tmp_path, field, value):
    config = json.loads(teacher.get_config("test").to_json())
    config["model"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    for function in (read_config, restore_model):
        with pytest.raises(UserError, match=f"config.json describes no model of this version.*{field}.*Train it again"):
            function(tmp_path)
