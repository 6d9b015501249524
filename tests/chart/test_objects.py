"""What is rendered is what Kubernetes and the operators take, and what the exporter takes."""

import functools
import re
import subprocess
import sys

import jsonschema
import kubernetes_validate
import pytest
import yaml

from chart import BINARY, CHART, ROOT, TOOLS, containers, objects, of_kind, pods, run, template

VERSIONS = ["1.25", "1.30", "1.37"]
SOURCES = CHART / "ci/sources-values.yaml"


class Loader(yaml.SafeLoader):
    """Takes a bare `=`, as there is one among the values of an enumeration."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def strict(schema):
    """The schema of a definition, which then refuses keys that it does not know."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if schema.pop("x-kubernetes-int-or-string", False):
        schema["type"] = ["integer", "string"]
    if isinstance(schema.get("properties"), dict) and not schema.pop("x-kubernetes-preserve-unknown-fields", False):
        schema.setdefault("additionalProperties", False)
    if isinstance(schema.get("pattern"), str):
        # Go lets a flag stand behind the anchor.
        schema["pattern"] = schema["pattern"].replace("^(?i)", "(?i)^")
    if schema.get("nullable") and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    return schema


@functools.cache
def definitions():
    """The schemas of custom resources, by version and kind."""
    schemas = {}
    for path in (TOOLS / "definitions").glob("*.yaml"):
        definition = yaml.load(path.read_text(), Loader)
        if definition.get("kind") != "CustomResourceDefinition":
            continue
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            # Any name and labels: those are Kubernetes's matter.
            schema["properties"]["metadata"] = {"type": "object"}
            schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def is_custom(one):
    return re.fullmatch(r"[^/]*\.(coreos\.com|grafana\.com|integreatly\.org)/.*", one["apiVersion"])


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(values, version):
    own = [one for one in objects(values) if not is_custom(one)]
    assert len(own) >= 3
    for one in own:
        # An object without a schema is an error here, not a warning.
        kubernetes_validate.validate(one, version, strict=True)


def test_the_operators_take_their_objects(values):
    for one in filter(is_custom, objects(values)):
        jsonschema.validate(one, definitions()[one["apiVersion"], one["kind"]])


def test_the_schemas_find_mistakes():
    [monitor] = of_kind(ROOT / "helm/dbtask-exporter/ci/monitoring-values.yaml", "ServiceMonitor")
    schema = definitions()["monitoring.coreos.com/v1", "ServiceMonitor"]
    monitor["spec"]["endpointz"] = []
    with pytest.raises(jsonschema.ValidationError, match="endpointz"):
        jsonschema.validate(monitor, schema)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"replicaz": 1, "selector": {}, "template": {}},
    }
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(deployment, "1.30", strict=True)


def insecurities(pod):
    """What the restricted pod security standard says against a pod."""
    general = pod.get("securityContext", {})
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield key
    if general.get("sysctls"):
        yield "sysctls"
    for volume in pod.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}:
            yield f"volume {volume['name']}"
    for container in containers(pod):
        name, own = container["name"], container.get("securityContext", {})
        if own.get("privileged"):
            yield f"{name} privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} allowPrivilegeEscalation"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name} capabilities"
        if own.get("runAsNonRoot", general.get("runAsNonRoot")) is not True:
            yield f"{name} runAsNonRoot"
        if own.get("runAsUser", general.get("runAsUser")) == 0:
            yield f"{name} runAsUser"
        seccomp = own.get("seccompProfile", general.get("seccompProfile", {})).get("type")
        if seccomp not in ("RuntimeDefault", "Localhost"):
            yield f"{name} seccompProfile"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name} hostPort"
        if own.get("procMount", "Default") != "Default":
            yield f"{name} procMount"


def test_every_pod_is_restricted(values):
    found = {name: list(insecurities(pod)) for name, pod in pods(values)}
    assert found and not any(found.values()), found
    for _, pod in pods(values):
        for container in containers(pod):
            if container["image"].split("@")[0].split(":")[0].endswith("dbtask-exporter"):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_pod_that_is_not_restricted_is_found():
    pod = {
        "hostNetwork": True,
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        "containers": [{"name": "a", "securityContext": {"privileged": True}}],
    }
    assert len(list(insecurities(pod))) == 7


def test_no_object_is_in_another_namespace_by_accident(values):
    wanted = {"dbtask", "monitoring"} if values.name == "monitoring-values.yaml" else {"dbtask"}
    assert {one["metadata"]["namespace"] for one in objects(values)} == wanted


def rebased(arguments, root):
    return [re.sub(r"=(/etc/dbtask-exporter|/var/lib/dbtask-exporter)", rf"={root}\1", it) for it in arguments]


def certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=dbtask", "-days", "2", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "client-ca.crt").write_bytes((folder / "tls.crt").read_bytes())


def test_the_exporter_takes_its_flags_and_its_configuration(values, tmp_path):
    folder = tmp_path / "etc/dbtask-exporter"
    for part in ("config", "web"):
        (folder / part).mkdir(parents=True)
    certificate(folder / "web")
    kept = {one["metadata"]["name"]: one for one in objects(values) if one["kind"] in ("ConfigMap", "Secret")}
    [deployment] = of_kind(values, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    [container] = [one for one in pod["containers"] if one["name"] == "dbtask-exporter"]
    for volume in pod["volumes"]:
        part = volume["name"]
        if part == "config":
            source = volume.get("configMap", {}).get("name") or volume["secret"]["secretName"]
        elif part == "web":
            source = volume["projected"]["sources"][0]["secret"]["name"]
        else:
            continue
        if source not in kept:
            # Somebody else keeps it.
            (folder / "config/dbtask.yml").write_text("sources: [{name: a, api: tencent_cdb, region: ap-guangzhou}]\n")
            (folder / "web/web.yml").write_text("tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n")
            continue
        one = kept[source]
        for name, content in {**one.get("data", {}), **one.get("stringData", {})}.items():
            (folder / part / name).write_text(content)
    done = subprocess.run(
        [BINARY, *rebased(container["args"], tmp_path), "--config.check"],
        capture_output=True, text=True, timeout=60, env={},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [configuration] = [it.split("=", 1)[1] for it in rebased(container["args"], tmp_path) if it.startswith("--config.file")]
    done = subprocess.run([BINARY, "check", configuration], capture_output=True, text=True, timeout=60, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 1


def repository():
    return yaml.safe_load((ROOT / "rules/dbtask.rules.yml").read_text())["groups"]


UNCHANGED = ["--set", "prometheusRule.enabled=true"]


def rendered_groups(*flags):
    text = template(3, SOURCES, *UNCHANGED, *flags)
    [rule] = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "PrometheusRule"]
    return rule["spec"]["groups"]


def alerts(groups):
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_without_changes_the_rules_are_those_of_the_repository():
    assert rendered_groups() == repository()


def test_only_what_is_changed_of_an_alert_differs():
    flags = "DbtaskTaskStuck.threshold=7200,DbtaskSourceDown.for=1h,DbtaskSourceDown.severity=info,DbtaskCoverageGap.enabled=false"
    changed = rendered_groups("--set", ",".join(f"prometheusRule.alerts.{one}" for one in flags.split(",")))
    wanted = alerts(repository())
    wanted["DbtaskTaskStuck"]["expr"] = wanted["DbtaskTaskStuck"]["expr"].replace("1800", "7200")
    wanted["DbtaskSourceDown"].update({"for": "1h", "labels": {"severity": "info"}})
    del wanted["DbtaskCoverageGap"]
    assert alerts(changed) == wanted


def test_every_threshold_is_found_once_and_explained():
    text = (CHART / "templates/_rules.tpl").read_text()
    table = yaml.safe_load(text.split('define "dbtask.thresholds" -}}')[1].split("{{- end")[0])
    for name, usual in table.items():
        assert alerts(repository())[name]["expr"].count(usual) == 1, name
        assert re.search(r"\d+$", usual), name
        # Nothing is left of the number: 900 is not found in 9000.
        assert not re.search(re.escape(usual) + r"[\d.]", alerts(repository())[name]["expr"]), name
    explained = re.findall(r"^\| `(Dbtask\w+)` \|", (CHART / "README.md").read_text(), re.M)
    assert explained == list(table)


def test_changed_rules_are_good_for_prometheus(values, tmp_path):
    for rule in of_kind(values, "PrometheusRule"):
        path = tmp_path / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}))
        done = run("promtool", "check", "rules", path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_alert_of_absence_speaks_of_the_job_that_there_is():
    groups = rendered_groups("--set", "nameOverride=tasks")
    assert 'up{job="tasks"}' in alerts(groups)["DbtaskExporterDown"]["expr"]
    assert 'job="dbtask-exporter"' not in str(groups)


def test_dashboards_are_those_of_the_repository():
    maps = of_kind(CHART / "ci/monitoring-values.yaml", "ConfigMap")
    rendered = {name: text for one in maps for name, text in one["data"].items() if name.endswith(".json")}
    assert rendered.keys() == {path.name for path in (ROOT / "dashboards").glob("*.json")}
    for name, text in rendered.items():
        assert text.rstrip("\n") == (ROOT / "dashboards" / name).read_text().rstrip("\n")
    for one in maps:
        assert len(str(one).encode()) < 900_000, "a ConfigMap may have 1 MiB"


def test_the_test_pod_asks_the_service(values):
    for pod in of_kind(values, "Pod"):
        [service] = of_kind(values, "Service")
        [container] = pod["spec"]["containers"]
        name, port = re.fullmatch(r"https?://([^:]*):(\d+)", container["args"][-1]).groups()
        assert name == service["metadata"]["name"] and int(port) == service["spec"]["ports"][0]["port"]
        selector = service["spec"]["selector"].items()
        assert not selector <= pod["metadata"]["labels"].items()


def test_the_program_takes_the_arguments_of_the_test_pod(values):
    for pod in of_kind(values, "Pod"):
        *arguments, url = pod["spec"]["containers"][0]["args"]
        nowhere = re.sub("//.*", "//127.0.0.1:1", url)
        done = run(BINARY, *arguments, nowhere)
        # A problem with the exporter, not with the arguments.
        assert done.returncode == 1 and "refused" in done.stderr, done.stderr


def test_what_selects_the_pod_selects_no_other_release(values):
    [deployment] = of_kind(values, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for one in objects(values):
        spec = one.get("spec", {})
        for found in (
            spec.get("selector", {}).get("matchLabels") if one["kind"] != "Service" else spec["selector"],
            spec.get("podSelector", {}).get("matchLabels"),
        ):
            if found:
                assert found["app.kubernetes.io/instance"] == "tasks", one["kind"]
                if one["kind"] != "ServiceMonitor":
                    assert found.items() <= labels.items(), one["kind"]


def test_named_ports_exist(values):
    [deployment] = of_kind(values, "Deployment")
    [service] = of_kind(values, "Service")
    of_pod = {port["name"] for one in deployment["spec"]["template"]["spec"]["containers"] for port in one.get("ports", [])}
    of_service = {port["name"] for port in service["spec"]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= of_pod
    for monitor in of_kind(values, "ServiceMonitor"):
        assert {one["port"] for one in monitor["spec"]["endpoints"]} <= of_service
        labels = service["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["spec"]["jobLabel"]]
    for monitor in of_kind(values, "PodMonitor"):
        assert {one["port"] for one in monitor["spec"]["podMetricsEndpoints"]} <= of_pod
        assert deployment["spec"]["template"]["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    for policy in of_kind(values, "NetworkPolicy"):
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= of_pod
    for ingress in of_kind(values, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                assert backend["name"] == service["metadata"]["name"] and backend["port"]["name"] in of_service
