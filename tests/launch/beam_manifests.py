"""What is in launch/beam's manifests, as Kubernetes would read it."""

import socket
import time
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "launch" / "beam"


def manifests(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def named(name, kind, of):
    (found,) = [m for m in manifests(of) if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pods(*names):
    """The pod of everything in these files that has one, by the name of the thing."""
    for name in names:
        for manifest in manifests(name):
            if "template" in manifest["spec"]:
                yield manifest["metadata"]["name"], manifest["spec"]["template"]


def container(pod, name):
    (found,) = [c for c in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])] if c["name"] == name]
    return found


def variables(container, pod_ip="10.0.0.7"):
    """The environment of a container, as Kubernetes makes it for a pod with that address."""
    found = {}
    for variable in container.get("env", []):
        if "value" not in variable:
            assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        value = variable.get("value", pod_ip)
        for name, known in found.items():  # those that come before
            value = value.replace(f"$({name})", known)
        found[variable["name"]] = value
    return found


def properties(container):
    return dict(line.split(": ", 1) for line in variables(container)["FLINK_PROPERTIES"].splitlines())


def settings(container):
    """Spark's, among what a container tells Java."""
    words = [word for word in variables(container)["JAVA_TOOL_OPTIONS"].split() if word.startswith("-Dspark.")]
    return dict(word.removeprefix("-D").split("=", 1) for word in words)


def wait_for_port(port, process, log, host="localhost"):
    deadline = time.monotonic() + 120
    while True:
        try:
            return socket.create_connection((host, port), timeout=5).close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
