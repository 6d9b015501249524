"""What helm makes of the chart, and what is in the package."""

import json
import re
import tarfile

import pytest
import yaml

from chart import CHART, NAMESPACE, ROOT, TOOLS, helm, run, template


@pytest.mark.parametrize("major", [3, 4])
def test_lint_has_nothing_to_say(values, major):
    done = helm(major, "lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout and "ERROR" not in done.stdout


@pytest.mark.parametrize("major", [3, 4])
def test_lint_passes_without_any_values(major):
    done = helm(major, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_versions_of_helm_render_the_same(values):
    # Version 4 sets a blank line after each document.
    documents = [[one.rstrip() for one in template(major, values).split("\n---\n")] for major in (3, 4)]
    assert documents[0] == documents[1]


def test_the_suites_of_helm_unittest_pass():
    suites = sorted((CHART / "unittests").glob("*_test.yaml"))
    done = run(TOOLS / "bin/helm-unittest", "--strict", "--color=false", "--file", "unittests/*_test.yaml", CHART)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"Test Suites:\s+(\d+) passed, (\d+) total", done.stdout)
    assert ran and ran[1] == ran[2] == str(len(suites)), done.stdout


def test_the_readme_is_what_helm_docs_writes(tmp_path):
    copy = tmp_path / "dbtask-exporter"
    copy.mkdir()
    for name in ["Chart.yaml", "values.yaml", "README.md.gotmpl"]:
        (copy / name).write_text((CHART / name).read_text())
    done = run(TOOLS / "bin/helm-docs", "--chart-search-root", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / "README.md").read_text() == (CHART / "README.md").read_text(), (
        "run .tools/bin/helm-docs --chart-search-root helm"
    )


def test_every_value_is_explained():
    undocumented = re.findall(r"^\| (\S+) \|.*\|  \|$", (CHART / "README.md").read_text(), re.M)
    assert undocumented == []


def leaves(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_the_schema_knows_every_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in leaves(defaults):
        here = schema
        for key in path:
            if "properties" not in here:
                break
            assert key in here["properties"], ".".join(path)
            here = here["properties"][key]
    assert schema["additionalProperties"] is False
    # What a chart above this one may set.
    assert {"global", "enabled"} <= schema["properties"].keys()


def test_the_schema_has_the_keys_that_the_configuration_has():
    documented = (ROOT / "docs/configuration.md").read_text()
    section = documented.split("\n## A source\n")[1].split("\n### ")[0]
    keys = set()
    for row in re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", section, re.M):
        keys.update(re.findall(r"`(\w+)`", row))
    keys -= {"role_arn"}  # Refused there.
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert keys == schema["properties"]["config"]["properties"]["sources"]["items"]["properties"].keys()


@pytest.mark.parametrize("major", [3, 4])
def test_the_package_holds_the_rules_and_dashboards_of_the_repository(tmp_path, major):
    done = helm(major, "package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    [package] = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        assert all(member.isreg() for member in archive.getmembers())
        packed = {
            member.name.removeprefix("dbtask-exporter/"): archive.extractfile(member).read()
            for member in archive.getmembers()
        }
    wanted = {f"files/dashboards/{one.name}": one.read_bytes() for one in (ROOT / "dashboards").glob("*.json")}
    assert wanted, "there are no dashboards"
    wanted["files/dbtask.rules.yml"] = (ROOT / "rules/dbtask.rules.yml").read_bytes()
    wanted["files/values.yaml"] = (CHART / "values.yaml").read_bytes()
    assert {name: content for name, content in packed.items() if name.startswith("files/")} == wanted
    others = {name.split("/")[0] for name in packed} - {"files", "templates"}
    assert others == {".helmignore", "Chart.yaml", "README.md", "values.yaml", "values.schema.json"}
    # In the package there is nothing around the README that it could link to.
    links = re.findall(r"\]\(([^)]*)\)", packed["README.md"].decode())
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    # What is packed renders as what is not.
    sources = CHART / "ci/monitoring-values.yaml"
    done = helm(major, "template", "tasks", package, "--namespace", NAMESPACE, "--values", sources)
    assert done.stdout == template(major, sources)


def test_it_has_the_version_of_the_program():
    program = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == program
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert images[0]["image"].endswith(f":{program}")
    kinds = {change["kind"] for change in yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])}
    assert kinds <= {"added", "changed", "deprecated", "removed", "fixed", "security"}


@pytest.mark.parametrize("major", [3, 4])
def test_a_cluster_that_is_too_old_is_refused(major):
    done = helm(major, "template", "tasks", CHART, "--kube-version", "1.24.9", "--values", CHART / "ci/sources-values.yaml")
    assert done.returncode != 0 and "1.25" in done.stderr
    done = helm(major, "template", "tasks", CHART, "--kube-version", "v1.26.3-aliyun.1", "--values", CHART / "ci/sources-values.yaml")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("major", [3, 4])
def test_source_templates_are_taken_and_apis_that_do_not_exist_are_not(major, tmp_path):
    values = tmp_path / "values.yaml"

    def rendered(api, region):
        source = {"name": "prod", "api": api, "region": region}
        values.write_text(yaml.safe_dump({"config": {"sources": [source]}}))
        return helm(major, "template", "tasks", CHART, "--values", values)

    for api, region in (["tencent_*"], ["ap-guangzhou"]), ("tencent_*", "ap-guangzhou"), ("tencent_cdb", ["ap-tokyo"]):
        done = rendered(api, region)
        assert done.returncode == 0, done.stderr
    for api, region in ("nosuch", "ap-guangzhou"), (["nosuch"], "ap-guangzhou"), ([], "a-b"), ("tencent_cdb", []):
        assert rendered(api, region).returncode != 0, (api, region)
