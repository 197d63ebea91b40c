"""Model FLOP utilization: the yardstick of a training's speed."""

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from painjax import flops
from painjax.chips import chip_of
from painjax.data.outline import batch_outline
from painjax.data.transforms import prepare
from painjax.state import make_train_step, state_outline


def model_flops(config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None = None) -> int:
    """What a step needs, on all devices together: products of models and losses, forward and backward, a teacher's too.

    Augmentation is left out, and so is what `model.remat` computes again.
    """
    config = config.copy_and_resolve_references()
    config.model.remat = "none"
    state, optimizer = state_outline(config, mesh, teacher_config)
    batch = batch_outline(config)
    step = make_train_step(config, optimizer, jax.tree.map(lambda x: x.sharding, state), mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return flops.count(step, state, batch) - flops.count(lambda batch, key: prepare(batch, config, key), batch, key)


def peak_images_per_s(config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None = None) -> float | None:
    """The speed of training at which all devices would reach their bfloat16 peak; None where that is not known."""
    chip = chip_of(mesh.devices.flat[0])
    if chip is None:
        return None
    return mesh.size * chip.bfloat16_flops * config.batch_size / model_flops(config, mesh, teacher_config)
