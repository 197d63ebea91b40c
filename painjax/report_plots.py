"""The plots of the report, as inline SVG that follows the page's light or dark colours."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from painjax.metrics import Predictions
from painjax.pspi import PSPI_MAX

# Readable on white and on black.
COLOURS = (
    "#3b82c4",
    "#e07b39",
    "#3a9d6e",
    "#9067c6",
    "#c4547d",
    "#a58a2c",
    "#2fa3a8",
    "#d05a4e",
    "#7d8fd0",
    "#9a7b63",
    "#7fa03c",
    "#6f7f90",
)
BASELINE = "#8a8f98"
_INK = "#010203"  # stands for the text colour of the page
_STYLE = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's font
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": BASELINE,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor"), _INK
    ),
}
_MANY = 1500  # points; more are drawn as a picture inside the SVG


def training_curves(logs: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> str:
    """Loss terms of the run `name`, and validation MAE and PCC of all runs, over the steps.

    Args:
      logs: run name -> the objects of its `metrics.jsonl`.
      name: the run whose loss terms are shown.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        loss, error, correlation = figure.subplots(1, 3)
        lines = [line for line in logs[name] if "loss" in line]
        terms = [key for key in (lines[0] if lines else {}) if key not in _NOT_LOSSES]
        for term, colour in zip(terms, _cycle(len(terms)), strict=True):
            points = [(line["step"], line[term]) for line in lines if line.get(term) is not None]
            loss.plot(*zip(*points, strict=True), color=colour, label=term, linewidth=2.2 if term == "loss" else 1.2)
        loss.set(title=f"Training loss, {name}", xlabel="step", ylabel="loss (log scale, no unit)", yscale="log")
        for axes, metric, label in ((error, "mae", "MAE (PSPI points)"), (correlation, "pcc", "PCC (no unit)")):
            for (run, log), colour in zip(logs.items(), _cycle(len(logs)), strict=True):
                points = [(e["step"], e["validation"]["pspi"][metric]) for e in log if "validation" in e]
                points = [(step, value) for step, value in points if value is not None]
                if points:
                    axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=run)
            axes.set(title=f"Validation {metric.upper()}", xlabel="step", ylabel=label)
        correlation.set_ylim(min(0, correlation.get_ylim()[0]), 1)
        error.set_ylim(bottom=0)
        for axes in (loss, error, correlation):
            if axes.lines:
                axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
        return _svg(figure, f"Training curves of {', '.join(logs)}")


_NOT_LOSSES = (
    *("step", "gradient_norm", "parameter_norm", "learning_rate"),
    *("images_per_s", "examples_per_s_per_device", "mfu", "data_wait", "eta_s"),
)


def predicted_against_true(predictions: Predictions, constant: float) -> str:
    """Every frame as a point, the spread at each true PSPI as a violin, beside the ideal and the best constant."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        axes = figure.subplots()
        truth, said = predictions.pspi_true, predictions.pspi
        levels = [
            level for level in np.unique(truth) if np.ptp(said[truth == level]) > 0 and np.sum(truth == level) > 4
        ]
        if levels:
            groups = [said[truth == level] for level in levels]
            for body in axes.violinplot(groups, levels, widths=0.9, showextrema=False)["bodies"]:
                body.set(facecolor=COLOURS[0], alpha=0.25)
        jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(truth))  # integers would hide each other
        axes.scatter(
            truth + jitter, said, s=9, color=COLOURS[0], alpha=0.6, linewidths=0, rasterized=len(truth) > _MANY
        )
        axes.plot([0, PSPI_MAX], [0, PSPI_MAX], color=_INK, linewidth=1, label="ideal")
        axes.axhline(constant, color=BASELINE, linestyle="--", label=f"best constant ({constant:g})")
        axes.set(xlabel="true PSPI (0-16)", ylabel="predicted PSPI (0-16)", xlim=(-0.6, 16.6), ylim=(-0.4, 16.4))
        axes.set_aspect("equal")
        axes.legend(fontsize=8, loc="upper left")
        return _svg(figure, "Predicted against true PSPI of every frame")


def error_by_level(predictions: Predictions, constant: float) -> str:
    """Mean absolute error and bias at each true PSPI, with the number of frames, beside the best constant."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        axes = figure.subplots()
        bins = np.rint(predictions.pspi_true).astype(int)
        levels = np.unique(bins)
        error = predictions.pspi.astype(np.float64) - predictions.pspi_true
        mae = np.array([np.abs(error[bins == level]).mean() for level in levels])
        bias = np.array([error[bins == level].mean() for level in levels])
        bars = axes.bar(levels, mae, color=COLOURS[0], alpha=0.75, label="mean absolute error")
        counts = [str(np.sum(bins == level)) for level in levels]
        axes.bar_label(bars, counts, fontsize=7, padding=2)
        axes.plot(
            levels, bias, color=COLOURS[1], marker="o", markersize=4, linewidth=1, label="bias (predicted - true)"
        )
        axes.plot(
            levels, np.abs(levels - constant), color=BASELINE, linestyle="--", label=f"best constant ({constant:g})"
        )
        axes.axhline(0, color=_INK, linewidth=0.8)
        axes.set(xlabel="true PSPI (0-16)", ylabel="error (PSPI points)")
        axes.legend(fontsize=8)
        return _svg(figure, "Error at each true PSPI; the number over each bar counts its frames")


def alignment(predictions: Predictions) -> str:
    """How the predicted heatmap and the AU attention of each frame correlate with its true heatmap."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.subplots()
        edges = np.linspace(-1, 1, 41)
        maps = (("predicted heatmap", predictions.heatmap_pcc), ("AU attention", predictions.attention_pcc))
        for (label, values), colour in zip(maps, COLOURS, strict=False):
            values = values[np.isfinite(values)]
            if len(values):
                label = f"{label} (median {np.median(values):.2f})"
                axes.hist(values, edges, color=colour, alpha=0.6, label=label)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.set(xlabel="correlation with the true heatmap over patches (no unit)", ylabel="frames")
        if axes.patches:
            axes.legend(fontsize=8, loc="upper left")
        return _svg(figure, "Histogram of the correlation of predicted heatmap and attention with the true heatmap")


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _svg(figure: Figure, label: str) -> str:
    """The figure as one <svg> element; `label` is read aloud by screen readers."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": label}):  # ids must differ between the plots of one page
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1).replace(_INK, "currentColor")
