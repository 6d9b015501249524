"""The chart's life in a real control plane. Nodes are simulated: no image is pulled, no probe asked."""

import json
import pathlib

import pytest
import yaml

from conftest import secret
from control_plane import until

CHART = pathlib.Path(__file__).parent.parent.parent / "helm/dbtask-exporter"
FEATURES = sorted((CHART / "ci").glob("*-values.yaml"))
IN = "--namespace=dbtask"
WAIT = ["--wait", "--timeout=180s"]


def helm(cluster, major, *arguments):
    done = cluster.command(f"helm{major}", *arguments, IN)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(cluster, major, values):
    # With what the cluster says of itself, as an installation does.
    asked = "--validate" if major == 3 else "--dry-run=server"
    return helm(cluster, major, "template", "tasks", CHART, asked, "--values", values)


@pytest.fixture(autouse=True)
def no_release_stays(cluster):
    """What a test that failed has left does not fail the next one."""
    yield
    for release in json.loads(helm(cluster, 3, "list", "--all", "--output=json")):
        helm(cluster, 3, "uninstall", release["name"], *WAIT)


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize("values", FEATURES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_server_takes_every_object_to_the_letter(cluster, values, major):
    done = cluster.command(
        "kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename=-", input=render(cluster, major, values)
    )
    assert done.returncode == 0, done.stderr
    # A warning is how the standard for pods says that a Deployment's would be refused.
    assert "Warning" not in done.stderr
    assert len(done.stdout.splitlines()) == render(cluster, major, values).count("\nkind: ")


def test_the_server_refuses_what_is_wrong(cluster):
    text = render(cluster, 3, FEATURES[0])
    wrong = text.replace("automountServiceAccountToken: false", "automountServiceAccountTokens: false", 1)
    done = cluster.command("kubectl", "apply", "--dry-run=server", "--validate=strict", "--filename=-", input=wrong)
    assert done.returncode != 0 and "automountServiceAccountTokens" in done.stderr
    loose = text.replace("runAsNonRoot: true", "runAsNonRoot: false").replace("drop:", "add:")
    done = cluster.command("kubectl", "apply", "--dry-run=server", "--filename=-", input=loose)
    assert "would violate PodSecurity" in done.stderr


def everything(cluster):
    """Names of all objects in the namespaces, but for what the cluster keeps there by itself."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    own = [kind for kind in kinds if kind.split(".")[0] not in ("events", "leases")]
    found = set()
    for namespace in ("dbtask", "monitoring"):
        names = cluster.kubectl("get", ",".join(own), f"--namespace={namespace}", "--output=name", "--ignore-not-found")
        found |= {f"{namespace} {name}" for name in names.split()}
    return found


def missing(cluster):
    """What the release's objects refer to, and is not there: simulated nodes do not look."""
    here = {kind: {one["metadata"]["name"]: one for one in cluster.get(kind, "dbtask")}
            for kind in ("configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims", "services", "pods")}  # fmt: skip

    def wanted(kind, name, keys=(), optional=False):
        if optional:
            return
        if name not in here[kind]:
            yield f"{kind} {name}"
            return
        one = here[kind][name]
        yield from (f"{kind} {name}: {key}" for key in keys if key not in one.get("data", {}))

    for pod in here["pods"].values():
        spec = pod["spec"]
        yield from wanted("serviceaccounts", spec["serviceAccountName"])
        sources = []
        for volume in spec["volumes"]:
            sources += [volume, *volume.get("projected", {}).get("sources", [])]
            if claim := volume.get("persistentVolumeClaim"):
                yield from wanted("persistentvolumeclaims", claim["claimName"])
        for source in sources:
            for kind, reference in (("configmaps", source.get("configMap")), ("secrets", source.get("secret"))):
                if reference:
                    name = reference.get("name") or reference["secretName"]
                    yield from wanted(kind, name, [item["key"] for item in reference.get("items", [])])
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            yield from (f"volume {name}" for name in mounted - {volume["name"] for volume in spec["volumes"]})
            for variable in container.get("envFrom", []):
                for kind, key in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
                    if reference := variable.get(key):
                        yield from wanted(kind, reference["name"], optional=reference.get("optional", False))
            # The file with the configuration is one of the keys of what is mounted.
            [config] = [one for one in spec["volumes"] if one["name"] == "config"]
            for argument in container["args"]:
                if argument.startswith("--config.file="):
                    key = argument.rsplit("/", 1)[1]
                    kind, name = (
                        ("configmaps", config["configMap"]["name"])
                        if "configMap" in config
                        else ("secrets", config["secret"]["secretName"])
                    )
                    yield from wanted(kind, name, [key])
    for service in here["services"].values():
        slices = cluster.get("endpointslices", "dbtask")
        of_it = [one for one in slices if one["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]]
        ready = [end for one in of_it for end in one["endpoints"] or [] if end["conditions"]["ready"] and one["ports"]]
        if len(ready) != 1:
            yield f"service {service['metadata']['name']}: {len(ready)} pods behind it"


def deployment(cluster):
    [one] = cluster.get("deployments", "dbtask")
    return one


def arguments(cluster):
    return deployment(cluster)["spec"]["template"]["spec"]["containers"][0]["args"]


def settled(cluster):
    """One ready pod, of the version that is wanted, and all that it refers to."""
    def one_pod():
        pods = cluster.get("pods", "dbtask")
        return len(pods) == 1 and pods[0]["status"].get("phase") == "Running"

    until("one running pod", one_pod)
    until(f"what is missing: {list(missing(cluster))}", lambda: not list(missing(cluster)), 60)
    status = deployment(cluster)["status"]
    assert status["readyReplicas"] == status["updatedReplicas"] == 1


@pytest.mark.parametrize("major", [3, 4])
def test_a_release_is_installed_upgraded_rolled_back_tested_and_leaves_nothing(cluster, major):
    before = everything(cluster)
    helm(cluster, major, "install", "tasks", CHART, "--values", CHART / "ci/credentials-values.yaml",
         "--set", "persistence.retain=false", *WAIT)  # fmt: skip
    settled(cluster)
    assert "--log.level=info" in arguments(cluster)
    [claim] = cluster.get("persistentvolumeclaims", "dbtask")
    assert claim["status"]["phase"] == "Bound"

    # Other features, a new pod, and objects in another namespace.
    helm(cluster, major, "upgrade", "tasks", CHART, "--values", CHART / "ci/monitoring-values.yaml",
         "--set", "log.level=debug,networkPolicy.enabled=true,podDisruptionBudget.enabled=true", *WAIT)  # fmt: skip
    settled(cluster)
    assert "--log.level=debug" in arguments(cluster)
    assert len(cluster.get("prometheusrules", "monitoring")) == 1
    assert not cluster.get("persistentvolumeclaims", "dbtask")
    [budget] = cluster.get("poddisruptionbudgets", "dbtask")
    until("the budget to see its pod", lambda: cluster.get("poddisruptionbudgets", "dbtask")[0]["status"]["currentHealthy"] == 1)

    helm(cluster, major, "rollback", "tasks", "1", *WAIT)
    settled(cluster)
    assert "--log.level=info" in arguments(cluster)
    assert not cluster.get("prometheusrules", "monitoring")
    history = json.loads(helm(cluster, major, "history", "tasks", "--output=json"))
    assert [one["status"] for one in history] == ["superseded", "superseded", "deployed"]

    tested = helm(cluster, major, "test", "tasks", "--timeout=180s")
    assert "Succeeded" in tested
    helm(cluster, major, "uninstall", "tasks", *WAIT)
    until("nothing to be left", lambda: everything(cluster) == before)


@pytest.mark.parametrize("reload", ["true", "false"])
def test_a_changed_configuration_replaces_the_pod_only_if_it_would_not_be_taken_over(cluster, reload):
    pods = []
    for source in ("before", "after"):
        helm(cluster, 4, "upgrade", "--install", "tasks", CHART, "--values", CHART / "ci/sources-values.yaml",
             "--set", f"autoReload={reload},config.sources[0].name={source}", *WAIT)  # fmt: skip
        settled(cluster)
        [config] = [one for one in cluster.get("configmaps", "dbtask") if one["metadata"]["name"] == "tasks-dbtask-exporter"]
        assert f"name: {source}\n" in config["data"]["dbtask.yml"]
        pods.append(cluster.get("pods", "dbtask")[0]["metadata"]["uid"])
    assert (pods[0] == pods[1]) == (reload == "true")


def test_two_releases_share_a_namespace(cluster):
    before = everything(cluster)
    for name in ("one", "two"):
        helm(cluster, 3, "install", name, CHART, "--values", CHART / "ci/sources-values.yaml",
             "--set", "podDisruptionBudget.enabled=true", *WAIT)  # fmt: skip
    until("each budget to see one pod", lambda: [one["status"]["expectedPods"] for one in cluster.get("poddisruptionbudgets", "dbtask")] == [1, 1])
    slices = until("each service to find a pod", lambda: [
        one for one in cluster.get("endpointslices", "dbtask") if len(one["endpoints"] or []) == 1
    ] if len(cluster.get("endpointslices", "dbtask")) == 2 else None)  # fmt: skip
    assert len({one["endpoints"][0]["targetRef"]["name"] for one in slices}) == 2
    for name in ("one", "two"):
        helm(cluster, 3, "uninstall", name, *WAIT)
    until("nothing to be left", lambda: everything(cluster) == before)


def test_a_claim_that_is_to_be_kept_is_kept(cluster):
    before = everything(cluster)
    helm(cluster, 4, "install", "kept", CHART, "--values", CHART / "ci/credentials-values.yaml", *WAIT)
    helm(cluster, 4, "uninstall", "kept", *WAIT)
    until("the claim alone to be left", lambda: everything(cluster) - before == {"dbtask persistentvolumeclaim/kept-dbtask-exporter"})
    cluster.kubectl("delete", "persistentvolumeclaim", "kept-dbtask-exporter", IN)


def test_what_is_missing_is_found(cluster):
    before = everything(cluster)
    cluster.kubectl("delete", "secret", "otc", IN)
    helm(cluster, 3, "install", "tasks", CHART, "--values", CHART / "ci/credentials-values.yaml",
         "--set", "persistence.enabled=false,registration.key=nothing", *WAIT)  # fmt: skip
    assert set(missing(cluster)) == {"secrets otc", "secrets registration: nothing"}
    helm(cluster, 3, "uninstall", "tasks", *WAIT)
    cluster.apply(secret("otc", ["password"]))
    until("nothing to be left", lambda: everything(cluster) == before)
