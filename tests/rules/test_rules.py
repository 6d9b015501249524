"""The rules under promtool, and under what promtool does not look at."""

import re
import subprocess

import promql_parser as promql
import pytest
import yaml

from check import ROOT, RULES, metrics, problems, walk

TEXT = RULES.read_text()
GROUPS = yaml.safe_load(TEXT)["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
UNIT_TESTS = sorted((RULES.parent / "tests").glob("*.yml"))
PROMTOOLS = ["promtool", str(ROOT / ".tools" / "bin" / "promtool")]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_both_promtools_are_there_and_differ():
    versions = [run(tool, "--version") for tool in PROMTOOLS]
    assert "version 2." in versions[0]
    assert versions[0] != versions[1]


@pytest.mark.parametrize("promtool", PROMTOOLS, ids=["2", "3"])
def test_promtool_has_nothing_to_complain_about(promtool):
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("promtool", PROMTOOLS, ids=["2", "3"])
def test_the_unit_tests_pass(promtool):
    assert len(UNIT_TESTS) == 4
    run(promtool, "test", "rules", *UNIT_TESTS)


def test_every_alert_has_a_firing_and_a_quiet_case_and_one_with_two_replicas():
    seen = {rule["alert"]: {"fires": 0, "quiet": 0, "replicas": 0} for rule in ALERTS}
    for path in UNIT_TESTS:
        suite = yaml.safe_load(path.read_text())
        assert suite["rule_files"] == ["../dbtask.rules.yml"]
        for case in suite["tests"]:
            instances = {m for each in case["input_series"] for m in re.findall(r'instance="(\w:\d+)"', each["series"])}
            for check in case.get("alert_rule_test", []):
                counts = seen[check["alertname"]]
                counts["fires" if check["exp_alerts"] else "quiet"] += 1
                counts["replicas"] += bool(check["exp_alerts"]) and len(instances) > 1
    assert len(seen) == 19
    assert not [name for name, counts in seen.items() if 0 in counts.values()], seen


def test_the_rules_have_none_of_the_problems_that_promtool_lets_pass():
    assert problems(TEXT) == []


def test_the_list_of_alerts_is_what_the_rules_say():
    page = (ROOT / "docs" / "alerts.md").read_text()
    rows = []
    for rule in ALERTS:
        severity = rule["labels"]["severity"]
        severity = "critical, or warning" if "{" in severity else severity
        name = rule["alert"]
        rows.append(f"| [{name}](runbooks/{name}.md) | {severity} | {rule.get('for', 'at once')} | {rule['annotations']['summary']} |")
    assert [line for line in page.splitlines() if line.startswith("| [")] == rows


def test_every_runbook_belongs_to_an_alert_and_links_to_what_there_is():
    pages = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
    assert [page.stem for page in pages] == sorted(rule["alert"] for rule in ALERTS)
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_query_of_a_runbook_parses_and_asks_for_what_is_exported():
    known = {"dbtask_" + name.removeprefix("dbtask_") if name.startswith("dbtask_") else name for name in metrics()}
    asked = 0
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        for query in re.findall(r"`([^`]*\b(?:dbtask|process|up)[_{][^`]*)`", page.read_text()):
            if query.startswith(("dbtask-", "/")) or "(…)" in query:
                continue
            tree = promql.parse(query)
            for node in walk(tree):
                if isinstance(node, promql.VectorSelector):
                    asked += 1
                    assert node.name in known, f"{page.name}: {query}"
    assert asked >= 50


# Each breaks one thing, and is refused for that.
REPLICA = "instance, pod, container, endpoint, node, replica, prometheus_replica"
DOWN = f"min without ({REPLICA}) (last_over_time(dbtask_source_up[5m])) == 0\n        for: 10m"
COUNTED = f"max without ({REPLICA}) (increase(dbtask_task_failures_total[10m]))"
JOINED = "* ignoring (task_id, task_kind, resource_id, severity, cloud, cloud_region) group_left (cloud, cloud_region)"
BROKEN = {
    "compares nothing": (DOWN, DOWN.replace(" == 0", "")),
    "shorter than 4 minutes": ("dbtask_source_tasks_truncated[5m]", "dbtask_source_tasks_truncated[1m]"),
    "`for` is shorter": ("        for: 10m", "        for: 9m"),
    "has neither `for` nor a memory": (DOWN, "dbtask_source_up == 0"),
    "relies on keep_firing_for": ("        for: 10m", "        for: 10m\n        keep_firing_for: 5m"),
    "value in a label": ("          severity: warning\n", "          severity: warning\n          left: '{{ $value }}'\n"),
    "has no severity": ("severity: warning", "severity: page"),
    "not one static sentence": ("A source cannot be polled.", "Source {{ $labels.source }} cannot be polled."),
    "description names nothing": (TEXT[TEXT.index("{{ range", TEXT.index("- alert: DbtaskJournal")):TEXT.index(" cannot write to")], "It"),
    "does not lead to its runbook": ("runbooks/DbtaskSourceDown.md", "runbooks/DbtaskSourceStale.md"),
    "has no runbook": ("DbtaskSourceDown", "DbtaskSourceGone"),
    "is not named as": ("DbtaskSourceDown", "SourceDown"),
    "is not exported": ("dbtask_source_up[5m]", "dbtask_source_alive[5m]"),
    "has no label outcome": ('{reason="throttled"}', '{outcome="throttled"}'),
    "without kind, which is not there": (COUNTED, COUNTED.replace("without (", "without (kind, ")),
    "aggregates by labels": (COUNTED, COUNTED.replace(f"without ({REPLICA})", "by (job, source, task_kind)")),
    "not all that tells replicas apart": (COUNTED, COUNTED.replace(", pod", "")),
    "has the label instance": (COUNTED, "increase(dbtask_task_failures_total[10m])"),
    "has the label reason": ("prometheus_replica, reason) (last_over_time(dbtask_source_resources_failing", "prometheus_replica) (last_over_time(dbtask_source_resources_failing"),
    "has the label resource_name": (COUNTED, f"max without ({REPLICA}) (last_over_time(dbtask_task_info[10m]))"),
    "joins on labels": (JOINED, "* on (job, instance, source) group_left (cloud, cloud_region)"),
    "ignores instance": (JOINED, JOINED.replace("(task_id", "(instance, task_id")),
    "ignores cluster": (JOINED, JOINED.replace("(task_id", "(cluster, task_id")),
    "only one side has task_kind": (JOINED, JOINED.replace("task_kind, ", "")),
    "takes zone from": ("group_left (cloud, cloud_region)", "group_left (zone, cloud, cloud_region)"),
    "speaks of the label region": ("{{ $labels.cloud_region }}", "{{ $labels.region }}"),
    "does not name task_kind": ("{{ with $labels.task_kind }} ({{ . }}){{ end }}", ""),
    "topk makes alerts come and go": (COUNTED, COUNTED.replace("max without", "topk without").replace(") (increase", ") (1, increase")),
    "does not parse": (DOWN, DOWN.replace("[5m]))", "[5m])")),
}


@pytest.mark.parametrize("complaint", BROKEN)
def test_each_problem_is_found(complaint):
    good, bad = BROKEN[complaint]
    assert good in TEXT
    found = problems(TEXT.replace(good, bad))
    assert any(complaint in problem for problem in found), found


@pytest.mark.parametrize("text, complaint", [
    ("# DbtaskSourceDown\n\n## Meaning\n\nIt is down and nobody polls.\n", "other sections"),
    ("# DbtaskSourceDown\n\n## Meaning\n\nIt is down.\n\n## Impact\n\nNothing at all can be seen.\n\n## Diagnosis\n\nLook at `up` and the log.\n\n## Mitigation\n\n", "nothing under Mitigation"),
    ("# DbtaskSourceDown\n\n## Meaning\n\nIt is down.\n\n## Impact\n\nNothing at all can be seen.\n\n## Diagnosis\n\nLook at the log for long.\n\n## Mitigation\n\nMend it at once, if possible.\n", "no query"),
])
def test_a_poor_runbook_is_found(tmp_path, text, complaint):
    (tmp_path / "DbtaskSourceDown.md").write_text(text)
    found = [problem for problem in problems(TEXT, tmp_path) if problem.startswith("DbtaskSourceDown:")]
    assert any(complaint in problem for problem in found), found
