import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import teacher
from painjax import optim
from painjax.errors import UserError
from painjax.state import make_model


@pytest.fixture
def config():
    config = teacher.get_config("test")
    config.steps = 100
    config.optim.warmup_steps = 10
    return config


@pytest.fixture(scope="module")
def params():
    return nnx.state(make_model(teacher.get_config("test")), nnx.Param)


def test_learning_rate_warms_up_and_falls_along_a_cosine(config):
    rate = optim.learning_rate(config)
    peak, end = config.optim.learning_rate, config.optim.learning_rate * config.optim.final_fraction
    np.testing.assert_allclose(rate(0), peak / 10, rtol=1e-5)  # the first update is not for nothing
    np.testing.assert_allclose(rate(9), peak, rtol=1e-5)
    np.testing.assert_allclose(rate(54), (peak + end) / 2, rtol=1e-5)  # half of the way down
    np.testing.assert_allclose(rate(99), end, rtol=1e-4)


def test_rsqrt_and_constant_rates(config):
    config.optim.schedule = "rsqrt"
    rate, peak = optim.learning_rate(config), config.optim.learning_rate
    np.testing.assert_allclose([rate(0), rate(9), rate(39)], [peak / 10, peak, peak / 2], rtol=1e-6)
    config.steps = 1_000_000  # a longer run goes the same way at first
    np.testing.assert_allclose(optim.learning_rate(config)(39), peak / 2, rtol=1e-6)
    config.optim.schedule = "constant"
    np.testing.assert_allclose([optim.learning_rate(config)(i) for i in (0, 9, 99)], [peak / 10, peak, peak], rtol=1e-6)
    config.optim.schedule = "linear"
    with pytest.raises(UserError, match="schedule is 'linear'; expected one of cosine, rsqrt, constant"):
        optim.learning_rate(config)


def test_every_parameter_must_be_in_exactly_one_group(config, params):
    groups = {"encoder": {"pattern": "encoder/.*", "rate": 0.1}, "heads": {"pattern": ".*_head/.*", "rate": 1.0}}
    with config.unlocked():
        config.optim.groups = groups
    optim.make_optimizer(config, params)

    config.optim.groups.heads.pattern = "pspi_head/.*"
    with pytest.raises(UserError, match=r"au_head/bias \(6,\): in none"):
        optim.make_optimizer(config, params)
    config.optim.groups.heads.pattern = ".*"
    with pytest.raises(UserError, match=r"encoder/cls_token .*: in encoder and heads"):
        optim.make_optimizer(config, params)
    config.optim.groups.heads.pattern = "(?!encoder/).*"
    with config.unlocked():
        config.optim.groups.lora = {"pattern": ".*/lora_a", "rate": 1.0}
    with pytest.raises(UserError, match="group 'lora'.*matches nothing"):
        optim.make_optimizer(config, params)
    config.optim.groups.lora.pattern = "("
    with pytest.raises(UserError, match="groups.lora.pattern is '\\('; expected a regular expression"):
        optim.make_optimizer(config, params)


def test_only_matrices_decay(params):
    decaying = optim._map_params(optim.decays, params)
    assert decaying["encoder"]["blocks"]["qkv"]["kernel"] and decaying["au_head"]["readout"]
    still = ("cls_token", "registers")
    assert not any(decaying["encoder"][name] for name in still) and not decaying["au_head"]["queries"]
    blocks = decaying["encoder"]["blocks"]
    assert not any(blocks[name] for name in ("gamma1", "gamma2"))
    assert not blocks["fc1"]["bias"] and not blocks["norm1"]["scale"]  # stacked: two axes, and yet no matrices


def test_adapters_decay_and_learned_positions_do_not():
    config = teacher.get_config("test")
    with config.unlocked():
        config.model.update({"position": "learned", "position_grid": 4, "registers": 0, "lora_rank": 2})
    params = nnx.state(nnx.eval_shape(lambda: make_model(config)), nnx.Param)
    decaying = optim._map_params(optim.decays, params)["encoder"]
    assert not decaying["positions"]
    assert decaying["blocks"]["qkv"]["lora_a"] and decaying["blocks"]["qkv"]["lora_b"]  # as in the authors' optimizer


def test_an_update_is_adamw_with_clipping_and_the_groups_rate(config):
    """Two updates against AdamW (Loshchilov & Hutter 2019, algorithm 2) written out in NumPy."""
    config.optim.update({"weight_decay": 0.1, "clip_norm": 0.5, "warmup_steps": 1})
    with config.unlocked():
        config.optim.groups = {"fast": {"pattern": "kernel", "rate": 2.0}, "slow": {"pattern": "bias", "rate": 0.5}}
    rng = np.random.default_rng(0)
    theta = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    start = {name: jnp.asarray(value, jnp.float32) for name, value in theta.items()}
    tx = optim.make_optimizer(config, nnx.State({name: nnx.Param(value) for name, value in start.items()}))
    state, m, v = tx.init(start), dict.fromkeys(theta, 0.0), dict.fromkeys(theta, 0.0)
    for t in (1, 2):
        gradient = {name: rng.normal(size=value.shape) for name, value in theta.items()}
        updates, state = tx.update({k: jnp.asarray(g, jnp.float32) for k, g in gradient.items()}, state, start)
        norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
        rate = float(optim.learning_rate(config)(t - 1))
        for name, factor, decay in (("kernel", 2.0, 0.1), ("bias", 0.5, 0.0)):
            g = gradient[name] * min(1, 0.5 / norm)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.95 * v[name] + 0.05 * g**2
            step = (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.95**t)) + 1e-8)
            expected = -rate * factor * (step + decay * theta[name])
            np.testing.assert_allclose(updates[name], expected, rtol=2e-4, atol=1e-8)
            theta[name] = theta[name] + expected
        start = {name: jnp.asarray(value, jnp.float32) for name, value in theta.items()}
