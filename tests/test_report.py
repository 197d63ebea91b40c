"""The report: self-contained, honest about what is undefined, frames chosen without looking at the predictions."""

import html.parser
import json
import re

import numpy as np
import pytest
from ml_collections import ConfigDict

from painjax import report, report_plots
from painjax.data.pipeline import eval_batches
from painjax.metrics import Predictions, constant_baseline
from painjax.state import make_model
from tests import synthetic_pain3d
from tests.test_metrics import draw_predictions


def make_run(folder, name, data_dir, *, teacher="", loss=None) -> tuple:
    """A working directory as training and evaluation leave it, with made-up predictions."""
    workdir = folder / name
    workdir.mkdir()
    config = ConfigDict(
        {
            "seed": 0,
            "batch_size": 8,
            "teacher": teacher,
            "data": {"name": "pain3d/quick", "data_dir": str(data_dir), "train_split": "train", "input": "image"},
            "model": {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "neutral": "channels"},
            "loss": loss or {"heatmap": 1.0},
        }
    )
    (workdir / "config.json").write_text(config.to_json())
    predictions = draw_predictions(10)
    predictions.save(workdir / "predictions_test.npz")
    constant = constant_baseline(predictions.pspi_true, predictions.pspi_true)
    constant["aus"] = {f"AU{k}": {"mae": 1.5, "rmse": 2.0, "value": 2.0} for k in (4, 6, 7, 9, 10, 43)}
    summary = predictions.summary()
    evaluation = {
        "split": "test", "n": 10, "identities": 3, "step": 7, "checkpoint": str(workdir), "headline": "with_neutral",
        "neutral_protocol": "a neutral <render>", **summary, "baselines": {"constant": constant},
        "protocols": {"with_neutral": summary, "without_neutral": summary},
    }  # fmt: skip
    evaluation["pspi"]["auroc@1"] = None  # undefined
    (workdir / "evaluation.json").write_text(json.dumps(evaluation))
    log = [{"step": s, "loss": 1 / s, "pspi": 0.5 / s, "learning_rate": 1e-3} for s in range(1, 8)]
    log.append({"step": 7, "validation": summary})
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return workdir, config


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data_dir = synthetic_pain3d.build(folder / "data")
    student, config = make_run(folder, "student", data_dir, teacher="runs/teacher")
    other, _ = make_run(folder, "labels<only>", data_dir, loss={"heatmap": 0.0})
    model = make_model(config)
    model.eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report.checkpoint, "restore_model", lambda workdir: (model, config, 7))
        patch.setattr(report.checkpoint, "best_step", lambda workdir: 7)
        path = report.main(student, [other])
    assert path == student / "report.html"
    return path.read_text()


def test_an_evaluation_of_another_checkpoint_is_made_again(tmp_path, monkeypatch):
    workdir, _ = make_run(tmp_path, "student", tmp_path)
    evaluated = []

    def evaluate(*arguments):
        evaluated.append(arguments)
        return json.loads((workdir / "evaluation.json").read_text())

    monkeypatch.setattr(report.evaluate, "main", evaluate)
    for best, expected in ((7, []), (9, [(workdir, "test")])):
        monkeypatch.setattr(report.checkpoint, "best_step", lambda _, best=best: best)
        report.load_run(workdir, "test")
        assert evaluated == expected


class Checker(html.parser.HTMLParser):
    """Collects what the page refers to, and checks that its elements close."""

    VOID = {"meta", "img", "br", "path", "use", "rect", "image", "line", "circle"}

    def __init__(self):
        super().__init__()
        self.open, self.links, self.images = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("src", "href", "xlink:href") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_self_contained_and_well_formed(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.links and all(link.startswith(("data:image/", "#")) for link in checker.links)
    assert all(image["alt"] for image in checker.images)  # every picture says what it is
    assert "<script" not in page and page.count("<svg") == 4 and "$" not in page.split("</style>")[1].split("<pre>")[0]


def test_ids_of_the_plots_do_not_collide(page):
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    clips = [set(re.findall(r'<clipPath id="([^"]+)"', plot)) for plot in plots]
    assert all(not a & b for i, a in enumerate(clips) for b in clips[i + 1 :])


def test_page_says_what_it_must(page):
    assert "student: distilled from the teacher" in page and "student: labels only" in page
    assert "best constant" in page and "not a medical device" in page and "synthetic" in page
    assert "10 frames of 3 identities" in page
    assert "not trained" in page  # a heatmap that nobody taught is no result
    assert "labels&lt;only&gt;" in page and "neutral &lt;render&gt;" in page and "<only>" not in page


def test_undefined_is_a_dash(page):
    card = re.search(r"AUROC, PSPI ≥ 1</span><b>(.*?)</b>", page).group(1)
    assert card == "–"


def test_frames_are_chosen_by_the_truth_alone():
    predictions = draw_predictions(100)
    shown, worst = report.choose_frames(predictions)
    shuffled = Predictions(**(vars(predictions) | {"pspi": predictions.pspi[::-1].copy()}))
    np.testing.assert_array_equal(report.choose_frames(shuffled)[0], shown)
    truth = predictions.pspi_true[shown]
    assert (np.diff(truth) >= 0).all() and truth[0] == predictions.pspi_true.min()
    assert truth[-1] == predictions.pspi_true.max() and len(shown) == report.SHEET
    error = np.abs(predictions.pspi - predictions.pspi_true)
    assert set(worst) == set(np.argsort(-error)[: report.WORST])


@pytest.mark.parametrize("references", [{"neutral": "random_view"}, {"neutral": "several", "neutrals": 2}])
def test_frames_are_drawn_with_the_references_of_their_evaluation(references, tmp_path):
    data_dir = synthetic_pain3d.build(tmp_path / "data", size=32, train=1, validation=1, test=12)
    _, config = make_run(tmp_path, "student", data_dir)
    config.model.neutral = "shared"
    config.data.update(references)
    with eval_batches(config, "test") as batches:
        evaluated = next(batches)["neutral_image"]
    model = make_model(config)
    model.eval()
    rows = report.picture_rows(model, config, "test", np.array([5, 2]))
    for row, index in zip(rows, (5, 2), strict=True):
        expected = evaluated[index]
        np.testing.assert_array_equal(row["neutral"], expected if expected.ndim == 3 else np.hstack(expected))


def test_plots_take_odd_data():
    """One frame, no pain at all, no validation yet, a run that has logged nothing."""
    one = draw_predictions(1)
    neutral = Predictions(**(vars(draw_predictions(5)) | {"heatmap_pcc": np.full(5, np.nan)}))
    for predictions in (one, neutral):
        for plot in (
            report_plots.predicted_against_true(predictions, 8.0),
            report_plots.error_by_level(predictions, 8.0),
            report_plots.alignment(predictions),
        ):
            assert plot.startswith("<svg") and 'role="img"' in plot and "http://purl" not in plot
    assert report_plots.training_curves({"a": [], "b": [{"step": 1, "loss": 2.0}]}, "a").startswith("<svg")
