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
# # Use it in your project
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/painjax/painjax/blob/main/launch/colab/use_it_in_your_project.ipynb)
#
# Three things to take home: 3DPain read with grain in plain JAX; a model of ten lines that learns pain from it; and a
# ViTPain that scores pictures of your own, given one neutral picture of the person.
#
# Ten minutes, on any runtime.

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
# ## Read it
#
# No TensorFlow, and nothing of PainJAX: copy this cell into any JAX project, with `DATASET = "pain3d/quick"`.

# %%
import grain
import tensorflow_datasets as tfds

FIELDS = ("image", "neutral_image", "pspi")


def read(split):
    """Frames at random access, of which only `FIELDS` are kept."""
    frames = tfds.data_source(DATASET, split=split)
    return grain.MapDataset.source(frames).map(lambda frame: {field: frame[field] for field in FIELDS})


train_frames, test_frames = read("train"), read("test")
batches = iter(train_frames.seed(0).shuffle().repeat().batch(32).to_iter_dataset())
print({name: (values.shape, str(values.dtype)) for name, values in next(batches).items()})

# %% [markdown]
# ## A ten-line probe
#
# How much does each part of the face differ from the same person at rest? A linear model on that, trained with optax.

# %%
import jax
import jax.numpy as jnp
import optax


def predict(weights, batch):
    image, neutral = (jnp.float32(batch[name]) / 255 for name in ("image", "neutral_image"))
    change = jax.image.resize(jnp.abs(image - neutral).mean(-1), (len(image), 16, 16), "linear")  # antialiased: means
    return change.reshape(-1, 256) @ weights["slope"] + weights["bias"]


def loss(weights, batch):
    return jnp.abs(predict(weights, batch) - batch["pspi"]).mean()  # PSPI points


@jax.jit
def step(weights, state, batch):
    error, gradient = jax.value_and_grad(loss)(weights, batch)
    updates, state = optimizer.update(gradient, state, weights)
    return optax.apply_updates(weights, updates), state, error


STEPS = 100 if QUICK else 200
optimizer = optax.adamw(optax.cosine_decay_schedule(0.3, STEPS))
weights, errors = {"slope": jnp.zeros(256), "bias": jnp.float32(8)}, []
state = optimizer.init(weights)
for _ in range(STEPS):
    weights, state, error = step(weights, state, next(batches))
    errors.append(error)

# %%
import matplotlib.pyplot as plt
import numpy as np

(test,) = test_frames.batch(len(test_frames))  # people whom the probe has not seen
said = np.clip(predict(weights, test), 0, 16)
error, constant = np.abs(said - test["pspi"]).mean(), np.abs(np.median(test["pspi"]) - test["pspi"]).mean()
print(f"mean absolute error: probe {error:.2f}, best constant {constant:.2f} PSPI points")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.plot(errors, color="#3b82c4")
left.set(xlabel="step", ylabel="training error (PSPI points)", ylim=(0, None))
right.plot(test["pspi"], said, "o", color="#3b82c4", alpha=0.5, markersize=4)
right.plot([0, 16], [0, 16], color="grey", linewidth=1)
right.set(xlabel="true PSPI (0 to 16)", ylabel="predicted PSPI (0 to 16)")
plt.show()

# %% [markdown]
# ## Score your own pictures
#
# First a model. If you have one (a `--workdir` of `painjax train`, or a folder of `painjax import`), name its folder.
# Else a small ViTPain is trained here on labels and heatmaps, which takes a few minutes on two cores.

# %%
import tempfile

from painjax import train
from painjax.config import load_config

MODEL = ""  # a folder of yours
if not MODEL:
    MODEL = f"{tempfile.mkdtemp() if QUICK else 'runs'}/student_alone"
    settings = [f"data.name={DATASET}", "loss.heatmap=1.0", "loss.attention=0.1"]
    if QUICK:
        settings += "steps=60 batch_size=16 validate_every=60 checkpoint_every=60 model.image_size=64".split()
    config = "configs/student_supervised.py" + (":test" if QUICK else "")
    train.main(load_config(config, [f"--config.{setting}" for setting in settings]), MODEL)

# %% [markdown]
# Then pictures: the person at rest, and the pictures to score, all from one camera. The face should fill about four
# fifths of the picture's height. Put their paths here (whole, or from the project's folder), or set `UPLOAD` on Colab;
# until then two rendered frames stand in.
#
# This is research, not a medical device, and the model has seen only synthetic faces: do not decide about a person by
# its numbers. Score only people who have agreed to it. The pictures stay on the machine that this notebook runs on;
# on Colab that is Google's.

# %%
import io

from PIL import Image

UPLOAD = False  # True, on Colab: asks for the pictures
AT_REST, PICTURES = [], []  # for instance ["calm1.jpg", "calm2.jpg"], ["visit1.jpg", "visit2.jpg"]


def ask(what):
    from google.colab import files

    print(what)
    return [Image.open(io.BytesIO(content)) for content in files.upload().values()]


if UPLOAD:
    AT_REST, PICTURES = ask("The person at rest:"), ask("Pictures of the same person to score:")
elif not PICTURES:
    frames = tfds.data_source(DATASET, split="test")
    person = frames[0]["identity"]["id"]
    same = [frame for frame in frames if frame["identity"]["id"] == person and frame["view"]["id"] == 0]
    same.sort(key=lambda frame: frame["pspi"])  # eleven expressions of one person, from the front
    AT_REST, PICTURES = [same[1]["neutral_image"]], [same[4]["image"], same[-1]["image"]]
    print(f"true PSPI {same[4]['pspi']:g} and {same[-1]['pspi']:g}")

# %% [markdown]
# The person is enrolled once, from one neutral picture or several; then every picture takes one pass of the network.

# %%
from painjax.overlay import lay_over, spread
from painjax.predictor import Predictor
from painjax.pspi import AU_NAMES

predictor = Predictor(MODEL)
reference = predictor.enrol(AT_REST) if AT_REST else None
pictures = [predictor.read(picture) for picture in PICTURES]
found = predictor.predict(pictures, reference, heatmap=True, attention=True)

figure, axes = plt.subplots(len(pictures), 4, figsize=(11, 2.7 * len(pictures)), layout="constrained", squeeze=False)
for i, (line, picture) in enumerate(zip(axes, pictures, strict=True)):
    attention = spread(found.attention[i].mean(0), len(picture.pixels))
    layers = (picture.pixels, lay_over(picture.pixels, found.heatmap[i]), lay_over(picture.pixels, attention))
    for axis, pixels in zip(line, layers, strict=False):
        axis.imshow(pixels)
        axis.set(xticks=[], yticks=[])
    line[0].set_ylabel(f"predicted PSPI {found.pspi[i]:.1f}")
    line[3].barh(AU_NAMES, found.aus[i], color="#3b82c4")
    line[3].invert_yaxis()
    line[3].set(xlim=(0, 5), xlabel="intensity (0 to 5; AU43 0 to 1)")
for axis, title in zip(axes[0], ("picture", "predicted heatmap", "attention", "action units"), strict=True):
    axis.set_title(title)
plt.show()
for warning in sorted({warning for warnings in found.warnings for warning in warnings}):
    print(warning)

# %% [markdown]
# ## Next
#
# - Without a notebook: `painjax predict --workdir=runs/student --image=folder --neutral=calm.jpg --table=scores.csv`;
#   videos work too, and `--crop=module:function` takes a face detector of yours.
# - `distil_a_vitpain.ipynb` trains a teacher and a student; `launch/README.md` does so on larger machines.
# - `tfds_builders/pain3d/README.md` specifies every field of the data set.
