"""The chart as helm renders it."""

import functools
import os
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
TOOLS = ROOT / ".tools"
CHART = ROOT / "helm/dbtask-exporter"
BINARY = os.environ.get("DBTASK_EXPORTER_BIN", str(ROOT / "target/debug/dbtask-exporter"))
# One values file for each thing that the chart can do.
FEATURES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "dbtask"


def run(*command, **options):
    """Runs a command to its end; its output is text."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, **options
    )


def helm(major, *arguments):
    """Runs helm 3 or helm 4."""
    return run(TOOLS / f"bin/helm{major}", *arguments)


@functools.cache
def template(major, values, *flags):
    """What the chart becomes under a values file, as text."""
    done = helm(major, "template", "tasks", CHART, "--namespace", NAMESPACE, "--values", values, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(values):
    """The objects that the chart becomes, hooks included."""
    return [one for one in yaml.safe_load_all(template(3, values)) if one]


def of_kind(values, kind):
    """Those of one kind."""
    return [one for one in objects(values) if one["kind"] == kind]


def pods(values):
    """`(name, specification)` of every pod that is run."""
    for one in objects(values):
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["spec"]
        elif one["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def containers(pod):
    """Every container of a pod's specification."""
    return pod.get("initContainers", []) + pod["containers"]
