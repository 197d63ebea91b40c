"""What is minimised: the only place where losses meet models.

An objective is a pure function of a model and a prepared batch (`painjax.data.transforms.prepare`) that returns the
loss and its unweighted terms. `weights` is `config.loss`; a term of weight 0 is never computed.
"""

import math
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
from painjax.teacher_outputs import TeacherOutputs

Terms = dict[str, Array]


def supervised(model: ViTPain, batch: Mapping[str, Any], weights: ConfigDict) -> tuple[Array, Terms]:
    """Learning from labels: PSPI, action units, thresholds, and, where weighted, the heatmap.

    Args:
      model: in training mode.
      batch: prepared; `heatmap` [B, S, S, 1] in 0..1 is read only if `weights.heatmap` or `weights.attention` is set.
      weights: `pspi` (squared error, PSPI as a fraction of 16), `pspi_nll` (its likelihood, for a model with
        `uncertainty`), `aus` (cross-entropy of each AU's fraction of its maximum, AU43's probability; squared error of
        it for the authors' heads), `consistency` (squared difference of PSPI and of the PSPI formula on the AUs),
        `thresholds` (cross-entropy of PSPI >= 1, 2, 3), `heatmap` (every patch token predicts its own patch of the
        heatmap), `attention` (AU queries look where the heatmap is warm).

    Returns:
      The weighted sum, and the unweighted terms by name.
    """
    output = model(batch["image"], batch["neutral"], batch["neutral_valid"])
    return _weigh(_label_terms(output, batch), weights)


def distill(
    model: ViTPain, teacher: TeacherOutputs, batch: Mapping[str, Any], weights: ConfigDict
) -> tuple[Array, Terms]:
    """`supervised`, plus what a teacher sees in the heatmap of the same augmented frame.

    Args:
      model: the student, in training mode, with `project_width` equal to the teacher's width.
      teacher: what the frozen teacher says of `batch["heatmap_input"]`.
      batch: prepared.
      weights: those of `supervised`, and `features` (every patch token, projected, points the way of the teacher's
        token at the same place: 1 - cosine), `match_pspi`, `match_aus`, `match_thresholds` (the teacher's predictions
        in the place of the labels; thresholds by the squared error of probabilities).
    """
    output = model(batch["image"], batch["neutral"], batch["neutral_valid"])
    teacher = jax.lax.stop_gradient(teacher)
    valid = batch["valid"]
    terms = _label_terms(output, batch) | {
        "features": lambda: losses.feature_alignment(output.projected, teacher.patch_tokens, valid),
        "match_pspi": lambda: losses.mse(output.pspi, teacher.pspi, valid, scale=PSPI_MAX),
        "match_aus": lambda: _au_error(output, teacher.aus, valid),
        "match_thresholds": lambda: losses.mse(
            jax.nn.sigmoid(output.threshold_logits), jax.nn.sigmoid(teacher.threshold_logits), valid
        ),
    }
    return _weigh(terms, weights)


def _label_terms(output: ViTPainOutput, batch: Mapping[str, Any]) -> dict[str, Callable[[], Array]]:
    valid = batch["valid"]

    def heat() -> Array:
        heatmap = batch["heatmap"]  # [B, S, S, 1]
        return patchify(heatmap, heatmap.shape[1] // math.isqrt(output.au_attention.shape[2]))  # [B, P, p*p]

    def heatmap() -> Array:
        if output.heatmap is None:
            raise UserError("config.loss.heatmap needs a heatmap head, which model.heads_layout 'official' has not.")
        return losses.fraction_bce(output.heatmap, heat(), valid)

    def pspi_nll() -> Array:
        if output.pspi_log_variance is None:
            raise UserError("config.loss.pspi_nll needs --config.model.uncertainty=True.")
        return losses.gaussian_nll(output.pspi, output.pspi_log_variance, batch["pspi"], valid)

    return {
        "pspi": lambda: losses.mse(output.pspi, batch["pspi"], valid, scale=PSPI_MAX),
        "pspi_nll": pspi_nll,
        "aus": lambda: _au_error(output, batch["aus"], valid),
        "consistency": lambda: losses.mse(output.pspi, output.pspi_from_aus, valid, scale=PSPI_MAX),
        "thresholds": lambda: losses.threshold_bce(output.threshold_logits, batch["pspi"], valid),
        "heatmap": heatmap,
        "attention": lambda: losses.attention_guidance(output.au_attention, heat().mean(-1), batch["aus"], valid),
    }


def _au_error(output: ViTPainOutput, target: Array, valid: Array) -> Array:
    scale = jnp.asarray(AU_MAX, jnp.float32)[None, :]  # [1, A]: AU43 is 0..1 and would count for nothing beside 0..5
    if output.au_logits is None:
        return losses.mse(output.aus / scale, target / scale, valid)
    return losses.fraction_bce(output.au_logits, jnp.clip(target / scale, 0, 1), valid)


def _weigh(terms: Mapping[str, Callable[[], Array]], weights: ConfigDict) -> tuple[Array, Terms]:
    unknown = set(weights) - set(terms)
    if unknown:
        raise UserError(f"config.loss has weights for {sorted(unknown)}; this objective knows {sorted(terms)}.")
    values = {name: term() for name, term in terms.items() if weights.get(name, 0)}
    if not values:
        raise UserError(f"Every weight in config.loss is 0; set at least one of {sorted(terms)}.")
    return sum(weights[name] * value for name, value in values.items()), values
