"""What is minimised: the only place where losses meet models.

An objective is a pure function of a model and a prepared batch (`painjax.data.transforms.prepare`) that returns the
loss and its unweighted terms. `weights` is `config.loss`; a term of weight 0 is never computed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from painjax import losses
from painjax.errors import UserError
from painjax.models.vit import patchify
from painjax.models.vitpain import ViTPain, ViTPainOutput
from painjax.pspi import AU_MAX, PSPI_MAX

Terms = dict[str, Array]


def supervised(model: ViTPain, batch: Mapping[str, Any], weights: ConfigDict) -> tuple[Array, Terms]:
    """Learning from labels: PSPI, action units, thresholds, and, where weighted, the heatmap.

    Args:
      model: in training mode.
      batch: prepared; `heatmap` [B, S, S, 1] in 0..1 is read only if `weights.heatmap` or `weights.attention` is set.
      weights: `pspi` (squared error, PSPI as a fraction of 16), `aus` (squared error, each AU as a fraction of its
        maximum), `thresholds` (cross-entropy of PSPI >= 1, 2, 3), `heatmap` (every patch token predicts its own patch
        of the heatmap), `attention` (AU queries look where the heatmap is warm).

    Returns:
      The weighted sum, and the unweighted terms by name.
    """
    output = model(batch["image"], batch["neutral"], batch["neutral_valid"])
    return _weigh(_label_terms(output, batch), weights)


def distill(
    model: ViTPain, teacher: ViTPainOutput, batch: Mapping[str, Any], weights: ConfigDict
) -> tuple[Array, Terms]:
    """`supervised`, plus what a teacher sees in the heatmap of the same augmented frame.

    Args:
      model: the student, in training mode, with `project_width` equal to the teacher's width.
      teacher: the frozen teacher's output on `batch["heatmap_input"]`.
      batch: prepared.
      weights: those of `supervised`, and `features` (every patch token, projected, points the way of the teacher's
        token at the same place: 1 - cosine), `match_pspi`, `match_aus`, `match_thresholds` (squared error against the
        teacher's predictions, on the scales of the labels; thresholds as probabilities).
    """
    output = model(batch["image"], batch["neutral"], batch["neutral_valid"])
    teacher = jax.lax.stop_gradient(teacher)
    valid = batch["valid"]
    terms = _label_terms(output, batch) | {
        "features": lambda: losses.feature_alignment(output.projected, teacher.patch_tokens, valid),
        "match_pspi": lambda: losses.mse(output.pspi, teacher.pspi, valid, scale=PSPI_MAX),
        "match_aus": lambda: _au_error(output.aus, teacher.aus, valid),
        "match_thresholds": lambda: losses.mse(
            jax.nn.sigmoid(output.threshold_logits), jax.nn.sigmoid(teacher.threshold_logits), valid
        ),
    }
    return _weigh(terms, weights)


def _label_terms(output: ViTPainOutput, batch: Mapping[str, Any]) -> dict[str, Callable[[], Array]]:
    valid = batch["valid"]

    def heat() -> Array:
        side = batch["heatmap"].shape[1] // int(output.heatmap.shape[1] ** 0.5)
        return patchify(batch["heatmap"], side)  # [B, P, p*p]

    return {
        "pspi": lambda: losses.mse(output.pspi, batch["pspi"], valid, scale=PSPI_MAX),
        "aus": lambda: _au_error(output.aus, batch["aus"], valid),
        "thresholds": lambda: losses.threshold_bce(output.threshold_logits, batch["pspi"], valid),
        "heatmap": lambda: losses.heatmap_bce(output.heatmap, heat(), valid),
        "attention": lambda: losses.attention_guidance(output.au_attention, heat().mean(-1), batch["aus"], valid),
    }


def _au_error(prediction: Array, target: Array, valid: Array) -> Array:
    scale = jnp.asarray(AU_MAX, jnp.float32)[None, :]  # [1, A]: AU43 is 0..1 and would count for nothing beside 0..5
    return losses.mse(prediction / scale, target / scale, valid)


def _weigh(terms: Mapping[str, Callable[[], Array]], weights: ConfigDict) -> tuple[Array, Terms]:
    unknown = set(weights) - set(terms)
    if unknown:
        raise UserError(f"config.loss has weights for {sorted(unknown)}; this objective knows {sorted(terms)}.")
    values = {name: term() for name, term in terms.items() if weights.get(name, 0)}
    if not values:
        raise UserError(f"Every weight in config.loss is 0; set at least one of {sorted(terms)}.")
    return sum(weights[name] * value for name, value in values.items()), values
