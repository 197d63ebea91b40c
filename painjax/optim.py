"""The optimizer: AdamW, warm-up and decay, clipping, and parameter groups by path."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array
from ml_collections import ConfigDict

from painjax.errors import UserError

# Weight decay pulls matrices towards zero; biases, gains and learned tokens are no matrices, even where stacked.
_NO_DECAY = re.compile(r"(.*/)?(bias|scale|gamma\d*|cls_token|registers|positions|queries)")
SCHEDULES = ("cosine", "rsqrt", "constant")


def learning_rate(config: ConfigDict) -> optax.Schedule:
    """Rate of the update that follows `count` others: a linear warm-up, then `optim.schedule`.

    Update `optim.warmup_steps` is the first at the peak, and the first is at peak / warmup_steps and not at 0. Then
    'cosine' falls to `optim.final_fraction` of the peak, which update `steps` has; 'rsqrt' falls as 1 / sqrt(update),
    whatever `steps` is, so that a run can be made longer; 'constant' stays.

    Raises:
      UserError: if there is no such schedule.
    """
    peak, warmup = config.optim.learning_rate, config.optim.warmup_steps
    kind = config.optim.schedule
    if kind == "cosine":
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=peak,
            warmup_steps=warmup,
            decay_steps=config.steps,
            end_value=peak * config.optim.final_fraction,
        )
        return lambda count: schedule(count + 1)
    if kind not in SCHEDULES:
        raise UserError(f"config.optim.schedule is {kind!r}; expected one of {', '.join(SCHEDULES)}.")
    warmup = max(warmup, 1)

    def rate(count: Array | int) -> Array:
        update = jnp.asarray(count, jnp.float32) + 1
        decay = 1.0 if kind == "constant" else jnp.sqrt(warmup / jnp.maximum(update, warmup))
        return peak * jnp.minimum(update / warmup, 1.0) * decay

    return rate


def make_optimizer(config: ConfigDict, params: nnx.State) -> optax.GradientTransformation:
    """Builds the optimizer for `params` (abstract or concrete `nnx.Variable` leaves), to run on their pure dict.

    Args:
      config: `steps`, and `optim.{learning_rate, warmup_steps, final_fraction, weight_decay, b1, b2, clip_norm}` and
        `optim.groups`, which maps a group's name to `pattern`, a regular expression that must match a parameter's whole
        path, and `rate`, a factor on the learning rate.
      params: the trainable parameters.

    Raises:
      UserError: unless every parameter matches exactly one group and every group at least one parameter, or if a
        pattern is no regular expression.
    """
    rates = _group_rates(config.optim.groups, params)
    return optax.chain(
        optax.clip_by_global_norm(config.optim.clip_norm),
        optax.scale_by_adam(b1=config.optim.b1, b2=config.optim.b2),
        optax.add_decayed_weights(config.optim.weight_decay, mask=_map_params(decays, params)),
        optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, rates)),
        optax.scale_by_learning_rate(learning_rate(config)),
    )


def decays(path: str, variable: nnx.Variable) -> bool:
    """Whether weight decay applies: to matrices, not to biases, gains and learned tokens.

    Decided by name, because the biases of stacked layers have two axes.
    """
    return variable.get_value().ndim >= 2 and not _NO_DECAY.fullmatch(path)


def _group_rates(groups: ConfigDict, params: nnx.State) -> dict[str, Any]:
    patterns = {name: _compile(name, group.pattern) for name, group in groups.items()}
    problems: list[str] = []
    used: set[str] = set()

    def rate(path: str, variable: nnx.Variable) -> float:
        found = [name for name, pattern in patterns.items() if pattern.fullmatch(path)]
        used.update(found)
        if len(found) != 1:
            problems.append(
                f"{path} {variable.get_value().shape}: {'in ' + ' and '.join(found) if found else 'in none'}"
            )
        return groups[found[0]].rate if found else 0.0

    rates = _map_params(rate, params)
    problems += [f"group {name!r} ({groups[name].pattern}): matches nothing" for name in groups if name not in used]
    if problems:
        raise UserError(
            "config.optim.groups must put every parameter in exactly one group, by a pattern for its whole path:\n  "
            + "\n  ".join(problems)
        )
    return rates


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"config.optim.groups.{name}.pattern is {pattern!r}; expected a regular expression ({error})."
        ) from error


def _map_params(function, params: nnx.State) -> dict[str, Any]:
    """`function(path, variable)` over the parameters, as a pure dict."""

    def apply(path, variable):
        return function("/".join(str(getattr(key, "key", key)) for key in path), variable)

    return nnx.to_pure_dict(
        jax.tree_util.tree_map_with_path(apply, params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    )
