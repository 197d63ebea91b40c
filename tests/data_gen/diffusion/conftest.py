"""One person, their sitting, and portraits that our own renderer makes of them as a model would paint them."""

import dataclasses

import numpy as np
import pytest

from data_gen import face_models, scene
from data_gen.diffusion import pipelines, sitting
from data_gen.render import Renderer
from data_gen.scene import Light
from data_gen.textures import paint

SIZE, TEXELS = 256, 512
STUDIO = Light(key_azimuth=20, key_elevation=20, key=0.7, fill=0.5, ambient=0.6, kelvin=5000, rim=0.0)


@dataclasses.dataclass(frozen=True)
class Sitter:
    """A person before the portrait's camera; `render` draws them with any texture, on grey."""

    person: scene.Identity
    model: face_models.FaceModel
    neutral: np.ndarray
    base: object
    sitting: sitting.Sitting
    renderer: Renderer

    def render(self, texture, light: Light = STUDIO) -> np.ndarray:
        self.renderer.set_texture(texture, self.neutral)
        grey = np.full((SIZE, SIZE, 3), 150, np.uint8)
        view = sitting.camera(self.neutral, self.model.topology, SIZE)
        return self.renderer.color(self.renderer.pose(self.neutral), view, light, grey)


@pytest.fixture(scope="package")
def model():
    return face_models.load("procedural")


@pytest.fixture(scope="package")
def renderer(model):
    with Renderer(model.topology, SIZE) as drawing:
        yield drawing


def seat(model, renderer, person: scene.Identity, texels: int = TEXELS) -> Sitter:
    base, neutral = paint("procedural", person, model, texels), model.neutral(person)
    return Sitter(person, model, neutral, base, sitting.sit(neutral, model, base, renderer), renderer)


@pytest.fixture(scope="package")
def sitter(model, renderer) -> Sitter:
    return seat(model, renderer, scene.identity(0, 6))  # a woman whose hair leaves forehead and cheeks free


@pytest.fixture
def quiet(monkeypatch):
    """No model is loaded yet, and none is looked for on the hub."""
    logging = pytest.importorskip("diffusers.utils.logging", reason="needs painjax[diffusion]")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    logging.disable_progress_bar()
    pipelines._loaded.clear()
