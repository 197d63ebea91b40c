"""Settings that nothing could come of are refused with a sentence."""

import pytest

from data_gen.diffusion.config import DiffusionConfig
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
