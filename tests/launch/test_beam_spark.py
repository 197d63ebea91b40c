"""launch/beam's cluster of Spark: manifests that fit together, and that Spark starts by."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import apache_beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import spark_runner

from tests.launch.beam_manifests import container, named, pods, settings, variables, wait_for_port


def test_the_cluster_of_spark_is_one_and_of_the_version_in_beams_job_server():
    (master,) = [pod for name, pod in pods("spark.yaml") if name == "painjax-spark-master"]
    (worker,) = [pod for name, pod in pods("spark.yaml") if name == "painjax-spark-worker"]
    server = container(named("painjax-build", "Job", "build_spark.yaml")["spec"]["template"], "job-server")
    major = re.fullmatch(rf"apache/beam_spark(\d+)_job_server:{re.escape(apache_beam.__version__)}", server["image"])[1]
    assert container(master, "spark")["image"] == container(worker, "spark")["image"]
    assert re.fullmatch(
        rf"apache/spark:{major}\.\d+\.\d+-scala2\.12-java11-ubuntu", container(worker, "spark")["image"]
    )
    assert container(worker, "beam")["image"] == server["image"]

    service = named("painjax-spark", "Service", "spark.yaml")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    assert service["spec"]["selector"] == master["metadata"]["labels"]
    url = f"spark://{service['metadata']['name']}:{ports['master']}"
    assert container(worker, "spark")["command"][-1] == url
    known = spark_runner.SparkJarJobServer(PipelineOptions([f"--spark_master_url={url}"])).java_arguments(0, 0, 0, "")
    assert f"--spark-master-url={url}" in server["args"] and url in known
    assert {word.split("=")[0] for word in server["args"]} <= set(known)
    assert server["restartPolicy"] == "Always"  # beside the build, which would not end before it otherwise


def test_the_settings_of_spark_fit_its_workers():
    server = container(named("painjax-build", "Job", "build_spark.yaml")["spec"]["template"], "job-server")
    worker = named("painjax-spark-worker", "Deployment", "spark.yaml")["spec"]["template"]
    spark, beam_classes = container(worker, "spark"), container(worker, "beam")
    set_to = settings(server)
    assert set_to["spark.driver.host"] == variables(server)["POD_IP"]  # pods know each other by address only
    assert set_to["spark.executor.memory"] == variables(spark)["SPARK_WORKER_MEMORY"]  # an executor is a worker
    (folder,) = [mount["mountPath"] for mount in beam_classes["volumeMounts"]]
    assert set_to["spark.executor.extraClassPath"] == f"{folder}/*" and beam_classes["command"][-1].endswith(
        f" {folder}"
    )
    assert {"name": "beam", "mountPath": folder} in spark["volumeMounts"]
    java = variables(server)["JAVA_TOOL_OPTIONS"].split()
    assert [word for word in java if word.startswith("--")] == spark_runner.SPARK_JAR_JOB_SERVER_JVM_ARGS


@pytest.mark.slow
def test_spark_starts_by_the_commands_of_the_manifest_and_takes_the_settings(tmp_path):
    """Its master, a worker, and a job of Spark's own with one element, as Beam's pipelines begin."""
    pyspark = pytest.importorskip("pyspark", reason="needs pyspark of the version in spark.yaml, and Java")
    home = Path(pyspark.__file__).parent
    with socket.socket() as free:  # Java does not share it, as gRPC does
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = named("painjax-spark-worker", "Deployment", "spark.yaml")["spec"]["template"]
    master = named("painjax-spark-master", "Deployment", "spark.yaml")["spec"]["template"]
    server = container(named("painjax-build", "Job", "build_spark.yaml")["spec"]["template"], "job-server")
    assert f":{pyspark.__version__}-" in container(worker, "spark")["image"]
    here = {"/opt/spark": str(home), "painjax-spark:7077": f"127.0.0.1:{port}", "/tmp/spark": str(tmp_path)}
    address = {"SPARK_MASTER_HOST": "127.0.0.1", "SPARK_MASTER_PORT": str(port), "SPARK_MASTER_WEBUI_PORT": "0"}
    job = """if True:
        from pyspark import SparkConf, SparkContext
        context = SparkContext(conf=SparkConf().setMaster("spark://painjax-spark:7077").setAppName("one"))
        elements = context._jvm.java.util.ArrayList()
        elements.add("one")
        bundles = context._jsc.parallelize(elements).repartition(context.defaultParallelism)
        print(bundles.count(), bundles.getNumPartitions())
    """

    def started(words, environment, log):
        for there, replaced in here.items():
            words = [word.replace(there, replaced) for word in words]
            environment = {name: value.replace(there, replaced) for name, value in environment.items()}
        environment = os.environ | {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"} | environment
        with (tmp_path / log).open("w") as said:
            return subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT)

    running = []
    try:
        running.append(started(container(master, "spark")["command"], address, "master.log"))
        wait_for_port(port, running[-1], tmp_path / "master.log", "127.0.0.1")
        spark = container(worker, "spark")
        running.append(started(spark["command"], variables(spark), "worker.log"))
        driver = started([sys.executable, "-c", job], variables(server, pod_ip="127.0.0.1"), "driver.log")
        running.append(driver)
        assert driver.wait(timeout=200) == 0, (tmp_path / "driver.log").read_text()
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
    said = (tmp_path / "driver.log").read_text().split()
    assert said[-2:] == ["1", settings(server)["spark.default.parallelism"]]
    assert "with 8 cores, 3.0 GiB RAM" in (tmp_path / "master.log").read_text()
