"""Models are pinned to what they hold, and each thing that can be wrong with them has its sentence.

Only the network is a stand-in; huggingface_hub raises its own errors.
"""

import dataclasses
import sys
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from data_gen.diffusion import sources
from data_gen.diffusion.config import DiffusionConfig
from tests.weights.hub_stand_in import COMMIT, Hub

CONFIG = DiffusionConfig("org/model", "org/depth")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    named = b'{"_class_name": "Model"}'
    hub = Hub({"org/model": {"model_index.json": named}, "org/depth": {"config.json": named}})
    huggingface_hub.set_client_factory(hub.client)
    yield hub
    huggingface_hub.close_session()
    huggingface_hub.set_client_factory(lambda: pytest.fail("a test asks the network"))


@pytest.fixture
def folders(tmp_path):
    for name, file in (("model", "model_index.json"), ("depth", "config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text('{"_class_name": "Model"}')
        (tmp_path / name / "weights.bin").write_bytes(bytes(100))
    return DiffusionConfig(str(tmp_path / "model"), str(tmp_path / "depth"))


def test_a_revision_becomes_its_commit(hub):
    config = sources.pinned(dataclasses.replace(CONFIG, revision="v1"))
    assert (config.revision, config.controlnet_revision) == (COMMIT, COMMIT)
    assert sources.pinned(config) == config


def test_folders_are_pinned_by_their_contents(folders, tmp_path):
    config = sources.pinned(folders)
    assert config.revision.startswith("sha256:") and config.revision != config.controlnet_revision
    assert sources.pinned(config) == config == sources.pinned(folders)
    (tmp_path / "model" / "weights.bin").write_bytes(bytes(99) + b"\1")
    assert sources.pinned(folders).revision != config.revision
    assert sources.pinned(folders).controlnet_revision == config.controlnet_revision
    (tmp_path / "model").rename(tmp_path / "away")  # as on machines that only look portraits up
    assert sources.pinned(config) == config


def test_workers_that_only_look_portraits_up_ask_nobody(hub):
    config = sources.pinned(CONFIG)
    hub.asked.clear()
    hub.repositories.clear()
    assert sources.pinned(config) == config and not hub.asked
    with pytest.raises(FileNotFoundError, match="no repository org/model"):
        sources.require(sources.pinned(dataclasses.replace(CONFIG, revision="b" * 40, controlnet_revision="b" * 40)))


def test_a_gated_model_names_the_page_of_its_licence(hub):
    hub.refuses = "gated"
    with pytest.raises(PermissionError, match="org/model is gated.*https://huggingface.co/org/model, accept"):
        sources.pinned(CONFIG)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": "org/none"}, FileNotFoundError, "no repository org/none"),
        ({"model": "org/depth"}, ValueError, "org/depth on the hub has no model_index.json; expected a diffusers"),
        ({"model": "nowhere"}, FileNotFoundError, "'nowhere' is no folder"),
        ({"model": "./models/sd"}, FileNotFoundError, "is no folder"),
        ({"model": "/models/sd"}, FileNotFoundError, "is no folder"),
    ],
)
def test_no_model_of_its_kind(hub, change, error, said):
    with pytest.raises(error, match=said):
        sources.pinned(dataclasses.replace(CONFIG, **change))


def test_a_folder_of_the_wrong_kind(folders):
    with pytest.raises(ValueError, match="depth has no model_index.json; expected a diffusers pipeline"):
        sources.pinned(dataclasses.replace(folders, model=folders.controlnet))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model_type": "bert"}', b"\xff\xfe", b""])
def test_an_index_that_names_no_class(hub, folders, content):
    """As those of other libraries, and of copies that were cut short; a folder's also after it was pinned."""
    hub.repositories["org/depth"]["config.json"] = content
    with pytest.raises(ValueError, match="The config.json of org/depth names no class.*expected a ControlNet"):
        sources.pinned(CONFIG)
    before = sources.pinned(folders)
    Path(folders.controlnet, "config.json").write_bytes(content)
    for check, config in ((sources.pinned, folders), (sources.require, before)):
        with pytest.raises(ValueError, match=f"The config.json of {folders.controlnet} names no class"):
            check(config)


def test_without_network_what_was_downloaded_is_there_and_nothing_else(hub, monkeypatch):
    expected = sources.pinned(CONFIG)
    hub.refuses = "network"
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the hub's own retries
    assert sources.pinned(CONFIG) == expected
    with pytest.raises(FileNotFoundError, match="org/new is not in the hub's cache.*HF_HUB_OFFLINE"):
        sources.pinned(dataclasses.replace(CONFIG, model="org/new"))


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs huggingface_hub: pip install 'painjax\[diffusion\]'"):
        sources.pinned(CONFIG)
