"""What is read in programs: in one written by hand as libtpu writes them, and in one that JAX compiles here."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

from painjax import sharding
from painjax.aot import collectives, program, traffic

MESH = {"data": 2, "fsdp": 4, "model": 1}
# A loop of six rounds, each with an asynchronous all-gather (its start, what is fused with it, its end), a fused
# reduce-scatter and a small all-reduce; before it a combined all-reduce of two arrays; after it a permute.
PROGRAM = """HloModule jit_train_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%start (p: bf16[8,128]) -> (bf16[8,128], bf16[32,128]) {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %gather.1 = bf16[32,128]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), channel_id=5, GROUPS, dimensions={0}
}

%async_collective_fusion.2 (q: bf16[8,128]) -> bf16[32,128] {
  %q = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %gather.2 = bf16[32,128]{1,0:T(8,128)(2,1)S(1)} all-gather(%q), channel_id=5, GROUPS, dimensions={0}
}

%all-reduce-scatter.3 (r: f32[32,128]) -> f32[8,128] {
  %r = f32[32,128]{1,0:T(8,128)} parameter(0)
  %whole = f32[32,128]{1,0:T(8,128)} all-reduce(%r), channel_id=6, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%sum
  %zero = s32[] constant(0)
  ROOT %part = f32[8,128]{1,0:T(8,128)} dynamic-slice(%whole, %zero, %zero), dynamic_slice_sizes={8,128}
}

%body (state: (s32[], bf16[8,128], f32[32,128])) -> (s32[], bf16[8,128], f32[32,128]) {
  %state = (s32[]{:T(128)}, bf16[8,128]{1,0:T(8,128)(2,1)}, /*index=2*/f32[32,128]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %w = bf16[8,128]{1,0:T(8,128)(2,1)} get-tuple-element(%state), index=1
  %g = f32[32,128]{1,0:T(8,128)} get-tuple-element(%state), index=2
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %async-collective-start.1 = (bf16[8,128], bf16[32,128]) fusion(%w), kind=kCustom, calls=%start
  %fusion.2 = bf16[32,128]{1,0} fusion(%w), kind=kOutput, calls=%async_collective_fusion.2
  %fusion.3 = f32[8,128]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.3
  %norm = f32[128]{0} all-reduce(%g), channel_id=7, replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%sum
  ROOT %out = (s32[], bf16[8,128], f32[32,128]) tuple(%next, %w, %g)
}

%until (state.1: (s32[], bf16[8,128], f32[32,128])) -> pred[] {
  %state.1 = (s32[], bf16[8,128], f32[32,128]) parameter(0)
  %j = s32[] get-tuple-element(%state.1), index=0
  %six = s32[] constant(6)
  ROOT %less = pred[] compare(%j, %six), direction=LT
}

ENTRY %main (x: bf16[8,128], y: f32[32,128]) -> f32[32,128] {
  %x = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %y = f32[32,128]{1,0:T(8,128)} parameter(1)
  %zero.1 = s32[] constant(0)
  %both = (bf16[8,128], f32[32,128]) all-reduce(%x, %y), channel_id=1, replica_groups={}, to_apply=%sum
  %copied = s32[] copy(%zero.1)
  %first = (s32[], bf16[8,128], f32[32,128]) tuple(%copied, %x, %y)
  %loop = (s32[], bf16[8,128], f32[32,128]) while(%first), condition=%until, body=%body
  %last = f32[32,128]{1,0} get-tuple-element(%loop), index=2
  %sent = (f32[32,128], f32[32,128]) collective-permute-start(%last), channel_id=9, source_target_pairs={{0,4},{4,0}}
  ROOT %got = f32[32,128]{1,0} collective-permute-done(%sent)
}
""".replace("GROUPS", "replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}")


def test_collectives_of_a_tpu_program_are_counted_as_often_as_they_run():
    found = collectives.find(program.parse(PROGRAM), MESH)
    assert collectives.totals(found) == {
        "all-gather": {"count": 6, "bytes": 6 * 32 * 128 * 2},
        "all-reduce": {"count": 1 + 6, "bytes": 8 * 128 * 2 + 32 * 128 * 4 + 6 * 32 * 128 * 4},
        "reduce-scatter": {"count": 6, "bytes": 6 * 32 * 128 * 4},
        "all-to-all": {"count": 0, "bytes": 0},
        "collective-permute": {"count": 1, "bytes": 32 * 128 * 4},
    }


def test_who_takes_part_and_what_is_waited_for():
    found = {(each.kind, each.count): each for each in collectives.find(program.parse(PROGRAM), MESH)}
    gather, scatter, small = found["all-gather", 6], found["reduce-scatter", 6], found["all-reduce", 6]
    assert gather.axes == scatter.axes == ("fsdp",)
    assert small.axes == ("data",)
    assert found["all-reduce", 1].axes == ("data", "fsdp")
    assert gather.asynchronous and found["collective-permute", 1].asynchronous
    assert not scatter.asynchronous and not small.asynchronous


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("replica_groups={{0,2},{1,3}}", [0, 2]),
        ("replica_groups={}", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("replica_groups=[2,4]<=[8]", [0, 1, 2, 3]),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", [0, 4]),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", [0, 4]),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", [0, 2]),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", [0, 1, 2, 3]),
        ("source_target_pairs={{3,4},{4,5}}", [3, 4]),
    ],
)
def test_groups_are_read_as_they_are_written(written, expected):
    assert collectives.members(f"channel_id=1, {written}, dimensions={{0}}", 8) == expected


def test_what_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="Cannot read the devices"):
        collectives.members("channel_id=1", 8)
    with pytest.raises(ValueError, match="how often the loop loop runs"):
        list(program.parse(PROGRAM.replace("direction=LT", "direction=NE")).runs())
    with pytest.raises(ValueError, match="no ENTRY"):
        program.parse("HloModule nothing")


@pytest.fixture(scope="module")
def compiled():
    """Five rounds that gather a weight of 32 x 32, and the sum over all rows of 16 x 32."""
    mesh = sharding.create_mesh({"data": 2, "fsdp": 4})
    rows = sharding.batch_sharding(mesh)

    def function(x, weights):
        def layer(x, w):
            w = jax.lax.with_sharding_constraint(w, sharding.replicated(mesh))
            return jnp.tanh(jax.lax.with_sharding_constraint(x @ w, rows)), None

        x, _ = jax.lax.scan(layer, x, weights)
        return x.sum(axis=0)

    x = jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=rows)
    weights = jax.ShapeDtypeStruct((5, 32, 32), jnp.float32, sharding=NamedSharding(mesh, jax.P(None, None, "fsdp")))
    step = jax.jit(function, in_shardings=(rows, weights.sharding), out_shardings=sharding.replicated(mesh))
    return program.parse(step.lower(x, weights).compile().as_text())


def test_collectives_of_a_compiled_program(compiled):
    found = collectives.find(compiled, MESH)
    totals = collectives.totals(found)
    assert totals["all-gather"]["bytes"] == 5 * 32 * 32 * 4  # every layer's weight, in the loop or before it
    assert totals["all-reduce"]["bytes"] == 32 * 4
    assert totals["all-to-all"]["count"] == totals["reduce-scatter"]["count"] == 0
    axes = {each.kind: each.axes for each in found}
    assert axes == {"all-gather": ("fsdp",), "all-reduce": ("data", "fsdp")}


def test_a_loop_counts_as_often_as_it_runs(compiled):
    assert sorted(times for _, times in compiled.runs())[-1] == 5


def test_memory_traffic_of_a_plain_product():
    step = jax.jit(lambda a, b: a @ b).lower(jnp.ones((64, 32)), jnp.ones((32, 16))).compile()
    assert traffic.hbm_bytes(program.parse(step.as_text())) == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_traffic_leaves_out_what_stays_on_the_chip_and_takes_slices_as_slices():
    text = """HloModule m

%slice (p: f32[24,64], i: s32[]) -> f32[1,64] {
  %p = f32[24,64]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %z = s32[] constant(0)
  ROOT %s = f32[1,64]{1,0} dynamic-slice(%p, %i, %z), dynamic_slice_sizes={1,64}
}

ENTRY %main (w: f32[24,64], k: s32[]) -> f32[1,64] {
  %w = f32[24,64]{1,0:T(8,128)} parameter(0)
  %k = s32[] parameter(1)
  %near = f32[1,64]{1,0:T(8,128)S(1)} fusion(%w, %k), kind=kLoop, calls=%slice
  ROOT %far = f32[1,64]{1,0:T(8,128)} negate(%near)
}
"""
    assert traffic.hbm_bytes(program.parse(text)) == (64 * 4 + 4) + 64 * 4  # the slice and its index; the result
