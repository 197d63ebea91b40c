import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from painjax import sharding
from painjax.aot import topology
from painjax.errors import UserError


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ({"data": -1, "fsdp": 1}, (8, 1, 1)),
        ({"data": 2, "fsdp": -1}, (2, 4, 1)),
        ({"data": 4, "fsdp": 2, "model": 1}, (4, 2, 1)),
        ({"data": -1, "fsdp": 2, "model": 2}, (2, 2, 2)),
    ],
)
def test_mesh_fills_with_the_devices_left_over(shape, sizes):
    mesh = sharding.create_mesh(shape)
    assert tuple(mesh.shape.values()) == sizes
    assert mesh.axis_names == ("data", "fsdp", "model")
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"data": 3, "fsdp": -1}, "multiply to 8"),
        ({"data": 16, "fsdp": 1}, "multiply to 8"),
        ({"data": -1, "fsdp": -1}, "at most one"),
        ({"data": 0, "fsdp": 8}, "positive"),
        ({"data": 8}, "data, fsdp, model"),
    ],
)
def test_a_mesh_that_the_devices_do_not_fit_is_refused(shape, message):
    with pytest.raises(UserError, match=message):
        sharding.create_mesh(shape)


def test_a_batch_that_the_mesh_does_not_divide_is_refused():
    mesh = sharding.create_mesh({"data": 4, "fsdp": 2})
    sharding.check_batch_size(16, mesh)
    with pytest.raises(UserError, match=r"batch_size = 12 .*8 devices.*instance 16"):
        sharding.check_batch_size(12, mesh)


def test_the_parts_of_an_accumulated_batch_are_divided_too():
    mesh = sharding.create_mesh({"data": 2, "fsdp": 2, "model": 2})
    assert sharding.batch_ways(mesh) == 4
    sharding.check_batch_size(12, mesh, accumulate=3)
    with pytest.raises(UserError, match=r"in 3 parts \(config.accumulate\). Use a multiple of 12, for instance 24"):
        sharding.check_batch_size(16, mesh, accumulate=3)


def test_splitting_a_batch_moves_no_row_to_another_device():
    mesh = sharding.create_mesh({"data": 4, "fsdp": 2})
    rows = np.arange(32).reshape(16, 2)
    with jax.set_mesh(mesh):
        compiled = (
            jax.jit(lambda x: sharding.split_batch({"x": x}, 2)["x"])
            .lower(sharding.put_batch({"x": rows}, mesh)["x"])
            .compile()
        )
        parts = compiled(sharding.put_batch({"x": rows}, mesh)["x"])
    assert parts.shape == (2, 8, 2)
    assert sorted(parts.reshape(16, 2).tolist()) == rows.tolist()
    assert not re.search("all-|collective", compiled.as_text())


class Layer(nnx.Module):
    def __init__(self, width: int, name: str, rngs: nnx.Rngs):
        init = nnx.with_partitioning(nnx.initializers.normal(), (name, "mlp"), eager_sharding=False)
        self.linear = nnx.Linear(width, 3, kernel_init=init, rngs=rngs)


def test_parameters_go_where_the_table_says():
    mesh = sharding.create_mesh({"data": 2, "fsdp": 4})
    placed = sharding.param_shardings(nnx.state(Layer(12, "embed", nnx.Rngs(0))), mesh)
    assert placed["linear"]["kernel"].spec == PartitionSpec("fsdp", "model")
    assert placed["linear"]["bias"].spec == PartitionSpec(None)


def test_every_dimension_that_cannot_be_placed_is_named():
    mesh = sharding.create_mesh({"data": 2, "fsdp": 4})
    with pytest.raises(UserError, match=r"linear/kernel \(10, 3\).*'embed' of size 10.*'fsdp' of size 4"):
        sharding.param_shardings(nnx.state(Layer(10, "embed", nnx.Rngs(0))), mesh)
    with pytest.raises(UserError, match=r"linear/kernel.*unknown logical axis 'embd'"):
        sharding.param_shardings(nnx.state(Layer(12, "embd", nnx.Rngs(0))), mesh)


def test_batches_are_split_over_all_devices():
    mesh = sharding.create_mesh({"data": 2, "fsdp": 4})
    rows = np.arange(16, dtype=np.float32).reshape(8, 2)
    placed = sharding.put_batch({"x": rows}, mesh)["x"]
    np.testing.assert_array_equal(placed, rows)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(1, 2)}


def test_constraining_a_batch_needs_no_mesh_and_holds_under_one():
    x = jnp.ones((8, 4))
    assert sharding.constrain_batch(x) is x
    mesh = sharding.create_mesh({"data": 2, "fsdp": 4})
    with jax.set_mesh(mesh):
        y = jax.jit(lambda x: sharding.constrain_batch(2 * x))(x)
    assert y.sharding.is_equivalent_to(sharding.batch_sharding(mesh), y.ndim)


@pytest.mark.parametrize("shape", [{"data": 4, "fsdp": 4}, {"data": 2, "fsdp": 2, "model": 4}, {"data": -1, "fsdp": 1}])
def test_rows_of_a_process_are_those_on_its_chips(shape):
    """Of a slice of 4 hosts, whose chips are no blocks of the mesh, and where 'model' reaches from host to host."""
    pytest.importorskip("libtpu", reason="the TPU compiler, painjax[tpu-aot], is not installed")
    mesh = sharding.create_mesh(shape, topology.describe("v5e:4x4").devices)
    flat, ways = mesh.devices.reshape(-1, mesh.shape["model"]), sharding.batch_ways(mesh)
    for process in range(4):
        here = {part for part, devices in enumerate(flat) if any(d.process_index == process for d in devices)}
        expected = [row for row in range(64) if row * ways // 64 in here]
        assert sharding.process_rows(mesh, 64, process).tolist() == expected
    blocks = [np.arange(16) + 16 * process for process in range(4)]
    found = [sharding.process_rows(mesh, 64, process) for process in range(4)]
    assert not all(np.array_equal(*pair) for pair in zip(found, blocks, strict=True))


def test_rows_that_are_not_those_of_the_process_are_refused():
    mesh = sharding.create_mesh({"data": 4, "fsdp": 2})
    assert sharding.process_rows(mesh, 16).tolist() == list(range(16))
    with pytest.raises(ValueError, match="global_shape"):
        sharding.put_batch({"x": np.zeros((8, 2))}, mesh, 16)
