"""The compiled step on eight CPU devices: what it communicates, and what it keeps in place."""

import math

import jax
import pytest

from configs import student_vitl, teacher_vitl
from painjax import sharding
from painjax.aot import collectives, program
from painjax.data.outline import batch_outline
from painjax.state import make_train_step, state_outline

pytestmark = pytest.mark.slow  # each mesh compiles the whole step

MESHES = [{"data": 8, "fsdp": 1}, {"data": 2, "fsdp": 4}, {"data": 2, "fsdp": 2, "model": 2}]


@pytest.fixture(scope="module", params=MESHES, ids=str)
def compiled(request):
    config = student_vitl.get_config("test")
    config.batch_size = 16
    mesh = sharding.create_mesh(request.param)
    state, optimizer = state_outline(config, mesh, teacher_vitl.get_config("test"))
    step = make_train_step(config, optimizer, jax.tree.map(lambda x: x.sharding, state), mesh)
    return step.lower(state, batch_outline(config)).compile(), state, dict(mesh.shape)


def test_no_row_of_a_batch_changes_its_device(compiled):
    step, _, mesh = compiled
    every = collectives.find(program.parse(step.as_text()), mesh)
    found = collectives.totals(every)
    assert found["all-to-all"] == {"count": 0, "bytes": 0}
    moved = {each.axes for each in every if each.kind == "collective-permute"}
    # With 'model', parts of weights go from where 'fsdp' keeps them to where 'model' has them, not along one axis.
    assert moved == (set() if mesh["model"] == 1 else {()})
    assert found["all-reduce"]["count"] > 0  # of gradients: the step was read


def test_the_state_stays_where_it_was(compiled):
    step, state, _ = compiled
    (before, _), _ = step.input_shardings
    after, _ = step.output_shardings
    for given, returned, leaf in zip(*map(jax.tree.leaves, (before, after, state)), strict=True):
        assert given.is_equivalent_to(returned, leaf.ndim)
    changed = jax.tree.leaves((state.step, state.params, state.ema, state.opt_state))
    bytes_here = sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in changed)
    assert step.memory_analysis().alias_size_in_bytes >= bytes_here  # donated: updated in its own memory
