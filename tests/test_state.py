import re
from collections import Counter

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs import student, student_supervised, teacher
from painjax import sharding
from painjax.data.pipeline import train_batches
from painjax.errors import UserError
from painjax.models import lora
from painjax.state import create_state, make_model, make_train_step, state_outline

pytestmark = pytest.mark.slow  # each mesh compiles the whole step

MESHES = {"1 device": ((1, 1), 1), "8x1": ((8, 1), 8), "2x4": ((2, 4), 8), "2x2x2": ((2, 2, 2), 8)}


def make_config(data_dir):
    config = student.get_config("test")
    config.data.data_dir = str(data_dir)
    config.steps = 20
    config.model.dropout = 0.3
    return config


def run(config, shape, devices, steps=20, frozen=None):
    """Losses of `steps` steps, and the state, the batches' shardings and the step after them."""
    mesh = sharding.create_mesh(dict(zip(("data", "fsdp", "model"), shape, strict=False)), jax.devices()[:devices])
    batches = train_batches(config)
    losses = []
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh, teacher.get_config("test"))
        step = make_train_step(config, optimizer, shardings, mesh)
        for _ in range(steps):
            state, terms = step(state, sharding.put_batch(next(batches), mesh))
            losses.append(float(terms["loss"]))
    return np.array(losses), state, step


@pytest.fixture(scope="module")
def runs(synthetic_dataset):
    return {name: run(make_config(synthetic_dataset), *mesh) for name, mesh in MESHES.items()}


def test_losses_do_not_depend_on_the_mesh(runs):
    expected, *_ = runs["1 device"]
    assert len(set(expected)) == 20 and expected[-1] < expected[0]
    for losses, *_ in runs.values():
        np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_a_step_is_compiled_once(synthetic_dataset, caplog):
    with jax.log_compiles():
        run(make_config(synthetic_dataset), (4, 2), 8, steps=3)
    assert sum("Finished XLA compilation of jit(train_step)" in message for message in caplog.messages) == 1


def test_the_outline_is_the_state_before_it_is_made(synthetic_dataset):
    config = make_config(synthetic_dataset)
    mesh = sharding.create_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
    outline, _ = state_outline(config, mesh, teacher.get_config("test"))
    state, *_ = create_state(config, mesh, teacher.get_config("test"))
    assert jax.tree.structure(outline) == jax.tree.structure(state)
    for expected, found in zip(jax.tree.leaves(outline), jax.tree.leaves(state), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert found.sharding.is_equivalent_to(expected.sharding, found.ndim)


def test_weights_and_their_moments_are_split_over_fsdp(runs):
    _, state, _ = runs["2x4"]
    kernel = state.params["model"]["encoder"]["blocks"]["fc1"]["kernel"]  # [layer, embed, mlp]
    (adam,) = [part for part in state.opt_state if hasattr(part, "mu")]
    moment = adam.mu["model"]["encoder"]["blocks"]["fc1"]["kernel"]
    frozen = state.frozen["teacher"]["encoder"]["blocks"]["fc1"]["kernel"]
    for array in (kernel, moment, frozen):
        layers, width, hidden = array.shape
        assert {shard.data.shape for shard in array.addressable_shards} == {(layers, width // 4, hidden)}


def test_hidden_units_and_heads_are_split_over_model(runs):
    _, state, _ = runs["2x2x2"]
    blocks = state.params["model"]["encoder"]["blocks"]
    for name, axis in (("fc1", 2), ("qkv", 2), ("fc2", 1), ("proj", 1)):
        kernel = blocks[name]["kernel"]
        (part,) = {shard.data.shape for shard in kernel.addressable_shards}
        assert part[axis] == kernel.shape[axis] // 2 and part[3 - axis] == kernel.shape[3 - axis] // 2


def test_accumulated_parts_make_the_update_of_the_whole_batch(synthetic_dataset):
    config = make_config(synthetic_dataset)
    config.model.dropout = 0.0  # its draws follow the part
    config.loss.attention = 0.0  # the only term that is a weighted mean over a batch
    whole, after_whole, _ = run(config, (1, 1), 1, steps=3)
    config.batch_size, config.accumulate = 8, 2
    parts, after_parts, _ = run(config, (2, 1), 2, steps=3)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    found, expected = (flatten_dict(after.params, sep="/") for after in (after_parts, after_whole))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        # The gradient of a query head's key bias is rounding alone, which Adam enlarges: it stands at 8e-6.
        atol = 2e-5 if name == "model/au_head/key/bias" else 1e-5
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=atol, err_msg=name)


def test_the_running_mean_follows_the_weights_and_is_what_is_used(synthetic_dataset):
    config = make_config(synthetic_dataset)
    config.ema_decay = 0.15  # the first update counts 1 - 1/10, the second 1 - 0.15
    mesh = sharding.create_mesh({"data": 1, "fsdp": 2}, jax.devices()[:2])
    batches, weights = train_batches(config), []
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh, teacher.get_config("test"))
        step = make_train_step(config, optimizer, shardings, mesh)
        for _ in range(2):
            weights.append(jax.device_get(state.params["model"]["pspi_head"]))
            state, _ = step(state, sharding.put_batch(next(batches), mesh))
    weights.append(jax.device_get(state.params["model"]["pspi_head"]))
    mean = jax.tree.map(lambda a, b, c: 0.15 * (0.1 * a + 0.9 * b) + 0.85 * c, *weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.ema["model"]["pspi_head"], mean)
    np.testing.assert_array_equal(state.model_params()["encoder/cls_token"], state.ema["model"]["encoder"]["cls_token"])
    kernel = state.ema["model"]["encoder"]["blocks"]["fc1"]["kernel"]
    assert kernel.sharding == state.params["model"]["encoder"]["blocks"]["fc1"]["kernel"].sharding


def test_frozen_weights_may_be_kept_in_half_the_memory(runs, synthetic_dataset):
    config = make_config(synthetic_dataset)
    config.frozen_dtype = "bfloat16"
    losses, state, _ = run(config, (1, 1), 1, steps=3)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.frozen)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"float32"}
    expected = runs["1 device"][0][:3]
    np.testing.assert_allclose(losses, expected, rtol=5e-3)  # a teacher rounded to 8 bits
    assert not np.array_equal(losses, expected)


def test_the_teacher_stays_as_it_is(runs, synthetic_dataset):
    _, after, _ = runs["8x1"]
    _, before, _ = run(make_config(synthetic_dataset), (8, 1), 8, steps=0)
    jax.tree.map(np.testing.assert_array_equal, before.frozen, after.frozen)


def test_the_state_passed_in_is_donated(runs, synthetic_dataset):
    _, state, step = runs["8x1"]
    config = make_config(synthetic_dataset)
    mesh = sharding.create_mesh({"data": 8, "fsdp": 1})
    with jax.set_mesh(mesh):
        step(state, sharding.put_batch(next(train_batches(config)), mesh))
    assert state.params["model"]["encoder"]["cls_token"].is_deleted()


def test_the_model_of_a_state_is_in_evaluation_mode(synthetic_dataset):
    config = make_config(synthetic_dataset)
    _, state, _ = run(config, (8, 1), 8, steps=0)
    model = state.model()
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    once, again = model(images), model(images)
    np.testing.assert_array_equal(once.pspi, again.pspi)
    fresh = make_model(config)
    fresh.eval()
    np.testing.assert_allclose(once.pspi, fresh(images).pspi, rtol=1e-4)


# ---------------------------------------------------------------- LoRA


def lora_config(data_dir, rank=4):
    config = student_supervised.get_config("test")
    config.data.data_dir = str(data_dir)
    config.steps = 20
    config.model.update({"neutral": "separate", "lora_rank": rank, "lora_dropout": 0.5 if rank else 0.0})
    config.model.update({"lora_targets": r"patch_embed|blocks/.*", "mlp_ratio": 3.5})
    config.loss.heatmap = 1.0  # else its head would not learn
    return config


def run_lora(data_dir, shape, devices, steps):
    config = lora_config(data_dir)
    mesh = sharding.create_mesh({"data": shape[0], "fsdp": shape[1]}, jax.devices()[:devices])
    batches = train_batches(config)
    losses = []
    with jax.set_mesh(mesh):
        state, shardings, optimizer = create_state(config, mesh)
        start = jax.device_get(state.model_params())
        step = make_train_step(config, optimizer, shardings, mesh)
        for _ in range(steps):
            state, terms = step(state, sharding.put_batch(next(batches), mesh))
            losses.append(float(terms["loss"]))
    return np.array(losses), start, state


@pytest.fixture(scope="module")
def lora_runs(synthetic_dataset):
    return [run_lora(synthetic_dataset, *mesh, steps=8) for mesh in (((1, 1), 1), ((2, 4), 8))]


def test_dropout_of_adapters_does_not_depend_on_the_mesh(lora_runs):
    (one, *_), (eight, *_) = lora_runs
    assert len(set(one)) == 8
    np.testing.assert_allclose(eight, one, rtol=1e-5)


def test_only_adapters_and_heads_change(lora_runs):
    _, start, state = lora_runs[1]
    end = jax.device_get(state.model_params())
    assert start.keys() == end.keys()
    changed = {path for path in end if not np.array_equal(start[path], end[path])}
    assert changed == {path for path in end if lora.trains(path, 4)}
    adapters = {path for path in changed if path.startswith(lora.ENCODERS)}
    linears = ("patch_embed", "blocks/qkv", "blocks/proj", "blocks/fc1", "blocks/fc2")
    assert adapters == {f"{e}/{name}/{x}" for e in lora.ENCODERS for name in linears for x in lora.ADAPTER}


def test_the_optimizer_knows_nothing_of_frozen_weights(lora_runs):
    _, _, state = lora_runs[1]
    trained = sum(value.size for path, value in state.model_params().items() if lora.trains(path, 4))
    moments = [value for value in jax.tree.leaves(state.opt_state) if value.ndim]  # without the counts
    assert sum(value.size for value in moments) == 2 * trained


def test_the_step_computes_no_gradient_of_frozen_weights(synthetic_dataset):
    """In the compiled program, a kernel's gradient is a product whose result has the kernel's shape."""

    def products(rank):
        config = lora_config(synthetic_dataset, rank)
        config.model.neutral = "shared"
        mesh = sharding.create_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
        with jax.set_mesh(mesh):
            state, shardings, optimizer = create_state(config, mesh)
            batch = sharding.put_batch(next(train_batches(config)), mesh)
            program = make_train_step(config, optimizer, shardings, mesh).lower(state, batch).compile().as_text()
        found = re.findall(r"= f32\[([\d,]*)\]\S* dot\(", program)
        return Counter(tuple(sorted(map(int, shape.split(",")))) for shape in found if shape)

    full, adapted = products(0), products(4)
    for kernel in ((32, 192), (32, 96), (32, 112)):  # patch embedding, qkv, both of the MLP
        assert full[kernel] >= 1 and adapted[kernel] == 0
    assert full[32, 112] == 2
    assert full[32, 32] - adapted[32, 32] == 1  # the projection after attention; heads have this shape too
    assert full[4, 32] == 0 and adapted[4, 32] >= 5  # what is computed instead


def test_a_width_that_fsdp_does_not_divide_is_refused_by_name(synthetic_dataset):
    config = make_config(synthetic_dataset)
    config.model.update({"width": 36, "heads": 3, "project_width": 32})
    with pytest.raises(UserError, match=r"encoder/blocks/qkv/kernel .*'embed' of size 36.*'fsdp' of size 8"):
        run(config, (1, 8), 8, steps=0)
