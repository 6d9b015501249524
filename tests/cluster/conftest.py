"""One control plane for all tests, with the operators' definitions and a namespace that enforces
the restricted pod security standard."""

import base64

import pytest

from control_plane import TOOLS, ControlPlane, until

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
# What the values files suppose to be there.
SECRETS = {
    "tencent-prod": ["secret_id", "secret_key"],
    "alibaba-prod": ["id", "secret"],
    "otc": ["password"],
    "registration": ["token"],
    "dbtask-tls": ["tls.crt", "tls.key", "ca.crt"],
    "dbtask-configuration": ["dbtask.yml"],
    "dbtask-web": ["web.yml"],
}


def secret(name, keys):
    data = {key: base64.b64encode(b"not a real one").decode() for key in keys}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "dbtask"}, "data": data}


def volume(number):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"volume-{number}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/tmp/volume-{number}"},
        },
    }


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The control plane, stopped in the end."""
    plane = ControlPlane(tmp_path_factory.mktemp("cluster"))
    try:
        prepare(plane)
        yield plane
        plane.check()
    finally:
        plane.stop()


def prepare(plane):
    definitions = [f"--filename={TOOLS / 'definitions' / name}.yaml" for name in (
        "monitoring.coreos.com_servicemonitors",
        "monitoring.coreos.com_podmonitors",
        "monitoring.coreos.com_prometheusrules",
        "grafana.integreatly.org_grafanadashboards",
    )]  # fmt: skip
    plane.kubectl("create", *definitions)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=120s", *definitions)
    for name in ("dbtask", "monitoring"):
        metadata = {"name": name, "labels": RESTRICTED}
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        until("the default account", lambda name=name: plane.get("serviceaccounts", name))
    plane.apply(*(secret(*one) for one in SECRETS.items()), *(volume(number) for number in range(8)))
