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
# # Meet 3DPain
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/painjax/painjax/blob/main/launch/colab/meet_3dpain.ipynb)
#
# 3DPain shows faces in pain that nobody had to suffer. Every person in it is made of numbers, so three things that
# human raters can only estimate are known exactly: which **action units** (AUs) move the face and how strongly, the
# pain score **PSPI** that follows from them, and the **pain heatmap**: where on the face the pain acts.
#
# Ten minutes, on any runtime, CPU included.

# %% [markdown]
# First, the software.

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

# %% [markdown]
# ## Look
#
# One row per person: at rest; in moderate pain, with its heatmap; in more pain from one side; at the worst from the
# other side and from the front, with its heatmap. Under each picture its PSPI (0 to 16) and its six AUs.

# %%
from data_gen.contact_sheet import contact_sheet
from data_gen.generate import GeneratorConfig

people = [17] if QUICK else [3, 17, 22]  # any numbers: each is a person
contact_sheet(GeneratorConfig("procedural", image_size=192, texture_size=256 if QUICK else 1024), people)

# %% [markdown]
# ## Move a face
#
# The same generator, step by step: a person, their face at rest, a camera, a light, a skin.

# %%
import dataclasses
import io

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from data_gen import face_models, rooms
from data_gen.camera import aim
from data_gen.heatmap import HEATMAP_FULL_SCALE_MM, displacement
from data_gen.plan import scenes
from data_gen.render import Renderer
from data_gen.rig import shape_weights
from data_gen.scene import AGE_GROUPS, ETHNICITIES, GENDERS
from data_gen.textures import paint
from painjax.overlay import heat_picture, lay_over
from painjax.pspi import AU_MAX, AU_MUSCLES, AU_NAMES, pspi

SIZE = 256  # pixels
scene = scenes(dataset_seed=0, index=3)[0]  # person 3, at rest, from the front
person = scene.identity
model = face_models.load("procedural")
rest = model.neutral(person)  # [V, 3] mm
surroundings = rooms.panorama(person.seed, scene.room)
renderer = Renderer(model.topology, SIZE)
renderer.set_texture(paint("procedural", person, model, 256 if QUICK else 1024))


def show(aus, yaw=0.0):
    """Picture [S, S, 3] and pain heatmap [S, S] of six AU intensities, seen from `yaw` degrees to the side."""
    face = model.deform(person, shape_weights(aus))
    view = dataclasses.replace(scene.view, yaw=yaw)
    camera = aim(view, rest[model.topology.landmarks], SIZE)
    heat = renderer.field(face, displacement(rest, face, model.topology), camera).values
    return renderer.color(face, camera, scene.light, rooms.behind(surroundings, view, SIZE)), heat


# %% [markdown]
# Each unit alone, at its strongest:

# %%
figure, axes = plt.subplots(2, 7, figsize=(14, 4.4), layout="constrained")
units = zip(("rest", *AU_NAMES), ("", *AU_MUSCLES), np.vstack([np.zeros(6), np.diag(AU_MAX)]), strict=True)
for (top, bottom), (name, muscle, aus) in zip(axes.T, units, strict=True):
    image, heat = show(aus)
    top.imshow(image)
    scale = bottom.imshow(heat * HEATMAP_FULL_SCALE_MM, cmap="inferno", vmin=0, vmax=HEATMAP_FULL_SCALE_MM)
    top.set_title(f"{name}\n{muscle}", fontsize=11)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("face")
axes[1, 0].set_ylabel("pain heatmap")
figure.colorbar(scale, ax=axes[1], label="skin moves by (mm)", pad=0.01)
plt.show()

# %% [markdown]
# Now you. PSPI counts the brow, the stronger of cheek and lid, the stronger of nose and lip, and closed eyes: `AU4 +
# max(AU6, AU7) + max(AU9, AU10) + AU43`. What it leaves out, the heatmap still shows.

# %%
sliders = {
    name: widgets.FloatSlider(min=0, max=top, step=0.5 if top > 1 else 1, description=name, tooltip=muscle)
    for name, muscle, top in zip(AU_NAMES, AU_MUSCLES, AU_MAX, strict=True)
}
yaw = widgets.FloatSlider(min=-45, max=45, step=5, description="camera (°)")
picture, formula = widgets.Image(format="jpeg"), widgets.HTML()


def draw(_=None):
    aus = np.array([slider.value for slider in sliders.values()])
    image, heat = show(aus, yaw.value)
    buffer = io.BytesIO()
    Image.fromarray(np.hstack([image, lay_over(image, heat)])).save(buffer, "JPEG", quality=90)
    picture.value = buffer.getvalue()
    brow, cheek, lid, nose, lip, eyes = aus
    terms = f"{brow:g} + max({cheek:g}, {lid:g}) + max({nose:g}, {lip:g}) + {eyes:g}"
    formula.value = f"<b>PSPI = {terms} = {pspi(aus):g}</b> of 16"


for slider in (*sliders.values(), yaw):
    slider.observe(draw, "value")
sliders["AU4"].value, sliders["AU7"].value, sliders["AU10"].value = 4, 3, 2
widgets.VBox([widgets.HBox([picture, widgets.VBox([*sliders.values(), yaw])]), formula])

# %% [markdown]
# ## Read the data set
#
# 3DPain is a TensorFlow Datasets data set; neither building it from Python nor reading it needs TensorFlow. `quick`
# has 72 people in 2,376 frames; building it takes about five minutes on two cores, once. (In a shell: `tfds build
# tfds_builders/pain3d --config=quick`.)

# %%
import tensorflow_datasets as tfds

DATASET = runtime.build("tiny" if QUICK else "quick")
frames = tfds.data_source(DATASET, split="train")
print(f"{DATASET}: {len(frames)} frames for training")

# %%
frame = max((frames[i] for i in range(50)), key=lambda frame: frame["pspi"] + abs(frame["view"]["yaw"]) / 90)

figure, axes = plt.subplots(1, 5, figsize=(14, 3.2), layout="constrained")
for axis, name in zip(axes, ("image", "neutral_image", "heatmap", "heatmap_frontal", "mask"), strict=True):
    pixels = frame[name]
    axis.imshow(heat_picture(pixels[..., 0] / 255) if "heatmap" in name else pixels, cmap="gray")
    axis.set(title=name, xticks=[], yticks=[])
seen = frame["landmarks"][frame["landmarks_visible"]]
axes[0].plot(*(seen.T - 0.5), ".", color="white", markersize=3)  # pixel centres lie at halves
axes[0].set_xlabel(f"{len(seen)} of 68 landmarks visible")
plt.show()

who = frame["identity"]
print(f"PSPI {frame['pspi']:g} of", *(f"{name} {value:g}" for name, value in zip(AU_NAMES, frame["aus"], strict=True)))
print(f"person {who['id']}:", AGE_GROUPS[who["age_group"]], GENDERS[who["gender"]], ETHNICITIES[who["ethnicity"]])
print(f"camera {frame['view']['yaw']:.0f}° to the side; seed {frame['seed']} makes this very frame again")

# %% [markdown]
# Pain is balanced by construction: every score is as common as the next, and of eleven expressions one is neutral.

# %%
from painjax.data.sources import FrameSource

labels = FrameSource(DATASET, "train", ())  # decodes no pictures
scores = [labels[i]["pspi"] for i in range(len(labels))]
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
axis.hist(scores, bins=np.arange(18) - 0.5, rwidth=0.85, color="#3b82c4")
axis.set(xlabel="PSPI (0: at rest, 16: worst)", ylabel="frames", xticks=range(0, 17, 2))
plt.show()

# %% [markdown]
# ## Next
#
# - `distil_a_vitpain.ipynb`: train a network that reads these heatmaps, and teach another one that sees only faces.
# - `use_it_in_your_project.ipynb`: read 3DPain in your own JAX code, and score photographs.
# - `tfds_builders/pain3d/README.md` specifies every field of the data set.
