"""Settings that nothing could come of are refused with a sentence."""

import pytest

from data_gen.diffusion.config import ControlConfig, DiffusionConfig, InpaintConfig
from data_gen.generator_config import GeneratorConfig


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": ""}, "diffusion.model is empty"),
        ({"size": 500}, "size is 500; expected a multiple of 64"),
        ({"size": 32}, "size is 32"),
        ({"tries": 0}, "tries is 0"),
        ({"batch": 1.5}, "batch is 1.5"),
        ({"steps": True}, "steps is True"),
        ({"guidance": -1}, "guidance is -1"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"precision": "int8"}, "precision is 'int8'; expected one of float16"),
        ({"check": "strict"}, "check is 'strict'"),
        ({"check": ":find"}, "check is ':find'"),
    ],
)
def test_bad_values(change, said):
    with pytest.raises(ValueError, match=said):
        DiffusionConfig(**{"model": "a/b", "controlnet": "c/d"} | change)


def test_settings_and_backend_belong_together():
    settings = DiffusionConfig("a/b", "c/d")
    assert GeneratorConfig("procedural", 64, "diffusion", diffusion=settings).diffusion is settings
    with pytest.raises(ValueError, match="expected a DiffusionConfig"):
        GeneratorConfig("procedural", 64, "diffusion")
    with pytest.raises(ValueError, match="None with any other"):
        GeneratorConfig("procedural", 64, diffusion=settings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": ""}, "backdrop.model is empty"),
        ({"size": 500}, "backdrop.size is 500; expected a multiple of 64"),
        ({"tries": 0}, "backdrop.tries is 0"),
        ({"strength": 0.0}, "backdrop.strength is 0.0"),
        ({"strength": 1.1}, "backdrop.strength is 1.1"),
        ({"strength": 0.2, "steps": 4}, "strength is 0.2 of 4 steps; expected .* one step at least"),
        ({"control": float("nan")}, "backdrop.control is nan"),
    ],
)
def test_bad_backdrops(change, said):
    with pytest.raises(ValueError, match=said):
        InpaintConfig(**change)


def test_bad_controlnets():
    with pytest.raises(ValueError, match="kind is 'pose'; expected one of normal, landmarks"):
        ControlConfig("pose", "a/b")
    with pytest.raises(ValueError, match="for normal has no model"):
        ControlConfig("normal", "")
    with pytest.raises(ValueError, match="for normal has scale -1"):
        ControlConfig("normal", "a/b", scale=-1)
    with pytest.raises(ValueError, match="kinds normal, normal; expected each once"):
        DiffusionConfig("a/b", "c/d", more_controls=(ControlConfig("normal", "a"), ControlConfig("normal", "b")))
