import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import student
from painjax import objectives
from painjax.errors import UserError
from painjax.models.vitpain import ViTPainOutput
from painjax.pspi import pspi
from painjax.state import make_model
from painjax.teacher_outputs import TeacherOutputs

B, P, D = 4, 16, 32


def make_output(seed):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return ViTPainOutput(
        pspi=8 + draw(B),
        pspi_log_variance=draw(B),
        aus=1 + jnp.abs(draw(B, 6)),
        au_logits=draw(B, 6),
        pspi_from_aus=8 + draw(B),
        threshold_logits=draw(B, 3),
        encoded=draw(B, 1 + P, D),
        tokens=draw(B, 1 + P, D),
        neutral_tokens=None,
        heatmap=draw(B, P, 64),
        patch_tokens=draw(B, P, D),
        cls_token=draw(B, D),
        au_attention=jax.nn.softmax(draw(B, 6, P)),
        projected=draw(B, P, D),
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(9)
    aus = np.concatenate([rng.integers(0, 6, (B, 5)), rng.integers(0, 2, (B, 1))], 1).astype(np.float32)
    fields = {
        "image": np.zeros((B, 32, 32, 3)),
        "heatmap": rng.random((B, 32, 32, 1)),
        "aus": aus,
        "pspi": pspi(aus),
        "valid": np.array([True, True, False, True]),
    }
    arrays = {name: jnp.asarray(v, bool if v.dtype == bool else jnp.float32) for name, v in fields.items()}
    return arrays | {"neutral": None, "neutral_valid": None}


@pytest.fixture
def given(monkeypatch):
    """Objectives get `make_output(0)` from whatever model they call."""
    output = make_output(0)
    monkeypatch.setattr(objectives.ViTPain, "__call__", lambda *_: output)
    return output, make_model(student.get_config("test"))


def test_supervised_terms_by_hand(given, batch):
    output, model = given
    weights = ConfigDict({"pspi": 2.0, "aus": 0.5, "thresholds": 1.0, "heatmap": 0.0, "attention": 0.0})
    loss, terms = objectives.supervised(model, batch, weights)
    assert set(terms) == {"pspi", "aus", "thresholds"}
    rows = [0, 1, 3]  # row 2 is padding
    difference = (np.asarray(output.pspi) - np.asarray(batch["pspi"]))[rows] / 16
    np.testing.assert_allclose(terms["pspi"], (difference**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        terms["aus"], excess_cross_entropy(output.au_logits, fractions(batch["aus"]))[rows].mean(), rtol=1e-5
    )
    total = 2 * terms["pspi"] + 0.5 * terms["aus"] + terms["thresholds"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def fractions(aus):
    return np.asarray(aus) / [5, 5, 5, 5, 5, 1]


def excess_cross_entropy(logits, target):
    """KL divergence of two coins, written out."""
    p, t = 1 / (1 + np.exp(-np.asarray(logits, np.float64))), np.clip(target, 1e-12, 1 - 1e-12)
    return t * np.log(t / p) + (1 - t) * np.log((1 - t) / (1 - p))


def test_the_terms_that_hold_the_two_ways_to_pspi_together(given, batch):
    output, model = given
    loss, terms = objectives.supervised(model, batch, ConfigDict({"consistency": 1.0, "pspi_nll": 1.0}))
    rows = [0, 1, 3]
    gap = (np.asarray(output.pspi) - np.asarray(output.pspi_from_aus))[rows] / 16
    np.testing.assert_allclose(terms["consistency"], (gap**2).mean(), rtol=1e-5)
    error = (np.asarray(output.pspi) - np.asarray(batch["pspi"]))[rows]
    variance = np.exp(np.asarray(output.pspi_log_variance))[rows]
    nll = 0.5 * (np.log(variance) + error**2 / variance) * np.sqrt(variance)
    np.testing.assert_allclose(terms["pspi_nll"], nll.mean(), rtol=1e-5)


def test_the_authors_heads_learn_by_squared_error(monkeypatch, batch):
    output = dataclasses.replace(make_output(0), au_logits=None, heatmap=None, pspi_log_variance=None)
    monkeypatch.setattr(objectives.ViTPain, "__call__", lambda *_: output)
    model = make_model(student.get_config("test"))
    _, terms = objectives.supervised(model, batch, ConfigDict({"aus": 1.0}))
    difference = (fractions(output.aus) - fractions(batch["aus"]))[[0, 1, 3]]
    np.testing.assert_allclose(terms["aus"], (difference**2).mean(), rtol=1e-5)
    with pytest.raises(UserError, match="heatmap head"):
        objectives.supervised(model, batch, ConfigDict({"heatmap": 1.0}))
    with pytest.raises(UserError, match="model.uncertainty=True"):
        objectives.supervised(model, batch, ConfigDict({"pspi_nll": 1.0}))
    # Where to look can be guided without a head that predicts the heatmap.
    _, guided = objectives.supervised(model, batch, ConfigDict({"attention": 1.0}))
    monkeypatch.setattr(objectives.ViTPain, "__call__", lambda *_: make_output(0))
    _, same = objectives.supervised(model, batch, ConfigDict({"attention": 1.0}))
    assert float(guided["attention"]) == float(same["attention"]) > 0


def test_distillation_adds_the_teachers_terms(given, batch):
    output, model = given
    teacher = TeacherOutputs.of_model(make_output(1))
    names = ("features", "match_pspi", "match_aus", "match_thresholds")
    weights = ConfigDict(dict.fromkeys(("pspi", "heatmap", "attention", *names), 1.0))
    loss, terms = objectives.distill(model, teacher, batch, weights)
    np.testing.assert_allclose(loss, sum(terms.values()), rtol=1e-5)
    rows = [0, 1, 3]
    ours, theirs = np.asarray(output.projected)[rows], np.asarray(teacher.patch_tokens)[rows]
    cosine = (ours * theirs).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(theirs, axis=-1)
    np.testing.assert_allclose(terms["features"], (1 - cosine).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        terms["match_pspi"], (((output.pspi - teacher.pspi) / 16)[np.array(rows)] ** 2).mean(), rtol=1e-5
    )
    wanted = excess_cross_entropy(output.au_logits, np.clip(fractions(teacher.aus), 0, 1))[rows].mean()
    np.testing.assert_allclose(terms["match_aus"], wanted, rtol=1e-5)
    sigmoid = [1 / (1 + np.exp(-np.asarray(o.threshold_logits)))[rows] for o in (output, teacher)]
    np.testing.assert_allclose(terms["match_thresholds"], ((sigmoid[0] - sigmoid[1]) ** 2).mean(), rtol=1e-5)


def test_no_gradient_reaches_the_teacher(given, batch):
    _, model = given
    teacher = TeacherOutputs.of_model(make_output(1))
    names = ("features", "match_pspi", "match_aus", "match_thresholds")
    weights = ConfigDict(dict.fromkeys(names, 1.0))
    gradients = jax.grad(lambda output: objectives.distill(model, output, batch, weights)[0])(teacher)
    for gradient in jax.tree.leaves(gradients):
        np.testing.assert_array_equal(gradient, 0)


def test_a_term_of_weight_zero_is_not_computed(given, batch):
    _, model = given
    del batch["heatmap"]  # computing a heatmap term would now fail
    objectives.supervised(model, batch, ConfigDict({"pspi": 1.0, "heatmap": 0.0, "attention": 0.0}))


def test_unknown_or_no_weights_are_refused(given, batch):
    _, model = given
    with pytest.raises(UserError, match="features.*knows.*heatmap"):
        objectives.supervised(model, batch, ConfigDict({"pspi": 1.0, "features": 1.0}))
    with pytest.raises(UserError, match="Every weight"):
        objectives.supervised(model, batch, ConfigDict({"pspi": 0.0}))
