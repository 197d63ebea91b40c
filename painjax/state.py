"""The train state: everything that a step reads and changes, made once, placed on the mesh, and the step itself."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array
from ml_collections import ConfigDict

from painjax import objectives, sharding
from painjax.data.transforms import prepare
from painjax.models.vitpain import ViTPain, ViTPainConfig
from painjax.optim import make_optimizer


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What training changes, and what it needs beside it.

    Arrays are kept as plain dicts, which `jax.jit` dispatches five times faster than `nnx.State`s; `graphdef` puts them
    back into modules. `params` and `opt_state` change with every step. `frozen` holds the teacher's weights ({} without
    a teacher). `rng` holds the modules' random streams as they were at step 0: the streams of step k follow from k, so
    that there is nothing to save. The same class holds shapes or shardings in place of the arrays.
    """

    step: Any
    params: Any
    opt_state: Any
    frozen: Any
    rng: Any
    graphdef: nnx.GraphDef = dataclasses.field(metadata={"static": True})

    def model(self) -> ViTPain:
        """The model, in evaluation mode, sharing this state's arrays: use it before the next step donates them."""
        model = nnx.merge(self.graphdef, self.params, self.frozen, self.rng)["model"]
        model.eval()
        return model


def make_model(config: ConfigDict) -> ViTPain:
    """A new model for `config.model`, initialised from `config.seed`."""
    return ViTPain(ViTPainConfig(**config.model), rngs=nnx.Rngs(config.seed))


def create_state(
    config: ConfigDict, mesh: Mesh, teacher_config: ConfigDict | None = None
) -> tuple[TrainState, TrainState, optax.GradientTransformation]:
    """Makes the state of step 0, each array created in place on the mesh.

    Args:
      config: the experiment.
      mesh: where to put it.
      teacher_config: the teacher's experiment, when there is one; its weights are random here, restore them next.

    Returns:
      The state, its shardings (a TrainState of NamedShardings), and the optimizer.

    Raises:
      UserError: if a parameter does not divide over the mesh, or matches not exactly one optimizer group.
    """

    def split() -> tuple[nnx.GraphDef, nnx.State, nnx.State, nnx.State]:
        modules = {"model": make_model(config)}
        modules["model"].train()
        if teacher_config is not None:
            modules["teacher"] = make_model(teacher_config)
            modules["teacher"].eval()
        return nnx.split(modules, _is_trained, nnx.Param, ...)

    # The graph holds no arrays, so it is taken from an abstract run, which allocates nothing.
    abstract = {}

    def shapes() -> tuple[nnx.State, nnx.State, nnx.State]:
        abstract["graphdef"], *states = split()
        return tuple(states)

    params, frozen, rng = jax.eval_shape(shapes)
    graphdef = abstract["graphdef"]
    optimizer = make_optimizer(config, params)

    def build() -> TrainState:
        params, frozen, rng = (nnx.to_pure_dict(part) for part in split()[1:])
        # An initialiser such as jnp.full(shape, 0.1) has a weak type, the updated parameter has not: two compilations.
        params = jax.tree.map(lambda value: jax.lax.convert_element_type(value, value.dtype), params)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), frozen, rng, graphdef)

    everywhere = sharding.replicated(mesh)
    param_shardings = sharding.param_shardings(params, mesh)
    shardings = TrainState(
        step=everywhere,
        params=param_shardings,
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
    return jax.jit(build, out_shardings=shardings)(), shardings, optimizer


def make_train_step(
    config: ConfigDict, optimizer: optax.GradientTransformation, shardings: TrainState, mesh: Mesh
) -> Callable[[TrainState, dict[str, Array]], tuple[TrainState, dict[str, Array]]]:
    """Compiles one step: (state, batch of `painjax.data.pipeline`) -> (state, loss and its terms).

    The state is donated: the one passed in cannot be used again.
    """
    everywhere = sharding.replicated(mesh)

    def train_step(state: TrainState, batch: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
        batch = prepare(batch, config, jax.random.fold_in(jax.random.key(config.seed), state.step))
        rng = _streams_of_step(state.rng, state.step)

        def loss(params):
            modules = nnx.merge(state.graphdef, params, state.frozen, rng, copy=True)
            if "teacher" not in modules:
                return objectives.supervised(modules["model"], batch, config.loss)
            return objectives.distill(modules["model"], modules["teacher"](batch["heatmap_input"]), batch, config.loss)

        (value, terms), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state)
        return state, {"loss": value, "gradient_norm": optax.global_norm(gradients)} | terms

    # Without pinned out_shardings the state comes back laid out otherwise, and the step compiles again and again.
    return jax.jit(
        train_step,
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh)),
        out_shardings=(shardings, everywhere),
    )


def _is_trained(path: tuple, variable: Any) -> bool:
    return path[0] == "model" and isinstance(variable, nnx.Param)


def _streams_of_step(rng: dict[str, Any], step: Array) -> dict[str, Any]:
    """Random streams of their own for every step; those of stacked layers are arrays of keys."""

    def fold(value: Array) -> Array:
        if not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return value  # a stream's counter
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(value.reshape(-1), step)
        return keys.reshape(value.shape)

    return jax.tree.map(fold, rng)
