"""The train state: everything that a step reads and changes, made once, placed on the mesh, and the step itself."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array
from ml_collections import ConfigDict

from painjax import objectives, sharding
from painjax.data.transforms import prepare
from painjax.models import lora
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.optim import make_optimizer
from painjax.teacher_outputs import TeacherOutputs


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What training changes, and what it needs beside it.

    Arrays are kept as plain dicts, which `jax.jit` dispatches five times faster than `nnx.State`s; `graphdef` puts them
    back into modules. `params`, `ema` and `opt_state` change with every step; `ema` is the running mean of the
    parameters, {} without one, and is what `model` uses. `frozen` holds the weights that do not: under
    'teacher' the teacher's, under 'model' those that LoRA leaves alone; {} without either. `rng` holds the modules'
    random streams as they were at step 0: the streams of step k follow from k, so that there is nothing to save. The
    same class holds shapes or shardings in place of the arrays.
    """

    step: Any
    params: Any
    ema: Any
    opt_state: Any
    frozen: Any
    rng: Any
    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})

    def model_params(self) -> dict[str, Any]:
        """All parameters of the model as it is used, trained and frozen, by path: {'encoder/norm/scale': array}."""
        parts = (part.get("model", {}) for part in (self.ema or self.params, self.frozen))
        return {path: value for part in parts for path, value in flatten_dict(part, sep="/").items()}

    def model(self) -> ViTPain:
        """The model, in evaluation mode, sharing this state's arrays: use it before the next step donates them."""
        model = nnx.merge(self.graphdef, self.ema or self.params, self.frozen, self.rng)["model"]
        model.eval()
        return model


def make_model(config: ConfigDict) -> ViTPain:
    """A new model for `config.model`, initialised from `config.seed`."""
    return ViTPain(ViTPainConfig(**config.model), rngs=nnx.Rngs(config.seed))


def model_outline(config: ConfigDict) -> tuple[nnx.GraphDef, dict[str, Any], dict[str, Any]]:
    """The model for `config.model` before it has weights, so that restoring does not draw random ones first.

    Returns:
      The graph; the parameters as shapes on this process's first device; the rest (random streams). With arrays in the
      place of the shapes, `nnx.merge(graph, params, rest)` is the model.
    """

    def split() -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
        return nnx.split(make_model(config), nnx.Param, ...)

    graphdef, (params, _) = _outline(split)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), nnx.to_pure_dict(params))
    # Under jit the parameters, which nobody asks for here, are never made.
    return graphdef, shapes, nnx.to_pure_dict(jax.jit(lambda: split()[2])())


def state_outline(
    config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None = None
) -> tuple[TrainState, optax.GradientTransformation]:
    """The state of step 0 as shapes, before anything is made: for a mesh of a described machine as well as a real one.

    Args:
      config: the experiment, complete.
      mesh: where the state would be.
      teacher_config: the teacher's experiment, when there is one.

    Returns:
      The state with a `jax.ShapeDtypeStruct` and its NamedSharding in the place of each array, and the optimizer.

    Raises:
      UserError: if a parameter does not divide over the mesh, or matches not exactly one optimizer group.
    """
    build, shardings, optimizer = _plan(config, mesh, teacher_config)

    def laid_out(array: jax.ShapeDtypeStruct, placed: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=placed)

    return jax.tree.map(laid_out, jax.eval_shape(build), shardings), optimizer


def create_state(
    config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None = None
) -> tuple[TrainState, TrainState, optax.GradientTransformation]:
    """Makes the state of step 0, each array created in place on the mesh.

    All weights are random; what was trained before (`config.pretrained`, the teacher) is put in their place next.

    Args:
      config: the experiment.
      mesh: where to put it.
      teacher_config: the teacher's experiment, when there is one.

    Returns:
      The state, its shardings (a TrainState of NamedShardings), and the optimizer.

    Raises:
      UserError: if a parameter does not divide over the mesh, or matches not exactly one optimizer group.
    """
    build, shardings, optimizer = _plan(config, mesh, teacher_config)
    return jax.jit(build, out_shardings=shardings)(), shardings, optimizer


def _plan(
    config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None
) -> tuple[Callable[[], TrainState], TrainState, optax.GradientTransformation]:
    """What makes the state of step 0, where each of its arrays belongs, and the optimizer."""
    rank = config.model.get("lora_rank", 0)

    def is_trained(path: tuple, variable: Any) -> bool:
        inside, *rest = path
        return inside == "model" and isinstance(variable, nnx.Param) and lora.trains("/".join(map(str, rest)), rank)

    def split() -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
        modules = {"model": make_model(config)}
        modules["model"].train()
        if teacher_config is not None:
            modules["teacher"] = make_model(teacher_config)
            modules["teacher"].eval()
        return nnx.split(modules, is_trained, nnx.Param, ...)

    graphdef, (params, frozen, rng) = _outline(split)
    optimizer = make_optimizer(config, params)

    def build() -> TrainState:
        params, frozen, rng = (nnx.to_pure_dict(part) for part in split()[1:])
        # An initialiser such as jnp.full(shape, 0.1) has a weak type, the updated parameter has not: two compilations.
        params = jax.tree.map(lambda value: jax.lax.convert_element_type(value, value.dtype), params)
        ema = jax.tree.map(jnp.copy, params) if config.ema_decay else {}
        frozen = jax.tree.map(lambda value: value.astype(config.frozen_dtype), frozen)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, optimizer.init(params), frozen, rng, graphdef)

    everywhere = sharding.replicated(mesh)
    param_shardings = sharding.param_shardings(params, mesh)
    shardings = TrainState(
        step=everywhere,
        params=param_shardings,
        ema=param_shardings if config.ema_decay else {},
        opt_state=optax.tree_map_params(
            optimizer,
            lambda _, placed: placed,
            jax.eval_shape(build).opt_state,
            param_shardings,
            transform_non_params=lambda _: everywhere,
        ),
        frozen=sharding.param_shardings(frozen, mesh),
        rng=jax.tree.map(lambda _: everywhere, nnx.to_pure_dict(rng)),
        graphdef=graphdef,
    )
    return build, shardings, optimizer


def replace_params(state: TrainState, arrays: Mapping[str, np.ndarray]) -> TrainState:
    """`state` with `arrays` (by path, as of `TrainState.model_params`) in place of the model's own parameters.

    Every device receives its part of each array and nothing else.
    """

    def replace(tree: dict[str, Any]) -> dict[str, Any]:
        return tree | {"model": place(tree["model"], arrays)} if "model" in tree else tree

    return dataclasses.replace(
        state, params=replace(state.params), ema=replace(state.ema), frozen=replace(state.frozen)
    )


def place(like: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The nested dict `like` of arrays, or of shapes with a sharding, with `arrays` (by path) in place of its own, each
    laid out as the one that it replaces."""

    def laid_out(path: str, old: Array | jax.ShapeDtypeStruct) -> Array | jax.ShapeDtypeStruct:
        if path not in arrays:
            return old
        # A copy, because on CPU JAX would share the memory, and the state is donated.
        return jax.make_array_from_callback(
            old.shape, old.sharding, lambda index: np.array(arrays[path][index], old.dtype)
        )

    return unflatten_dict({path: laid_out(path, old) for path, old in flatten_dict(like, sep="/").items()}, sep="/")


def make_train_step(
    config: ConfigDict, optimizer: optax.GradientTransformation, shardings: TrainState, mesh: Mesh
) -> Callable[[TrainState, dict[str, Array]], tuple[TrainState, dict[str, Array]]]:
    """Compiles one step: (state, batch of `painjax.data.pipeline`) -> (state, loss and its terms).

    The state is donated: the one passed in cannot be used again. With `config.accumulate` > 1 the batch is gone through
    in so many parts, one after the other, and their losses and gradients are averaged: the memory of a part, the update
    of the whole (but for what dropout draws, and for `loss.attention`, a mean weighted over each part).
    """
    everywhere = sharding.replicated(mesh)
    parts = config.accumulate

    def part_of_step(state: TrainState, batch: dict[str, Array], part: Array | int) -> tuple[Any, dict[str, Array]]:
        """Gradients and loss terms of one part of the batch."""
        batch = prepare(batch, config, jax.random.fold_in(jax.random.key(config.seed), state.step))
        rng = _streams_of_step(state.rng, state.step * parts + part)

        def loss(params):
            modules = nnx.merge(state.graphdef, params, state.frozen, rng, copy=True)
            if "teacher" in modules:
                teacher = TeacherOutputs.of_model(modules["teacher"](batch["heatmap_input"]))
            else:
                teacher = TeacherOutputs.of_batch(batch)
            if teacher is None:
                return objectives.supervised(modules["model"], batch, config.loss)
            return objectives.distill(modules["model"], teacher, batch, config.loss)

        (value, terms), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        return gradients, {"loss": value} | terms

    def update(state: TrainState, batch: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
        if parts == 1:
            gradients, terms = part_of_step(state, batch, 0)
        else:
            gradients, terms = _mean_of(part_of_step, state, sharding.split_batch(batch, parts), parts)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = _moved(state.ema, params, state.step, config.ema_decay) if config.ema_decay else {}
        state = dataclasses.replace(state, step=state.step + 1, params=params, ema=ema, opt_state=opt_state)
        norms = {"gradient_norm": optax.global_norm(gradients), "parameter_norm": optax.global_norm(params)}
        return state, terms | norms

    def train_step(state: TrainState, batch: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # `jax.set_mesh` refuses a mesh of described devices
            return update(state, batch)

    # Without pinned out_shardings the state comes back laid out otherwise, and the step compiles again and again.
    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh)),
        out_shardings=(shardings, everywhere),
    )


def _mean_of(part_of_step: Callable, state: TrainState, batches: dict[str, Array], parts: int) -> tuple[Any, Any]:
    """Gradients and terms averaged over the parts, which run one after the other."""

    def add(total: Any, part: tuple[dict[str, Array], Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part_of_step(state, *part)), None

    first = {name: x[0] for name, x in batches.items()}
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part_of_step, state, first, 0))
    total, _ = jax.lax.scan(add, zero, (batches, jnp.arange(parts)))
    return jax.tree.map(lambda x: x / parts, total)


def _moved(ema: Any, params: Any, step: Array, decay: float) -> Any:
    """The running mean after another update; early on it forgets faster, so that it is no memory of random weights."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda mean, value: decay * mean + (1 - decay) * value, ema, params)


def _outline(split: Callable[[], tuple]) -> tuple[nnx.GraphDef, tuple[nnx.State, ...]]:
    """The graph and the abstract states that `split` returns. (`nnx.eval_shape` wants our logical axes in the mesh.)"""
    found = {}

    def states() -> tuple[nnx.State, ...]:
        found["graphdef"], *rest = split()  # the graph holds no arrays, so it may leave the abstract run
        return tuple(rest)

    shapes = jax.eval_shape(states)
    return found["graphdef"], shapes


def _streams_of_step(rng: dict[str, Any], step: Array) -> dict[str, Any]:
    """Random streams of their own for every step; those of stacked layers are arrays of keys."""

    def fold(value: Array) -> Array:
        if not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return value  # a stream's counter
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(value.reshape(-1), step)
        return keys.reshape(value.shape)

    return jax.tree.map(fold, rng)
