"""The hub: what is downloaded, what is taken from the cache, and a sentence for each thing that goes wrong.

Only the network is a stand-in; huggingface_hub raises its own errors.
"""

import sys

import huggingface_hub
import huggingface_hub.constants
import pytest

from painjax.errors import UserError
from painjax.weights.hub import Snapshot
from tests.weights.hub_stand_in import COMMIT, Hub, cached

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub = Hub({"org/model": FILES})
    huggingface_hub.set_client_factory(hub.client)
    yield hub
    huggingface_hub.close_session()
    huggingface_hub.set_client_factory(lambda: pytest.fail("a test asks the network"))


def test_a_download_is_pinned_to_its_commit(hub):
    snapshot = Snapshot.open("org/model")
    assert snapshot.commit == COMMIT and set(snapshot.names) == set(FILES)
    path = snapshot.fetch("model.safetensors")
    assert path.read_bytes() == b"weights" and COMMIT in path.parts
    assert not any("config.json" in request for request in hub.asked)  # only what is asked for


def test_a_damaged_file_in_the_cache_is_found_by_its_checksum(hub):
    path = Snapshot.open("org/model").fetch("model.safetensors")
    path.resolve().write_bytes(b"weightz")
    with pytest.raises(UserError, match="is damaged.*Delete the file"):
        Snapshot.open("org/model").fetch("model.safetensors")


def test_what_was_downloaded_is_there_without_network(hub):
    Snapshot.open("org/model", "v1").fetch("model.safetensors")
    asked = len(hub.asked)
    offline = Snapshot.open("org/model", "v1", offline=True)
    assert offline.commit == COMMIT and offline.names == ("model.safetensors",)
    assert offline.fetch("model.safetensors").read_bytes() == b"weights"
    assert len(hub.asked) == asked
    with pytest.raises(UserError, match="config.json of org/model at a+ has not been downloaded before"):
        offline.fetch("config.json")


def test_a_cache_laid_by_others(hub, tmp_path):
    cached(tmp_path / "cache", "org/other", {"sub/model.safetensors": b"x"}, commit="b" * 40)
    for revision in (None, "main", "b" * 40):
        snapshot = Snapshot.open("org/other", revision, offline=True)
        assert (snapshot.commit, snapshot.names) == ("b" * 40, ("sub/model.safetensors",))
        assert snapshot.fetch("sub/model.safetensors").read_bytes() == b"x"


def test_a_hub_out_of_reach_leaves_the_cache(hub, tmp_path):
    cached(tmp_path / "cache", "org/model", FILES)
    hub.refuses = "network"
    assert Snapshot.open("org/model").fetch("model.safetensors").read_bytes() == b"weights"
    with pytest.raises(UserError, match="org/new has not been downloaded before, and the hub cannot be reached"):
        Snapshot.open("org/new")


def test_a_gated_repository(hub):
    hub.refuses = "gated"
    with pytest.raises(UserError) as error:
        Snapshot.open("org/model").fetch("model.safetensors")
    for part in ("is gated", "https://huggingface.co/org/model", "huggingface-cli login", "HF_TOKEN"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("repository", "revision", "message"),
    [
        ("org/unknown", None, "There is no repository org/unknown on the hub that you may see"),
        ("org/model", "v9", "org/model has no revision 'v9'"),
        ("org//model", None, "is no id of a repository"),
    ],
)
def test_what_is_not_there(hub, repository, revision, message):
    with pytest.raises(UserError, match=message):
        Snapshot.open(repository, revision)


def test_a_hub_that_refuses(hub):
    hub.refuses = "down"
    with pytest.raises(UserError, match="The hub refused org/model.*Try again later"):
        Snapshot.open("org/model")


def test_offline_without_cache(hub):
    with pytest.raises(UserError, match=r"org/model at v1 has not been downloaded before.*switched off"):
        Snapshot.open("org/model", "v1", offline=True)
    assert not hub.asked


def test_the_environment_switches_the_network_off(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read from the environment at import
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        Snapshot.open("org/model")
    assert not hub.asked


def test_a_repository_that_changes_meanwhile(hub):
    snapshot = Snapshot.open("org/model")
    stale = Snapshot("org/model", "main", "c" * 40, snapshot.names, False)
    with pytest.raises(UserError, match=f"has changed while it was downloaded.*--revision={'c' * 40}"):
        stale.fetch("config.json")


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'painjax\[hub\]'"):
        Snapshot.open("org/model")
