"""JobSet manifests for GKE: valid by Kubernetes' own schemas, right in their numbers, and refused where wrong."""

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.launch.jobset_schema import JOBSET

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "launch" / "gke"
EXAMPLES = sorted((FOLDER / "examples").glob("*.yaml"))
KUBERNETES = "1.31"

_spec = importlib.util.spec_from_file_location("gke_manifest", FOLDER / "manifest.py")
gke = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gke)

TPU = yaml.safe_load((FOLDER / "examples" / "tpu_v5e_16.yaml").read_text())
GPU = yaml.safe_load((FOLDER / "examples" / "gpu_h100_16.yaml").read_text())


def check(manifest):
    """Refuses what a cluster with JobSet would refuse for its form."""
    jsonschema.Draft202012Validator(JOBSET).validate(manifest)
    for job in manifest["spec"]["replicatedJobs"]:
        found = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}, **job["template"]}
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def parts(manifest):
    """The spec of the job, of its pod, and its container."""
    (job,) = manifest["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    return job["template"]["spec"], pod, pod["containers"][0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_examples_make_valid_manifests_by_the_command_of_the_readme(path):
    result = subprocess.run([sys.executable, FOLDER / "manifest.py", path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    manifest = yaml.safe_load(result.stdout)
    check(manifest)
    assert manifest == gke.manifest(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("accelerator", "topology", "hosts", "per_host", "label"),
    [  # hosts by the tables of cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
        ("tpu-v5e", "1x1", 1, 1, "tpu-v5-lite-podslice"),
        ("tpu-v5e", "2x2", 1, 4, "tpu-v5-lite-podslice"),
        ("tpu-v5e", "4x4", 4, 4, "tpu-v5-lite-podslice"),
        ("tpu-v5e", "16x16", 64, 4, "tpu-v5-lite-podslice"),
        ("tpu-v6e", "2x4", 2, 4, "tpu-v6e-slice"),
        ("tpu-v4", "2x2x1", 1, 4, "tpu-v4-podslice"),
        ("tpu-v4", "2x2x4", 4, 4, "tpu-v4-podslice"),
        ("tpu-v5p", "4x4x8", 32, 4, "tpu-v5p-slice"),
    ],
)
def test_a_tpu_slice_has_its_hosts_and_chips(accelerator, topology, hosts, per_host, label):
    manifest = gke.manifest(TPU | {"accelerator": accelerator, "topology": topology})
    check(manifest)
    job, pod, container = parts(manifest)
    assert (job["completions"], job["parallelism"], job["completionMode"]) == (hosts, hosts, "Indexed")
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": per_host}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label,
        "cloud.google.com/gke-tpu-topology": topology,
        "cloud.google.com/gke-spot": "true",
    }
    assert [variable["name"] for variable in container["env"]] == ["TFDS_DATA_DIR"]  # JAX knows the rest of GKE


def test_gpu_hosts_are_told_of_each_other():
    manifest = gke.manifest(GPU | {"gpus": 24, "environment": {"NCCL_DEBUG": "INFO"}})
    check(manifest)
    job, pod, container = parts(manifest)
    assert job["completions"] == job["parallelism"] == 3
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    name, (replicated,) = manifest["metadata"]["name"], manifest["spec"]["replicatedJobs"]
    # JobSet calls pods JOBSET-REPLICATEDJOB-JOB-POD, below a service that is called as the JobSet.
    assert variables["JAX_COORDINATOR_ADDRESS"] == f"{name}-{replicated['name']}-0-0.{name}:8476"
    assert variables["JAX_NUM_PROCESSES"] == "3" and variables["NCCL_DEBUG"] == "INFO"
    assert manifest["spec"]["network"]["enableDNSHostnames"]


def test_a_job_resumes_and_a_mistake_ends_it():
    manifest = gke.manifest(TPU | {"max_restarts": 7})
    job, pod, container = parts(manifest)
    assert manifest["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"  # all restart together, or none
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2] and rule["onExitCodes"]["containerName"] == container["name"]
    assert (container["command"], container["args"][0], container["args"][-1]) == (
        ["painjax"],
        "train",
        "--distributed",
    )


def test_volumes_are_mounted_where_the_command_writes():
    _, pod, container = parts(gke.manifest(GPU | {"runs": {"bucket": "gs://r/"}, "data": {"claim": "d"}}))
    sources = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts["/data"]["readOnly"] and not mounts["/runs"].get("readOnly")
    assert sources[mounts["/runs"]["name"]]["csi"]["volumeAttributes"]["bucketName"] == "r"
    assert sources[mounts["/data"]["name"]]["persistentVolumeClaim"] == {"claimName": "d", "readOnly": True}


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (TPU, {"topology": "4x5"}, "topology is '4x5'; expected, of tpu-v5e, one of 1x1, 2x2"),
        (TPU, {"topology": "2x2x2"}, "topology is '2x2x2'; expected, of tpu-v5e"),
        (TPU, {"accelerator": "tpu-v4"}, "topology is '4x4'; expected, of tpu-v4, 2x2x1 or three numbers"),
        (TPU, {"accelerator": "tpu-v5p", "topology": "2x2x3"}, "topology is '2x2x3'"),
        (TPU, {"accelerator": "tpu-v5p", "topology": "4x2x2"}, "numbers that do not fall"),
        (TPU, {"accelerator": "tpu-v5p", "topology": "0x0x0"}, "topology is '0x0x0'"),
        (TPU, {"accelerator": "tpu-v5p", "topology": "big"}, "topology is 'big'"),
        (TPU, {"accelerator": "tpu-v5l"}, "unknown accelerator 'tpu-v5l'; .* Did you mean 'tpu-v5"),
        (TPU, {"gpus": 8}, "gpus is 8, and tpu-v5e has none"),
        (GPU, {"gpus": 12}, "gpus is 12, which 8 on each host do not divide"),
        (GPU, {"gpus": 0}, "gpus is 0"),
        (GPU, {"gpus_per_host": 3}, "gpus_per_host is 3; expected, of nvidia-h100-80gb, 1 or 2 or 4 or 8"),
        (GPU, {"topology": "2x2"}, "topology is '2x2', and nvidia-h100-80gb has none"),
        (GPU, {"gpu": 8}, "unknown setting 'gpu'; .* Did you mean 'gpus'"),
        (GPU, {"gpus": "8"}, "gpus is '8'; expected int"),
        (GPU, {"max_restarts": -1}, "max_restarts is -1"),
        (GPU, {"name": "My Job"}, "name is 'My Job'"),
        (GPU, {"name": "a" * 41}, "at most 40"),
        (GPU, {"command": ["bash"]}, "command starts with 'bash'"),
        (GPU, {"command": ["train", "--workdir=/tmp/x"]}, "--workdir=/tmp/x; expected a folder under /runs/"),
        (GPU, {"command": ["train", "--workdir=gs://b/x"]}, "expected a folder under /runs/"),
        (GPU, {"data": {"buckets": "x"}}, "data is {'buckets': 'x'}; expected 'bucket: NAME' or 'claim: NAME'"),
        (GPU, {"runs": {"bucket": "x", "claim": "y"}}, "runs is"),
    ],
)
def test_mistakes_are_refused(config, change, message):
    with pytest.raises(gke.Mistake, match=message):
        gke.manifest(config | change)


def test_mistakes_are_one_sentence_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "job.yaml"
    for text, message in (
        ("name: x", "there is no image and no accelerator"),
        ("just words", "expected settings"),
        ("a: [", "expected the node content"),
        (None, "No such file"),
    ):
        path.write_text(text) if text else path.unlink()
        assert gke.main([str(path)]) == 2
        shown = capsys.readouterr()
        assert message in shown.err and "Traceback" not in shown.err and shown.out == ""


def test_the_validation_can_fail():
    """Each of these is a slip that a cluster would refuse."""

    def container(manifest):
        return parts(manifest)[2]

    slips = [
        lambda m: m.update(apiVersion="jobset.x-k8s.io/v1"),
        lambda m: m["spec"].update(maxRestarts=3),
        lambda m: m["spec"]["failurePolicy"].update(maxRestarts="3"),
        lambda m: m["spec"]["failurePolicy"]["rules"][0].update(action="Fail"),
        lambda m: m["metadata"].update(name="My_Job"),
        lambda m: parts(m)[0].update(completion=3),
        lambda m: parts(m)[0].update(completions="3"),
        lambda m: parts(m)[1].update(nodeselector={}),
        lambda m: parts(m)[1].pop("containers"),
        lambda m: container(m).update(args="train"),
        lambda m: container(m)["env"].append({"value": "x"}),
        lambda m: container(m)["volumeMounts"][0].pop("mountPath"),
    ]
    check(gke.manifest(TPU))
    for slip in slips:
        manifest = copy.deepcopy(gke.manifest(TPU))
        slip(manifest)
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            check(manifest)
