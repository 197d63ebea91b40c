# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Distil a ViTPain
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/painjax/painjax/blob/main/launch/colab/distil_a_vitpain.ipynb)
#
# A camera sees a face, never a pain heatmap. 3DPain has both, so a **teacher** that reads heatmaps can show a
# **student** that sees only the picture where on the face to look. Here you train both, and a student without a
# teacher beside them, and see what the teacher was worth.
#
# About fifteen minutes on a free GPU or TPU runtime (*Runtime > Change runtime type*) or on two CPU cores.

# %% [markdown]
# First, the software, and 3DPain: 72 people in 2,376 frames, which takes five minutes to build, once.

# %%
# PainJAX for this runtime. On Colab it is installed here, which takes two minutes; elsewhere nothing is changed.
import os
import pathlib
import subprocess
import sys

REPOSITORY = "painjax/painjax"  # owner/name on GitHub: in a fork, change it here and in the badge
here = pathlib.Path.cwd()
if "google.colab" in sys.modules:
    here = pathlib.Path("/content/painjax")
    if not here.exists():
        subprocess.run(["git", "clone", "--quiet", "--depth=1", f"https://github.com/{REPOSITORY}", here], check=True)
folder = next((p for p in (here, *here.parents) if (p / "launch/colab/runtime.py").exists()), None)
if folder is None:
    raise RuntimeError(f"Open this notebook inside a clone: git clone https://github.com/{REPOSITORY}")
sys.path.insert(0, str(folder))
from launch.colab import runtime

QUICK = os.environ.get("PAINJAX_QUICK") == "1"  # toy sizes that run in a minute and teach a network nothing
print(runtime.start())

# %%
DATASET = runtime.build("tiny" if QUICK else "quick")

# %% [markdown]
# ## Train
#
# An experiment is a file in `configs/`. What runs here is `painjax train --config=configs/teacher.py
# --workdir=runs/teacher`: stopped and run again, it goes on from its last checkpoint. The first step compiles for
# half a minute.

# %%
import tempfile

from painjax import train
from painjax.config import load_config

RUNS = pathlib.Path(tempfile.mkdtemp() if QUICK else "runs")
FEW_STEPS = "steps=60 batch_size=16 log_every=5 validate_every=20 checkpoint_every=60 model.image_size=64".split()


def fit(name, *settings):
    """Trains configs/<name>.py in RUNS/<name>."""
    settings = (f"data.name={DATASET}", *settings, *(FEW_STEPS if QUICK else ()))
    config = load_config(f"configs/{name}.py{':test' * QUICK}", [f"--config.{setting}" for setting in settings])
    train.main(config, RUNS / name)


fit("teacher")

# %% [markdown]
# The student sees the frame and one neutral picture of the same person. It learns the labels, and from the teacher:
# its scores, its features patch by patch, and the heatmap itself.

# %%
fit("student", f"teacher={RUNS / 'teacher'}")

# %% [markdown]
# The same student, from labels alone:

# %%
fit("student_supervised")

# %% [markdown]
# ## What came of it
#
# All three on the test split: people whom no network has seen, not even in validation.

# %%
from IPython.display import HTML, display

from painjax import report, report_plots

runs = {name: report.load_run(RUNS / name, "test") for name in ("teacher", "student", "student_supervised")}
display(HTML(report_plots.training_curves({name: run.log for name, run in runs.items()}, "student")))

# %%
constant = runs["student"].evaluation["baselines"]["constant"]
print(f"{'PSPI, 0 to 16':58}{'MAE':>6}{'PCC':>7}")
for run in runs.values():
    for protocol, found in run.evaluation["protocols"].items():
        name = f"{run.role}, {protocol.replace('_', ' ')}" if "student" in run.role else run.role
        pcc = found["pspi"]["pcc"]  # None: undefined, of predictions that are all the same
        print(f"{name:58}{found['pspi']['mae']:6.2f}{'-' if pcc is None else f'{pcc:.3f}':>7}")
print(f"{'best constant':58}{constant['mae']:6.2f}{'-':>7}")

# %% [markdown]
# **Was it the teacher?** Look person by person: where the dots change places, the difference is chance. With `quick`,
# six people and one run each, ours (in the project's README) differ by less than another seed may turn round, while
# both are lost without the neutral picture. So at this size the neutral picture decides; judge distillation on
# `full`, over several seeds.

# %%
import matplotlib.pyplot as plt
import numpy as np

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for name, colour in zip(("student", "student_supervised"), report_plots.COLOURS[1:], strict=False):
    said = runs[name].predictions
    people, error = np.unique(said.identity), np.abs(said.pspi - said.pspi_true)
    left.plot([error[said.identity == i].mean() for i in people], "o", color=colour, label=runs[name].role)
    right.plot(said.pspi_true, said.pspi, "o", color=colour, alpha=0.4, markersize=4)
left.axhline(constant["mae"], color="grey", linestyle="--", label="best constant")
left.set(xlabel="person in the test split", ylabel="mean absolute error (PSPI points)", xticks=range(len(people)))
left.set(xticklabels=people, ylim=(0, 1.4 * constant["mae"]))
left.legend(frameon=False)
right.plot([0, 16], [0, 16], color="grey", linewidth=1)
right.set(xlabel="true PSPI (0 to 16)", ylabel="predicted PSPI (0 to 16)")
plt.show()

# %% [markdown]
# **Where does the student look?** Frames from little to much pain: the true heatmap, the one that the student
# predicts from the picture, and the attention of its action-unit queries. Attention is a weight inside the network,
# not an explanation.

# %%
from painjax.checkpoint import restore_model

student, config, _ = restore_model(RUNS / "student")
shown, _ = report.choose_frames(runs["student"].predictions)
rows = report.picture_rows(student, config, "test", shown[1::2])

titles = {
    "image": "picture",
    "neutral": "neutral reference",
    "true_heat": "true heatmap",
    "said_heat": "predicted heatmap",
    "attention": "attention",
}
figure, axes = plt.subplots(len(rows), len(titles), figsize=(10, 2 * len(rows)), layout="constrained")
for row, line in zip(rows, axes, strict=True):
    for axis, name in zip(line, titles, strict=True):
        axis.imshow(row[name])
        axis.set(xticks=[], yticks=[])
    line[0].set_ylabel(f"true PSPI {row['pspi_true']:.0f}\npredicted {row['pspi']:.1f}")
for axis, title in zip(axes[0], titles.values(), strict=True):
    axis.set_title(title)
plt.show()

# %% [markdown]
# ## Next
#
# - All of this on one page, with every number: `painjax report --workdir=runs/student --compare=runs/teacher`.
# - Change the experiment: `fit("student", f"teacher={RUNS / 'teacher'}", "seed=1")`, with another folder in `RUNS`.
# - On a cluster or a pod: `launch/README.md`.
# - `use_it_in_your_project.ipynb`: score photographs with the student.
