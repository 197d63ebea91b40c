"""The report: one self-contained HTML page with numbers, pictures and plots of a trained model.

`painjax report --workdir=W --compare=V` writes W/report.html.
"""

import base64
import dataclasses
import html
import io
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict
from PIL import Image

from painjax import checkpoint, evaluate, report_plots
from painjax.data.pipeline import evaluation_frames
from painjax.data.transforms import prepare
from painjax.evaluate import clip_to_range, predicted_heat
from painjax.files import write_atomically
from painjax.metrics import Predictions
from painjax.models.vit import unpatchify
from painjax.models.vitpain import ViTPain
from painjax.overlay import heat_picture, lay_over, spread
from painjax.pspi import AU_MAX, AU_MUSCLES, AU_NAMES, PSPI_THRESHOLDS, au_shares

SHEET, WORST = 8, 4  # frames shown
METRICS = ("mae", "rmse", "pcc", "icc", *(f"auroc@{k}" for k in PSPI_THRESHOLDS))

# What a page says about its numbers: what they show, and what they do not.
_OF_RENDERS = (
    "The faces, their action units and their pain scores are <b>synthetic</b>: PSPI here is the formula applied to the "
    "intensities that the face was made with. The numbers show how well the model reads rendered expressions.",
    "They do <b>not</b> show that it reads pain of people. No photograph of a person was used.",
)
_OF_OTHER_DATA = (
    "The numbers show how well the model agrees with the action units that this data set's coders saw. If the pictures "
    "above are of people, show this page only to those whom the data set's licence allows to see them.",
    "They do <b>not</b> show that it reads pain of people in other places.",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run and what its evaluation found."""

    workdir: Path
    name: str
    role: str
    config: ConfigDict
    evaluation: dict[str, Any]
    predictions: Predictions
    log: list[dict[str, Any]]


def main(workdir: str | os.PathLike, compare: Sequence[str | os.PathLike] = (), split: str = "test") -> Path:
    """Writes `workdir/report.html`, with the runs of `compare` set beside; evaluates what is not evaluated yet.

    Returns:
      The path of the page.

    Raises:
      UserError: if the data set is missing.
      FileNotFoundError: if a run has no checkpoint.
    """
    model, config, _ = checkpoint.restore_model(workdir)
    run, *_ = runs = [load_run(each, split) for each in (workdir, *compare)]
    shown, worst = choose_frames(run.predictions)
    frames = picture_rows(model, config, split, np.concatenate([shown, worst]))
    page = Template(resources.files("painjax").joinpath("report.html").read_text())
    path = Path(workdir) / "report.html"
    write_atomically(path, page.substitute(_fields(run, runs, frames[: len(shown)], frames[len(shown) :])))
    return path


def load_run(workdir: str | os.PathLike, split: str) -> Run:
    """A run with its evaluation on `split`; evaluates it first if that is missing or not of the best checkpoint."""
    workdir = Path(workdir)
    config, step = checkpoint.read_config(workdir), checkpoint.best_step(workdir)
    arrays = workdir / f"predictions_{split}.npz"
    evaluation = evaluate.read_evaluation(workdir, split, config.data.name)
    if evaluation is None or evaluation["step"] != step or not arrays.exists():
        evaluation = evaluate.main(workdir, split)
    log = workdir / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    return Run(
        workdir=workdir,
        name=workdir.resolve().name,
        role=role_of(config),
        config=config,
        evaluation=evaluation,
        predictions=Predictions.load(arrays),
        log=[json.loads(line) for line in lines],
    )


def role_of(config: ConfigDict) -> str:
    """What a run is, in a few words, from its configuration."""
    if config.data.input == "heatmap":
        return "teacher: reads the true heatmap"
    if config.get("teacher"):
        return "student: distilled from the teacher"
    return "student: labels and heatmaps" if config.loss.get("heatmap") else "student: labels only"


def choose_frames(predictions: Predictions) -> tuple[Int[np.ndarray, "K"], Int[np.ndarray, "L"]]:
    """Which frames are shown, as positions in the split: evenly spaced by true PSPI, and the largest errors.

    The choice does not look at the predictions of the first, so that it cannot flatter.
    """
    order = np.lexsort((predictions.index, predictions.pspi_true))
    places = np.unique(np.linspace(0, len(order) - 1, SHEET).round().astype(int))
    error = np.abs(predictions.pspi - predictions.pspi_true)
    worst = np.argsort(-error, kind="stable")[:WORST]
    return predictions.index[order[places]], predictions.index[worst]


def picture_rows(
    model: ViTPain, config: ConfigDict, split: str, index: Int[np.ndarray, "K"]
) -> list[dict[str, np.ndarray]]:
    """For each example: `image`, `neutral`, `true_heat` (if the data set has it), `said_heat`, `attention` as uint8
    pictures, and the labels."""
    examples = evaluation_frames(config, split, index, ("image", "neutral_image"))
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    inputs = prepare({name: jnp.asarray(values) for name, values in batch.items()}, config)
    neutral = inputs["neutral"] if config.model.neutral != "none" else None
    output = model(inputs["image"], neutral)
    size, grid = config.model.image_size, config.model.image_size // config.model.patch_size
    said = unpatchify(predicted_heat(output, config.model.patch_size), config.model.patch_size, grid, grid)[
        ..., 0
    ]  # [K, S, S]
    still = batch["aus"].sum(1, keepdims=True) == 0
    active = np.where(still, 1 / len(AU_NAMES), au_shares(batch["aus"]))  # neutral: all queries alike
    attention = np.einsum("bap,ba->bp", np.asarray(output.au_attention), active)
    reported = jax.device_get(clip_to_range(output))
    rows = []
    for i, example in enumerate(examples):
        image = np.asarray(Image.fromarray(example["image"]).resize((size, size), Image.Resampling.LANCZOS))
        rows.append(
            {
                "image": example["image"],
                # several of them side by side
                "neutral": np.concatenate(example["neutral_image"].reshape(-1, *example["image"].shape), axis=1),
                "said_heat": heat_picture(np.asarray(said[i], np.float64)),
                "attention": lay_over(image, spread(attention[i], size)),
                "index": example["index"],
                "identity": example["identity"],
                "pspi_true": example["pspi"],
                "aus_true": example["aus"],
                "pspi": reported["pspi"][i],
                "aus": reported["aus"][i],
            }
            | ({"true_heat": heat_picture(example["heatmap"][..., 0] / 255)} if "heatmap" in example else {})
        )
    return rows


def _fields(run: Run, runs: list[Run], shown: list[dict], worst: list[dict]) -> dict[str, str]:
    found, constant = run.evaluation, run.evaluation["baselines"]["constant"]
    data = f"{run.config.data.name}, {found['split']} split"
    shows, shows_not = _OF_RENDERS if run.config.data.name.startswith("pain3d/") else _OF_OTHER_DATA
    return {
        "title": html.escape(f"{run.name}: facial pain on {found['n']} frames of the {found['split']} split"),
        "lead": html.escape(
            f"{run.role.capitalize()}. {data}: {found['n']} frames of {found['identities']} identities that were in no "
            f"training frame. Checkpoint of step {found['step']}. Neutral reference: {found['neutral_protocol']}."
        ),
        "cards": _cards(found),
        "constant": f"{constant['value']:g}",
        "comparison": _comparison(runs),
        "comparison_note": _comparison_note(runs),
        "sheet": _sheet(shown),
        "sheet_n": str(len(shown)),
        "worst": _sheet(worst),
        "worst_n": str(len(worst)),
        "scatter": report_plots.predicted_against_true(run.predictions, constant["value"]),
        "levels": report_plots.error_by_level(run.predictions, constant["value"]),
        "n": str(found["n"]),
        "units": _units(found),
        "alignment": report_plots.alignment(run.predictions),
        "alignment_text": _alignment_text(found["heatmap"]),
        "n_pain": str(found["heatmap"]["n"]),
        "shows": shows,
        "shows_not": shows_not,
        "curves": report_plots.training_curves({r.name: r.log for r in _named_apart(runs)}, _named_apart(runs)[0].name),
        "identities": str(found["identities"]),
        "commands": html.escape(_commands(run, runs)),
        "configuration": html.escape(run.config.to_json(indent=2, sort_keys=True)),
    }


def _named_apart(runs: list[Run]) -> list[Run]:
    """Runs whose folders share a name get their parent's too."""
    names = [run.name for run in runs]
    return [
        dataclasses.replace(run, name=f"{run.workdir.resolve().parent.name}/{run.name}")
        if names.count(run.name) > 1
        else run
        for run in runs
    ]


def _cards(found: dict[str, Any]) -> str:
    pspi, constant = found["pspi"], found["baselines"]["constant"]
    gain = 1 - pspi["mae"] / constant["mae"] if constant["mae"] else float("nan")
    below = f"{abs(gain):.0%} {'below' if gain >= 0 else 'ABOVE'} the best constant, {constant['mae']:.2f}"
    cards = [
        ("MAE", _text(pspi["mae"], 2), f"PSPI points; {below}"),
        ("PCC", _text(pspi["pcc"], 2), "Pearson correlation; constant: undefined"),
        ("ICC(3,1)", _text(pspi["icc"], 2), "consistency with the truth; constant: undefined"),
        ("RMSE", _text(pspi["rmse"], 2), f"PSPI points; best constant {constant['rmse']:.2f}"),
    ]
    cards += [(f"AUROC, PSPI ≥ {k}", _text(pspi[f"auroc@{k}"], 2), "chance: 0.50") for k in PSPI_THRESHOLDS]
    return "".join(
        f'<div class="card"><span class="name">{name}</span><b>{value}</b><span>{note}</span></div>'
        for name, value, note in cards
    )


def _comparison(runs: list[Run]) -> str:
    head = "".join(
        f"<th scope='col'>{name}</th>" for name in ("run", "step", "n", *map(_heading, METRICS), "heatmap PCC")
    )
    rows = []
    for i, run in enumerate(_named_apart(runs)):
        for protocol, summary in run.evaluation["protocols"].items():
            headline = protocol == run.evaluation["headline"]
            name = f"{html.escape(run.name)}<small>{html.escape(run.role)}, {protocol.replace('_', ' ')}</small>"
            cells = [name, run.evaluation["step"], run.evaluation["n"]]
            cells += [_text(summary["pspi"][metric], 2) for metric in METRICS]
            cells.append(_text(summary["heatmap"]["pcc"], 2) if run.config.loss.get("heatmap") else "not trained")
            rows.append(f"<tr class='{'this' if i == 0 and headline else ''}'>{_cells(cells)}</tr>")
    constant = runs[0].evaluation["baselines"]["constant"]
    cells = [
        f"best constant<small>median of the training labels, {constant['value']:g}</small>",
        "–",
        runs[0].evaluation["n"],
    ]
    cells += [_text(constant.get(metric), 2) if metric in ("mae", "rmse") else "–" for metric in METRICS] + ["–"]
    rows.append(f"<tr class='base'>{_cells(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _comparison_note(runs: list[Run]) -> str:
    note = (
        "MAE and RMSE in PSPI points, lower is better; the others higher is better. A teacher reads the true heatmap, "
        "which no camera sees: it is the bound that a student learns from, not a competitor. One training seed per "
        "run: differences of a few hundredths may be chance."
    )
    same = {(run.config.data.name, run.evaluation["split"], run.evaluation["n"]) for run in runs}
    if len(same) > 1:
        note += " <b>These runs were evaluated on different data and must not be compared.</b>"
    return note


def _sheet(rows: list[dict[str, Any]]) -> str:
    pictures = (
        ("image", "frame"),
        ("neutral", "neutral reference"),
        ("true_heat", "true pain heatmap"),
        ("said_heat", "predicted pain heatmap"),
        ("attention", "attention of the AU queries"),
    )
    pictures = [(key, label) for key, label in pictures if all(key in row for row in rows)]
    head = "".join(f"<th scope='col'>{label}</th>" for _, label in pictures) + "<th>PSPI</th><th>action units</th>"
    body = []
    for row in rows:
        what = f"frame {row['index']}, identity {row['identity']}"
        cells = "".join(
            f"<td><img alt='{label} of {what}' src='{_data_uri(row[key])}'></td>" for key, label in pictures
        )
        score = (
            f"<td class='score'><b>{row['pspi']:.1f}</b><span>predicted</span><b>{row['pspi_true']:g}</b>"
            f"<span>true</span></td>"
        )
        body.append(f"<tr>{cells}{score}<td class='units'>{_unit_bars(row)}</td></tr>")
    return f"<table class='sheet'><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _unit_bars(row: dict[str, Any]) -> str:
    return "".join(
        f"<div class='unit'><span>{name}</span><i style='--t:{100 * t / top:.0f}%;--p:{100 * p / top:.0f}%'></i>"
        f"<span>{t:g} / {p:.1f}</span></div>"
        for name, t, p, top in zip(AU_NAMES, row["aus_true"], row["aus"], AU_MAX, strict=True)
    )


def _units(found: dict[str, Any]) -> str:
    names = ("action unit", "MAE", "best constant MAE", "PCC", "ICC(3,1)", "prevalence")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    rows = []
    for name, muscle in zip(AU_NAMES, AU_MUSCLES, strict=True):
        unit, constant = found["aus"][name], found["baselines"]["constant"]["aus"][name]
        cells = [f"{name}<small>{muscle}</small>", _text(unit["mae"], 2), _text(constant["mae"], 2)]
        cells += [_text(unit["pcc"], 2), _text(unit["icc"], 2), f"{unit['prevalence']:.0%}"]
        rows.append(f"<tr>{_cells(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _alignment_text(heatmap: dict[str, Any]) -> str:
    if not heatmap["n"]:
        return "No frame has a pain heatmap, so that where the model should look is not known."
    return (
        f"Mean correlation with the true heatmap: predicted heatmap {_text(heatmap['pcc'], 2)}, AU attention "
        f"{_text(heatmap['attention_pcc'], 2)}. Of the hot patches (at least half as hot as the hottest) and as many "
        f"most attended patches, the intersection over union is {_text(heatmap['attention_iou'], 2)}. Attention is an "
        "internal weight, not an explanation: a model can be right while it looks elsewhere, and wrong while it looks "
        "at the right place."
    )


def _commands(run: Run, runs: list[Run]) -> str:
    compare = "".join(f" --compare={other.workdir}" for other in runs[1:])
    return (
        f"painjax evaluate --workdir={run.workdir} --split={run.evaluation['split']}\n"
        f"painjax report --workdir={run.workdir}{compare} --split={run.evaluation['split']}"
    )


def _data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _cells(values: Sequence[Any]) -> str:
    return "".join(f"<td>{value}</td>" for value in values)


def _heading(metric: str) -> str:
    return {"icc": "ICC(3,1)"}.get(metric, metric.upper())


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
