"""ViTPain: what a neutral reference changes and what it must not, gradients everywhere, sharding, refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

from painjax.models.vitpain import NEUTRAL, ViTPain, ViTPainConfig
from painjax.pspi import AU_MAX, PSPI_MAX
from painjax.sharding import batch_sharding, create_mesh

TINY = ViTPainConfig(image_size=16, patch_size=4, width=16, depth=2, heads=2, layer_scale=1.0)


def images(seed, rows=8):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(rows, 16, 16, 3)), jnp.float32)


def make(**changes):
    return ViTPain(dataclasses.replace(TINY, **changes), rngs=nnx.Rngs(0))


def test_shapes_and_start():
    output = make(project_width=24, neutral="shared", uncertainty=True)(images(0), images(1))
    shapes = {f.name: getattr(output, f.name).shape for f in dataclasses.fields(output)}
    assert shapes == {
        "pspi": (8,), "pspi_log_variance": (8,), "aus": (8, 6), "au_logits": (8, 6), "pspi_from_aus": (8,),
        "threshold_logits": (8, 3), "heatmap": (8, 16, 16), "au_attention": (8, 6, 16), "encoded": (8, 21, 16),
        "tokens": (8, 21, 16), "cls_token": (8, 16), "patch_tokens": (8, 16, 16), "neutral_tokens": (8, 21, 16),
        "projected": (8, 16, 24),
    }  # fmt: skip
    np.testing.assert_allclose(output.pspi, PSPI_MAX / 2, atol=2)  # the middle of its range, for any input
    np.testing.assert_allclose(np.asarray(output.aus) / AU_MAX, 0.3 * np.ones((8, 6)), atol=0.1)
    np.testing.assert_allclose(output.au_attention.sum(-1), np.ones((8, 6)), atol=1e-6)
    plain = make()(images(0))
    assert plain.projected is plain.neutral_tokens is plain.pspi_log_variance is None


@pytest.mark.parametrize("neutral", NEUTRAL[1:])
def test_invalid_neutral_is_no_neutral(neutral):
    model = make(neutral=neutral)
    image, reference = images(0), images(1)
    valid = jnp.arange(8) < 4
    mixed, without = model(image, reference, valid), model(image)
    with_all = model(image, reference)
    np.testing.assert_allclose(mixed.pspi[4:], without.pspi[4:], atol=1e-5)
    np.testing.assert_allclose(mixed.heatmap[4:], without.heatmap[4:], atol=1e-5)
    np.testing.assert_allclose(mixed.heatmap[:4], with_all.heatmap[:4], atol=1e-5)
    assert np.abs(mixed.heatmap[:4] - without.heatmap[:4]).max() > 1e-4


@pytest.mark.parametrize("neutral", NEUTRAL[1:])
def test_enrolled_once_is_the_same_as_given_each_time(neutral):
    """One person's three neutral pictures serve every frame; so do single ones, and one that does not count is none."""
    model, image, pictures = make(neutral=neutral), images(0), images(1, rows=3)[None]
    three = jnp.broadcast_to(pictures, (8, *pictures.shape[1:]))
    expected = model(image, three)
    got = model(image, reference=model.enrol(pictures))
    for name in ("pspi", "aus", "heatmap", "au_attention"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-5)
    only = jnp.array([[True, False, False]])
    got = model(image, reference=model.enrol(pictures, only))
    np.testing.assert_allclose(got.heatmap, model(image, three[:, 0]).heatmap, atol=1e-5)
    assert np.abs(got.heatmap - expected.heatmap).max() > 1e-5
    order = model(image, three[:, ::-1])  # of the pictures
    np.testing.assert_allclose(order.heatmap, expected.heatmap, atol=1e-5)


def test_thresholds_cannot_contradict_each_other():
    model = make()
    model.pspi_head.threshold_steps.kernel[...] *= 1e3
    logits = np.asarray(model(images(0)).threshold_logits)
    assert logits.std(axis=0).min() > 1
    assert (np.diff(logits, axis=1) <= 0).all()


def test_action_units_stay_in_their_ranges_and_give_pspi():
    model = make()
    model.au_head.readout[...] *= 1e3
    output = model(images(0))
    aus = np.asarray(output.aus, np.float64)
    assert aus.min() >= 0 and (aus <= AU_MAX).all() and aus.std() > 1
    by_hand = aus[:, 0] + aus[:, 1:3].max(1) + aus[:, 3:5].max(1) + aus[:, 5]
    np.testing.assert_allclose(output.pspi_from_aus, by_hand, rtol=1e-5)
    graphdef, state = nnx.split(model)
    gradient = jax.grad(lambda x: nnx.merge(graphdef, state, copy=True)(x).pspi_from_aus.sum())(images(0))
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_what_is_not_used_costs_nothing_under_jit():
    """Asking for PSPI alone compiles to the operations of a model that has no other head."""

    def flops(model, wanted):
        graphdef, state = nnx.split(model)
        run = jax.jit(lambda state, x: wanted(nnx.merge(graphdef, state)(x)))
        return run.lower(state, images(0)).compile().cost_analysis()["flops"]

    model = make(project_width=256)
    everything, pspi_only = flops(model, lambda output: output), flops(model, lambda output: output.pspi)

    class Bare(nnx.Module):
        def __init__(self):
            self.encoder, self.head = model.encoder, model.pspi_head

        def __call__(self, x):
            tokens = self.encoder(x)
            return self.head(tokens[:, 0], tokens[:, 5:])[0]

    assert pspi_only == flops(Bare(), lambda pspi: pspi)
    assert everything > 1.5 * pspi_only


def test_any_size_of_picture():
    output = make(neutral="shared")(jnp.ones((2, 8, 24, 3)), jnp.zeros((2, 8, 24, 3)))
    assert output.heatmap.shape == (2, 12, 16) and output.au_attention.shape == (2, 6, 12)


def test_channels_with_the_frame_itself_as_neutral_is_no_neutral():
    model, image = make(neutral="channels"), images(0)
    np.testing.assert_allclose(model(image, image).pspi, model(image).pspi, atol=1e-6)


@pytest.mark.parametrize("neutral", NEUTRAL)
def test_every_parameter_gets_a_gradient_at_the_start(neutral):
    """Nothing is dead or left out: au_queries never train in the authors' release."""
    model = make(neutral=neutral, project_width=8)
    graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)
    reference = None if neutral == "none" else images(1)
    weights = np.random.default_rng(2).normal(size=8).astype(np.float32)

    def loss(parameters):
        output = nnx.merge(graphdef, parameters, rest, copy=True)(images(0), reference)
        flat = [getattr(output, n).reshape(8, -1) for n in ("pspi", "aus", "threshold_logits", "heatmap", "projected")]
        return sum(jnp.mean(jnp.tanh(x / 10) ** 2 * weights[:, None]) for x in flat)

    gradients = nnx.to_pure_dict(jax.jit(jax.grad(loss))(parameters))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, jax.tree_util.keystr(path)


def test_dropout_only_in_train_mode():
    model = make(dropout=0.5)
    model.train()
    assert np.abs(model(images(0)).heatmap - model(images(0)).heatmap).max() > 1e-3
    model.eval()
    np.testing.assert_array_equal(model(images(0)).heatmap, model(images(0)).heatmap)
    np.testing.assert_allclose(model(images(0)).heatmap, make()(images(0)).heatmap, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 1), (4, 2), (2, 4)])
def test_any_mesh_gives_the_same_numbers(shape):
    model = make(neutral="shared")
    graphdef, state = nnx.split(model)
    expected = model(images(0), images(1))
    mesh = create_mesh({"data": shape[0], "fsdp": shape[1]})
    with jax.set_mesh(mesh):
        image, neutral = jax.device_put((images(0), images(1)), batch_sharding(mesh))
        got = jax.jit(lambda s, x, n: nnx.merge(graphdef, s)(x, n))(state, image, neutral)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)


def test_output_is_a_pytree_of_anything():
    graphdef, state = nnx.split(make())
    shapes = jax.eval_shape(lambda state, x: nnx.merge(graphdef, state)(x), state, images(0))
    assert shapes.projected is None and shapes.pspi.shape == (8,)
    assert jax.tree.map(lambda x: x.ndim, shapes).heatmap == 3


def test_a_reference_that_does_not_fit_is_refused_in_words(monkeypatch):
    """As a user has it, without the checks of shapes that the tests switch on."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    image, enrolled = images(0, 2), images(1, 1)[:, None]
    models = {neutral: make(neutral=neutral) for neutral in NEUTRAL[1:]}
    for model in models.values():
        with pytest.raises(ValueError, match="2 frames, and neutral pictures for 3"):
            model(image, images(1, 3))
        with pytest.raises(ValueError, match="3 people for 2 frames"):
            model(image, reference=model.enrol(images(1, 3)[:, None]))
        with pytest.raises(ValueError, match=r"neutral has shape \(2, 1, 16, 16, 1\)"):
            model(image, image[..., :1])
        with pytest.raises(ValueError, match=r"image has shape \(16, 16, 3\)"):
            model(image[0])
    with pytest.raises(ValueError, match="differ in size"):
        models["channels"](image, jnp.zeros((2, 20, 16, 3)))
    wider = make(neutral="shared", width=32)
    for model, other in (("channels", "shared"), ("shared", "channels"), ("separate", "channels")):
        with pytest.raises(ValueError, match="that of another model"):
            models[model](image, reference=models[other].enrol(enrolled))
    with pytest.raises(ValueError, match="that of another model"):
        models["shared"](image, reference=wider.enrol(enrolled))


@pytest.mark.parametrize("neutral", ["shared", "separate"])
def test_an_enrolled_person_may_be_pictured_in_another_size(neutral):
    model = make(neutral=neutral)
    model.eval()
    larger = jnp.repeat(jnp.repeat(images(1, 1), 2, axis=1), 2, axis=2)  # [1, 32, 32, 3]
    found = model(images(0), reference=model.enrol(larger[:, None]))
    assert found.pspi.shape == (8,) and np.isfinite(found.pspi).all()


def test_refusals():
    with pytest.raises(ValueError, match="model.neutral is 'both'"):
        dataclasses.replace(TINY, neutral="both")
    with pytest.raises(ValueError, match="image_size is 17"):
        dataclasses.replace(TINY, image_size=17)
    with pytest.raises(ValueError, match="model.neutral is 'none'"):
        make()(images(0), images(1))
    with pytest.raises(ValueError, match="model.in_channels"):
        make()(jnp.zeros((2, 16, 16, 1)))
    with pytest.raises(ValueError, match="does not divide into patches"):
        make()(jnp.zeros((2, 18, 16, 3)))
    with pytest.raises(ValueError, match="differ in size"):
        make(neutral="shared")._encode_both(images(0), jnp.zeros((8, 1, 32, 16, 3)), jnp.ones((8, 1), bool))
    with pytest.raises(ValueError, match="leave one of them out"):
        model = make(neutral="shared")
        model(images(0), images(1), reference=model.enrol(images(1)[:, None]))
    with pytest.raises(ValueError, match="authors' heads"):
        dataclasses.replace(TINY, heads_layout="official", neutral="shared")
    with pytest.raises(TypeError, match="rngs"):
        ViTPain(TINY)
