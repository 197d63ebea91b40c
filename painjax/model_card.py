"""The model card: what whoever gets an exported model must know before using it. Markdown, with the hub's front matter.

Figures are those that `painjax evaluate` measured on the very model that is exported; what was not measured is said.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import painjax
from painjax import checkpoint
from painjax.data.sources import FrameSource
from painjax.demographics import by_group
from painjax.errors import UserError
from painjax.evaluate import read_evaluation
from painjax.exportable import Exportable
from painjax.metrics import Predictions
from painjax.model_folder import flatten
from painjax.models.lora import ADAPTER
from painjax.pspi import AU_NAMES, PSPI_THRESHOLDS

_DINOV3_LICENCE = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"


@dataclasses.dataclass(frozen=True)
class HowTo:
    """What a format's writer tells the card: the format in words, the hub's name of the library that reads it, the
    command that installs it, Python code that runs in the folder, and what the reader must know of this export."""

    format: str
    library: str
    install: str
    usage: str
    notes: tuple[str, ...] = ()


def model_card(model: Exportable, how_to: HowTo, files: Mapping[str, str]) -> str:
    """The card of an exported model.

    Args:
      model: what was exported.
      how_to: of its format.
      files: SHA-256 of each file, by name.
    """
    sections = [
        _front_matter(model, how_to),
        f"# {_title(model)}\n\n{_summary(model)} Exported by PainJAX {painjax.__version__} as {how_to.format}.",
        f"## Use\n\n{_use(model)}",
        f"## Loading\n\n```\n{how_to.install}\n```\n\nIn this folder:\n\n```python\n{how_to.usage}```"
        + "".join(f"\n\n{note}" for note in how_to.notes),
        f"## Pictures\n\n{_pictures(model)}",
        f"## Training data and licence\n\n{_training_data(model)}\n\n{_licence(model)[1]}",
        f"## Architecture\n\n{_architecture(model)}",
        f"## Measured\n\n{_measured(model)}",
        "## Files\n\n| file | SHA-256 |\n|---|---|\n"
        + "\n".join(f"| `{name}` | `{digest}` |" for name, digest in sorted(files.items())),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(model: Exportable, how_to: HowTo) -> str:
    tags = ["painjax", "facial-pain", "pspi", "action-units"] if model.kind == "vitpain" else ["painjax", "vision"]
    lines = [*_licence(model)[0], f"library_name: {how_to.library}", "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _title(model: Exportable) -> str:
    return f"{Path(str(model.source['from'])).name}: " + ("ViTPain" if model.kind == "vitpain" else "vision encoder")


def _summary(model: Exportable) -> str:
    if model.kind == "encoder":
        return "An encoder of pictures, without anything that reads pain from them."
    reads = "true pain heatmaps (a teacher: of no use on photographs)" if _is_teacher(model) else "pictures of faces"
    neutral = "" if model.config.neutral == "none" else ", better with a neutral picture of the same person"
    thresholds = ", ".join(map(str, PSPI_THRESHOLDS))
    return (
        f"Reads {reads}{neutral}: PSPI (Prkachin and Solomon's pain score, 0..16), the action units "
        f"{', '.join(AU_NAMES)} (0..5; AU43 0..1), and the probability of PSPI >= {thresholds}."
    )


def _use(model: Exportable) -> str:
    if model.kind == "encoder":
        return "For research: features of pictures, and training that starts from them. Not a medical device."
    return (
        "For research on the facial expression of pain: method comparisons, pretraining, annotation that people "
        "check.\n\n"
        "**Not a medical device.** It estimates an expression, not what somebody feels: people in pain may show "
        "nothing, and faces move for other reasons. Do not base diagnosis, medication, triage or any care of a person "
        "on it.\n\n"
        "Out of scope: decisions about individuals; monitoring without consent; employment, insurance, policing, "
        "credibility or asylum; inferring identity or demographics; infants, facial palsy, occluded or masked faces "
        "and animals, on none of which it was trained or tested. Before any study, measure it on your own population, "
        "by group."
    )


def _pictures(model: Exportable) -> str:
    found = model.preprocessing
    mean, std = (", ".join(f"{value:g}" for value in found[name]) for name in ("mean", "std"))
    crop = "" if found["crop"] == 1 else f", of which the middle {found['crop']:g} of each side is kept"
    grey = "one channel" if model.kind == "encoder" else "one channel (a pain heatmap)"
    channels = {1: grey, 3: "RGB"}.get(model.config.in_channels, f"{model.config.in_channels} channels")
    return (
        f"{found['size']} x {found['size']} pixels ({found['interpolation']}{crop}), {channels}"
        f" in 0..1, then (x - mean) / std with mean {mean} and standard deviation {std}."
        + ("" if model.kind == "encoder" else " The face fills about seven tenths of the picture's height.")
    )


def _training_data(model: Exportable) -> str:
    data = _data_name(model)
    if data is None:
        return "Trained by others, not by PainJAX: see the source below."
    if not data.startswith("pain3d/"):
        return f"Trained on the data set `{data}`; its terms apply."
    shape = (
        "ICT-FaceKit geometry (MIT)" if "_ict" in data
        else "FLAME heads (FLAME's own licence) with ICT-FaceKit's expressions (MIT)" if "_flame" in data
        else "PainJAX's own procedural head (Apache-2.0)"
    )  # fmt: skip
    return (
        f"Trained on 3DPain (`{data}`): synthetic faces rendered on {shape}, whose labels are exact by construction. "
        "No person is depicted. Age group, gender and ethnicity are balanced rendering parameters, which does not make "
        "a model fair on real faces; how well it carries over to photographs is not known from synthetic data."
    )


def _licence(model: Exportable) -> tuple[list[str], str]:
    """Lines of the front matter, and the paragraph."""
    backbone = model.backbone
    if backbone is None:
        first = model.experiment.get("pretrained") if model.experiment is not None else None
        if first:  # itself from random weights, but on data of its own
            text = (
                f"Fine-tuned from `{Path(first).name}`, which was trained from random weights. The terms of the data "
                "that either was trained on decide about these weights."
            )
            return ["license: other", "license_name: see-training-data"], text
        if (_data_name(model) or "").startswith("pain3d/"):
            text = "Trained from random weights. Licence: Apache-2.0, as PainJAX and its synthetic data."
            return ["license: apache-2.0"], text
        text = "Trained from random weights on the data above, whose terms decide about these weights."
        return ["license: other", "license_name: see-training-data"], text
    known = {key: backbone.get(key) for key in ("from", "revision", "file", "sha256")}
    details = [f"revision `{known['revision']}`", f"file `{known['file']}`", f"SHA-256 `{known['sha256']}`"]
    details = [text for text, key in zip(details, ("revision", "file", "sha256"), strict=True) if known[key]]
    source = f"The weights stand on `{known['from']}`" + "".join(f", {text}" for text in details) + ". "
    official = getattr(model.config, "heads_layout", "") == "official"
    if official or model.config.position == "rope" or "dinov3" in json.dumps(known).lower():
        text = (
            source + f"Weights that derive from Meta's DINOv3 are under the [DINOv3 License]({_DINOV3_LICENCE}), which "
            "has to be passed on with them and restricts some uses; read it before you publish or deploy them."
            + (" The authors' own terms for ViTPain apply as well." if official else "")
        )
        return ["license: other", "license_name: dinov3-license", f"license_link: {_DINOV3_LICENCE}"], text
    return ["license: other", "license_name: see-source"], source + "Its licence applies to them."


def _architecture(model: Exportable) -> str:
    config = model.config
    count = sum(math.prod(np.shape(value)) for value in flatten(model.params).values())
    rows = {
        "parameters": f"{count:,}",
        "encoder": f"width {config.width}, {config.depth} blocks, {config.heads} heads, MLP {config.mlp} "
        f"{config.mlp_width}, patches of {config.patch_size} px, {config.registers} registers",
        "positions": config.position,
    }
    if model.kind == "vitpain":
        rows |= {"neutral reference": config.neutral, "heads": config.heads_layout}
    if any(path.endswith(ADAPTER) for path in flatten(model.params)):
        rows["LoRA adapters"] = f"rank {config.lora_rank}, alpha {config.lora_alpha:g}, not merged"
    if model.step:
        rows["training"] = f"`{model.source['from']}`, step {model.step}"
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


# --- What was measured ---


def _measured(model: Exportable) -> str:
    if model.kind == "encoder":
        return "Nothing: an encoder alone tells no pain."
    data_name = _data(model).name
    splits = ("test", None)  # the test split, else the last that was evaluated
    found = next(filter(None, (read_evaluation(model.folder, split, data_name) for split in splits)), None)
    if found is None:
        return f"Nothing yet: `painjax evaluate --workdir={model.folder.name}` had not been run when this was exported."
    if found["step"] != model.step:
        return f"Nothing on this model: the evaluation at hand is of step {found['step']}, this is step {model.step}."
    names = ("mae", "rmse", "pcc", "icc", *(f"auroc@{k}" for k in PSPI_THRESHOLDS))
    constant = found["baselines"]["constant"]
    rows = [(protocol.replace("_", " "), summary["pspi"]) for protocol, summary in found["protocols"].items()]
    units = [(name, found["aus"][name], constant["aus"][name]["mae"]) for name in AU_NAMES]
    return "\n\n".join(
        [
            f"On {found['n']} frames of {found['identities']} people of the split `{found['split']}` of "
            f"`{data_name}`. PSPI; AUROC at PSPI >= k. The best constant is what a model must beat.",
            _table(
                ("", *names),
                [(name, *(row.get(key) for key in names)) for name, row in rows]
                + [("best constant", *(constant.get(key) for key in names))],
            ),  # fmt: skip
            _table(
                ("action unit", "mae", "mae of the best constant", "pcc", "icc"),
                [(name, unit["mae"], best, unit["pcc"], unit["icc"]) for name, unit, best in units],
            ),
            _groups(model, found["split"]),
        ]
    )


def _groups(model: Exportable, split: str) -> str:
    arrays = model.folder / f"predictions_{split}.npz"
    if not arrays.is_file():
        return f"Not measured by demographic group: `{arrays.name}` of the evaluation is missing."
    data = _data(model)
    try:
        figures = by_group(Predictions.load(arrays), FrameSource(data.name, split, (), data.data_dir))
    except UserError:
        return f"Not measured by demographic group: the data set `{data.name}` was not at hand for the export."
    if not figures:
        return f"Not measured by demographic group: the data set `{data.name}` names none."
    rows = [
        (f"{grouping.replace('_', ' ')}: {group}", *row)
        for grouping, groups in figures.items()
        for group, row in groups.items()
    ]
    fewest = min(row[1] for row in rows)
    return (
        "PSPI by demographic group. "
        + ("Differences between groups of so few people may be chance.\n\n" if fewest < 20 else "\n\n")
        + _table(("group", "people", "frames", "mae", "pcc"), rows)
    )


def _table(head: tuple[str, ...], rows: list[tuple]) -> str:
    def cell(value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "-"
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = [head, ("---",) * len(head), *(tuple(map(cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _data(model: Exportable) -> ConfigDict:
    """`config.data` of what was evaluated."""
    return (model.experiment or checkpoint.read_config(model.folder)).data


def _data_name(model: Exportable) -> str | None:
    return None if model.experiment is None else model.experiment.data.name


def _is_teacher(model: Exportable) -> bool:
    return model.experiment is not None and model.experiment.data.input == "heatmap"
