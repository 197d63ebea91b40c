"""Writes the Kubernetes JobSet that trains PainJAX on a slice of GKE, from one small file that says what and where.

    python launch/gke/manifest.py launch/gke/examples/tpu_v5e_16.yaml > job.yaml
    kubectl apply -f job.yaml

launch/gke/README.md explains the file. Every host of the slice is one pod, and every pod runs the same `painjax train
... --distributed`. Standard: github.com/kubernetes-sigs/jobset, API v1alpha2.
"""

import argparse
import difflib
import math
import re
import sys
from pathlib import Path
from typing import Any

try:
    import yaml
except ImportError:
    sys.exit("manifest.py needs PyYAML: run it with the Python that has painjax, or pip install pyyaml.")

# name here: (name of GKE, topologies; None: three numbers, each 2 or a multiple of 4). cloud.google.com/tpu/docs
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
TPUS = {
    "tpu-v4": ("tpu-v4-podslice", None),
    "tpu-v5p": ("tpu-v5p-slice", None),
    "tpu-v5e": ("tpu-v5-lite-podslice", _FLAT),
    "tpu-v6e": ("tpu-v6e-slice", _FLAT),
}
# name of GKE: how many a machine may have. cloud.google.com/compute/docs/gpus
GPUS = {
    "nvidia-tesla-t4": (1, 2, 4),
    "nvidia-l4": (1, 2, 4, 8),
    "nvidia-tesla-a100": (1, 2, 4, 8, 16),
    "nvidia-a100-80gb": (1, 2, 4, 8),
    "nvidia-h100-80gb": (1, 2, 4, 8),
    "nvidia-h100-mega-80gb": (8,),
    "nvidia-h200-141gb": (8,),
    "nvidia-b200": (8,),
}
CHIPS_PER_TPU_HOST = 4
# setting: (type, default); None: must be given.
SETTINGS = {
    "name": (str, None),
    "image": (str, None),
    "accelerator": (str, None),
    "command": (list, None),
    "topology": (str, ""),
    "gpus": (int, 0),
    "gpus_per_host": (int, 0),
    "runs": (dict, None),
    "data": (dict, None),
    "spot": (bool, False),
    "max_restarts": (int, 10),
    "service_account": (str, ""),
    "environment": (dict, {}),
}
RUNS, DATA = "/runs", "/data"  # where the volumes are mounted
COORDINATOR_PORT = 8476
USER_MISTAKE = 2  # exit status of painjax that no restart mends


class Mistake(ValueError):
    """A setting that no job can be made from."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", metavar="FILE", help="for instance launch/gke/examples/tpu_v5e_16.yaml")
    path = Path(parser.parse_args(arguments).config)
    try:
        config = yaml.safe_load(path.read_text())
        text = yaml.safe_dump(manifest(config), sort_keys=False)
    except (Mistake, OSError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        sys.stderr.write(f"manifest.py: {path}: {reason}\n")
        return 2
    sys.stdout.write(f"# Made by launch/gke/manifest.py from {path.name}; change that file and make it again.\n{text}")
    return 0


def manifest(config: Any) -> dict[str, Any]:
    """The JobSet of `config`, whose keys are SETTINGS.

    Raises:
      Mistake: naming the setting, its value, what was expected.
    """
    config = _complete(config)
    accelerator = config["accelerator"]
    if accelerator in TPUS:
        hosts, chips, selector = _tpu_slice(config)
        resource, environment, volumes = "google.com/tpu", [], {}
        # All pods of a slice in one node pool, which is what a slice is.
        annotations = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    elif accelerator in GPUS:
        hosts, chips, selector = _gpu_hosts(config)
        resource, environment = "nvidia.com/gpu", _coordinates(config["name"], hosts)
        annotations = {}
        volumes = {"/dev/shm": {"emptyDir": {"medium": "Memory"}}}  # NCCL's; a container's own has 64 MB
    else:
        raise Mistake(_unknown("accelerator", accelerator, [*TPUS, *GPUS]))
    if config["spot"]:
        selector["cloud.google.com/gke-spot"] = "true"
    volumes |= {RUNS: _volume("runs", config["runs"]), DATA: _volume("data", config["data"], read_only=True)}
    environment += [{"name": "TFDS_DATA_DIR", "value": DATA}]
    environment += [{"name": name, "value": str(value)} for name, value in config["environment"].items()]

    container = {
        "name": "painjax",
        "image": config["image"],
        "command": ["painjax"],
        "args": _arguments(config["command"]),
        "env": environment,
        "resources": {"requests": {resource: chips}, "limits": {resource: chips}},
        "volumeMounts": [
            {"name": _volume_name(path), "mountPath": path} | ({"readOnly": True} if path == DATA else {})
            for path in volumes
        ],
    }
    pod = {
        "restartPolicy": "Never",  # the JobSet restarts all pods together: one alone could not join the others
        "terminationGracePeriodSeconds": 120,  # to save in, after SIGTERM
        "nodeSelector": selector,
        "containers": [container],
        "volumes": [{"name": _volume_name(path)} | source for path, source in volumes.items()],
    }
    if config["service_account"]:
        pod["serviceAccountName"] = config["service_account"]
    if config["spot"]:
        pod["tolerations"] = [
            {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        ]
    job = {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "painjax", "operator": "In", "values": [USER_MISTAKE]},
                }
            ]
        },
        "template": {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, "spec": pod},
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": config["name"],
            "annotations": annotations,
        },
        "spec": {
            "network": {"enableDNSHostnames": True},
            "failurePolicy": {
                "maxRestarts": config["max_restarts"],
                "rules": [
                    {"name": "mistake", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]},
                ],
            },
            "replicatedJobs": [{"name": "host", "replicas": 1, "template": {"spec": job}}],
        },
    }


# ---------------------------------------------------------------- slices


def _tpu_slice(config: dict[str, Any]) -> tuple[int, int, dict[str, str]]:
    """Hosts, chips per host, and what selects their nodes."""
    accelerator, topology = config["accelerator"], config["topology"]
    label, known = TPUS[accelerator]
    for name in ("gpus", "gpus_per_host"):
        if config[name]:
            raise Mistake(f"{name} is {config[name]}, and {accelerator} has none; give its topology alone.")
    if known is not None and topology not in known:
        raise Mistake(f"topology is {topology!r}; expected, of {accelerator}, one of {', '.join(known)}.")
    sides = [int(side) for side in topology.split("x")] if re.fullmatch(r"\d+(x\d+)*", topology) else []
    if known is None and topology != "2x2x1":
        if len(sides) != 3 or sides != sorted(sides) or any(side != 2 and side % 4 for side in sides) or 0 in sides:
            raise Mistake(
                f"topology is {topology!r}; expected, of {accelerator}, 2x2x1 or three numbers that do not fall, each "
                "2 or a multiple of 4, such as 2x2x4 or 4x4x8."
            )
    chips = math.prod(sides)
    per_host = min(chips, CHIPS_PER_TPU_HOST)
    selector = {"cloud.google.com/gke-tpu-accelerator": label, "cloud.google.com/gke-tpu-topology": topology}
    return chips // per_host, per_host, selector


def _gpu_hosts(config: dict[str, Any]) -> tuple[int, int, dict[str, str]]:
    accelerator, gpus, per_host = config["accelerator"], config["gpus"], config["gpus_per_host"]
    if config["topology"]:
        raise Mistake(f"topology is {config['topology']!r}, and {accelerator} has none; give gpus and gpus_per_host.")
    allowed = GPUS[accelerator]
    if per_host not in allowed:
        numbers = " or ".join(map(str, allowed))
        raise Mistake(f"gpus_per_host is {per_host}; expected, of {accelerator}, {numbers}.")
    if gpus < 1 or gpus % per_host:
        raise Mistake(
            f"gpus is {gpus}, which {per_host} on each host do not divide; expected a multiple of {per_host}."
        )
    return gpus // per_host, per_host, {"cloud.google.com/gke-accelerator": accelerator}


def _coordinates(name: str, hosts: int) -> list[dict[str, Any]]:
    """What `--distributed` reads where JAX does not know by itself; on TPUs GKE tells it."""
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{name}-host-0-0.{name}:{COORDINATOR_PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(hosts)},
        {"name": "JAX_PROCESS_ID", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


# ---------------------------------------------------------------- settings


def _complete(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise Mistake("expected settings such as 'name: teacher', one per line; see launch/gke/examples.")
    for name, value in config.items():
        if name not in SETTINGS:
            raise Mistake(_unknown("setting", str(name), SETTINGS))
        kind = SETTINGS[name][0]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Mistake(f"{name} is {value!r}; expected {kind.__name__}.")
    missing = [name for name, (_, default) in SETTINGS.items() if default is None and name not in config]
    if missing:
        raise Mistake(f"there is no {' and no '.join(missing)}; see launch/gke/examples.")
    config = {name: default for name, (_, default) in SETTINGS.items()} | config
    # Pods are called NAME-host-0-INDEX-XXXXX, and a name has at most 63 characters.
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", config["name"]):
        raise Mistake(
            f"name is {config['name']!r}; expected at most 40 small letters, digits and '-', such as teacher-1."
        )
    if config["max_restarts"] < 0:
        raise Mistake(f"max_restarts is {config['max_restarts']}; expected 0 or more.")
    return config


def _arguments(command: list[Any]) -> list[str]:
    command = [str(word) for word in command]
    if not command or command[0] not in ("train", "evaluate"):
        raise Mistake(f"command starts with {(command or [''])[0]!r}; expected train or evaluate and its arguments.")
    workdir = next((word.split("=", 1)[1] for word in command if word.startswith("--workdir=")), "")
    if not workdir.startswith(f"{RUNS}/"):
        raise Mistake(
            f"command has --workdir={workdir}; expected a folder under {RUNS}/, the volume that stays when the pods go."
        )
    return [*command, *(["--distributed"] if "--distributed" not in command else [])]


def _volume(name: str, source: dict[str, Any], read_only: bool = False) -> dict[str, Any]:
    """A bucket, mounted as a folder by GKE's Cloud Storage FUSE driver, or a claim of a persistent volume."""
    match source:
        case {"bucket": str(bucket), **rest} if not rest:
            # A checkpoint is finished by renaming its folder, which flat buckets do only when allowed to.
            options = "implicit-dirs" if read_only else "implicit-dirs,rename-dir-limit=100000"
            attributes = {"bucketName": bucket.removeprefix("gs://").rstrip("/"), "mountOptions": options}
            csi = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}
            return {"csi": csi | ({"readOnly": True} if read_only else {})}
        case {"claim": str(claim), **rest} if not rest:
            return {"persistentVolumeClaim": {"claimName": claim} | ({"readOnly": True} if read_only else {})}
    raise Mistake(f"{name} is {source!r}; expected 'bucket: NAME' or 'claim: NAME', of a PersistentVolumeClaim.")


def _volume_name(path: str) -> str:
    return path.strip("/").replace("/", "-")


def _unknown(what: str, name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {name!r}; expected one of {', '.join(known)}.{hint}"


if __name__ == "__main__":
    sys.exit(main())
