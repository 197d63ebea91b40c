import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import teacher
from painjax import sharding, train
from painjax.data import sources
from painjax.divergence import FiniteGuard
from painjax.errors import UserError
from painjax.state import create_state, make_train_step


def make_config(data_dir, **settings):
    config = teacher.get_config("test")
    config.data.data_dir = str(data_dir)
    config.mesh.data = -1
    config.update({"steps": 12, "checkpoint_every": 2, "validate_every": 100, "log_every": 12} | settings)
    return config


def rows(step):
    return {"index": np.arange(4) + step, "pspi": np.ones(4, np.float32)}


def terms(value):
    return {"loss": jnp.asarray(value, jnp.float32), "gradient_norm": jnp.ones(())}


def test_the_first_bad_step_is_found_two_steps_later_and_its_batch_kept(tmp_path):
    guard = FiniteGuard(tmp_path)
    for step in (1, 2):
        guard.watch(step, rows(step), terms(0.5))
    guard.watch(3, rows(3), terms(float("nan")))
    guard.watch(4, rows(4), terms(float("nan")))
    with pytest.raises(UserError, match=r"step 3 .*gradient_norm 1, loss nan.*examples.*: 3, 4, 5, 6\..*bad_batch_3"):
        guard.watch(5, rows(5), terms(float("nan")))
    assert [path.name for path in tmp_path.iterdir()] == ["bad_batch_3.npz"]
    np.testing.assert_array_equal(np.load(tmp_path / "bad_batch_3.npz")["index"], rows(3)["index"])


def test_settling_looks_at_every_step_and_gives_the_last_terms(tmp_path):
    guard = FiniteGuard(tmp_path)
    guard.watch(1, rows(1), terms(0.5))
    guard.watch(2, rows(2), terms(0.25))
    assert guard.settle() == {"loss": 0.25, "gradient_norm": 1.0}
    guard.watch(3, rows(3), terms(float("inf")))
    with pytest.raises(UserError, match="step 3 .*loss inf"):
        guard.settle()


def test_each_process_saves_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    guard = FiniteGuard(tmp_path)
    guard.watch(7, rows(7), terms(float("nan")))
    with pytest.raises(UserError, match="bad_batch_7_process1.npz"):
        guard.settle()
    assert (tmp_path / "bad_batch_7_process1.npz").exists()


def test_an_example_that_is_not_finite_is_named(tmp_path):
    guard = FiniteGuard(tmp_path)
    bad = rows(1) | {"pspi": np.array([0, 1, np.nan, 2], np.float32)}
    guard.watch(1, bad, terms(float("nan")))
    with pytest.raises(UserError, match="not finite: pspi of example 3[.]"):
        guard.settle()


def test_a_label_that_is_not_a_number_stops_training_and_its_batch_does_so_again(
    synthetic_dataset, tmp_path, monkeypatch
):
    read = sources.FrameSource.__getitem__
    broken = 17  # of the training split

    def with_nan(source, index):
        example = read(source, index)
        return example | {"pspi": np.float32(np.nan)} if index == broken else example

    monkeypatch.setattr(sources.FrameSource, "__getitem__", with_nan)
    config = make_config(synthetic_dataset)
    with pytest.raises(UserError, match=f"pspi of example {broken}") as error:
        train.main(config, tmp_path)
    (path,) = tmp_path.glob("bad_batch_*.npz")
    step = int(path.stem.removeprefix("bad_batch_"))
    assert str(path) in str(error.value) and f"step {step} is the first" in str(error.value)
    assert 1 <= step <= 5  # in the first epoch of 40 examples, 8 at a time
    saved = [int(folder.name) for folder in (tmp_path / "checkpoints").glob("[0-9]*")]
    assert all(kept < step for kept in saved)

    batch = dict(np.load(path))
    assert broken in batch["index"]
    mesh = sharding.create_mesh({"data": -1, "fsdp": 1})
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh)
        replay = make_train_step(config, optimizer, shardings, mesh)
        for values, finite in ((batch, False), (batch | {"pspi": np.nan_to_num(batch["pspi"])}, True)):
            state, again = replay(state, sharding.put_batch(values, mesh))
            assert np.isfinite(again["pspi"]) == finite
            state, shardings, optimizer = create_state(config, mesh)


@pytest.mark.slow
def test_a_step_that_leaves_no_finite_weights_is_never_saved(synthetic_dataset, tmp_path):
    config = make_config(synthetic_dataset, checkpoint_every=1)
    config.optim.learning_rate, config.optim.warmup_steps = 3e38, 0
    with pytest.raises(UserError, match="Training diverged: step 1 .*parameter_norm (inf|nan)"):
        train.main(config, tmp_path)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
