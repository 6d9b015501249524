"""Queries ask for what the exporter has, and Prometheus can read them."""

import re
import subprocess

import promql
import pytest
import yaml

from grafana import ROOT, expand, label_values, panels, queries

# What Prometheus and its targets add to every series, and what it says of a scrape.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
ALWAYS = {"job", "instance"}
# What a monitor or a relabelling may add; `severity` is the one of docs/alerts.md.
PERHAPS = {"cluster", "namespace", "service", "severity"}


def families():
    """Each metric with its labels, as `docs/metrics.md` lists them; that page is written from the
    exporter's own list."""
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    found = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, re.M):
        own = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            found[name] = own
    assert len(found) > 50
    return found | dict.fromkeys(OF_PROMETHEUS, set())


def strangers(expression):
    """Metrics that do not exist, and labels that none of the metrics asked for has."""
    known = families()
    wrong, there = set(), ALWAYS | PERHAPS
    for selector in promql.selectors(expand(expression)):
        if selector.name not in known:
            wrong.add(selector.name)
            continue
        there |= known[selector.name]
        wrong |= set(promql.matchers(selector)) - known[selector.name] - ALWAYS - PERHAPS
    return wrong | (promql.labels(expand(expression)) - there)


def refused(expressions):
    """What promtool says of expressions that it cannot read."""
    rules = [{"record": f"it:{n}", "expr": expand(it)} for n, it in enumerate(expressions)]
    text = yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})
    checked = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", "/dev/stdin"],
        input=text,
        capture_output=True,
        text=True,
    )
    return checked.stderr if checked.returncode else ""


def test_metrics_and_labels_exist(dashboard):
    for where, expression in queries(dashboard):
        assert strangers(expression) == set(), where


def test_legends_name_labels_that_the_query_leaves(dashboard):
    for panel in panels(dashboard):
        for target in panel.get("targets") or []:
            used = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            there = set.union(*(families()[it.name] for it in promql.selectors(expand(target["expr"]))))
            assert used <= there | ALWAYS | PERHAPS, panel["title"]


def test_variables_offer_labels_that_the_metric_has(dashboard):
    for variable in dashboard["templating"]["list"]:
        if found := label_values(variable):
            metric = promql.selectors(expand(found[0]))[0].name
            assert found[1] in families()[metric] | ALWAYS | PERHAPS, variable["name"]


@pytest.mark.parametrize(
    "expression",
    [
        "dbtask_task_progress_percent",
        'dbtask_tasks{status="failed"}',
        "sum by (region) (dbtask_tasks)",
        "dbtask_source_up * on (cloud_region) group_left (zone) dbtask_source_info",
    ],
)
def test_what_does_not_exist_is_noticed(expression):
    assert len(strangers(expression)) == 1


def runbooks(dashboard):
    """The pages that panels link to."""
    base = next(it for it in dashboard["templating"]["list"] if it["name"] == "runbooks")["query"]
    links = (it for panel in panels(dashboard) for it in panel.get("links", []))
    return [it["url"].replace("${runbooks}", base) for it in links]


def test_runbooks_are_those_of_the_alerts(dashboard):
    rules = (ROOT / "rules/dbtask.rules.yml").read_text(encoding="utf-8")
    for page in runbooks(dashboard):
        assert f"runbook_url: {page}\n" in rules


def test_promtool_reads_every_query(dashboard):
    assert refused([expression for _, expression in queries(dashboard)]) == ""


def test_promtool_refuses_what_it_cannot_read():
    assert "could not parse expression" in refused(["sum by (source) (dbtask_tasks"])
