"""Every query of every panel against a real Prometheus that scrapes the demo."""

import math
import time

from grafana import expand, label_values, panels

# The demo is to have shown everything after 60 s; a busy machine may take its time.
PATIENCE = 150

STATES = {"pending", "running", "paused", "succeeded", "failed", "canceled", "unknown"}


def until(deadline, attempt):
    """The first good answer, or the last bad one."""
    while True:
        answer = attempt()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(1)


def tells(series):
    """Whether there is anything to draw: a number, in any series."""
    return any(math.isfinite(value) for _, values in series for value in values)


def has_data(prometheus, target, tasks, **values):
    """Whether a query has data, for any of these tasks if it asks for one."""
    over_time = not target.get("instant")
    about = tasks if "$task_id" in target["expr"] else ["none"]
    return any(
        tells(prometheus.ask(expand(target["expr"], task_id=task, **values), over_time))
        for task in about
    )


def tasks_of(prometheus, job):
    return prometheus.get("label/task_id/values", **{"match[]": f'dbtask_task_info{{job="{job}"}}'})


def test_the_demo_without_flags_shows_every_state_and_failures(world):
    deadline = world.demo.started + PATIENCE

    def seen():
        series = world.prometheus.ask(
            'max_over_time(dbtask_tasks{job="demo"}[5m]) > 0', over_time=False
        )
        counted = world.prometheus.ask(
            'sum(increase(dbtask_task_failures_total{job="demo"}[5m])) > 0', over_time=False
        )
        return {labels["state"] for labels, _ in series} == STATES and counted

    assert until(deadline, seen)
    took = time.monotonic() - world.demo.started
    print(f"every state and a counted failure after {took:.0f} s")


def test_every_query_has_data(world, dashboard):
    deadline = world.demo.started + PATIENCE
    prometheus = world.prometheus
    missing = [(panel, target) for panel in panels(dashboard) for target in panel["targets"]]

    def none_is_missing():
        tasks = tasks_of(prometheus, "demo")
        missing[:] = [
            (panel, target)
            for panel, target in missing
            if not has_data(prometheus, target, tasks, job="demo")
        ]
        return not missing

    until(deadline, none_is_missing)
    assert not missing, [f"{panel['title']} ({target['refId']})" for panel, target in missing]
    print(f"all after {time.monotonic() - world.demo.started:.0f} s")


def test_every_query_has_data_of_each_of_two_clusters_that_call_all_the_same(world, dashboard):
    """A join that took the other cluster's series for its own would be an error of many-to-many."""
    deadline = world.demo.started + PATIENCE
    prometheus = world.prometheus
    for panel in panels(dashboard):
        for target in panel["targets"]:
            where = f"{panel['title']} ({target['refId']})"

            def told():
                return has_data(prometheus, target, tasks_of(prometheus, "two"), job="two", namespace="db") and has_data(
                    prometheus, target, tasks_of(prometheus, "two"), job="two", cluster="west"
                )

            assert until(deadline, told), where
    both = world.prometheus.ask('count by (source) (max by (cluster, namespace, job, source) (dbtask_source_up{job="two"}))', False)
    assert {values[0] for _, values in both} == {2}


def test_a_query_for_what_does_not_exist_has_no_data(world):
    target = {"expr": 'dbtask_tasks{job=~"$job", state="finished"}', "instant": True}
    assert not has_data(world.prometheus, target, ["none"], job="demo")
    assert not tells([({}, [math.nan])])


def test_a_panel_that_is_empty_when_all_is_well_says_so(world, dashboard):
    prometheus = world.prometheus
    settled = (
        'dbtask_source_polls_total{job="quiet"} > 5'
        ' and on () count_over_time(up{job="quiet"}[1m]) > 10'
    )
    assert until(time.monotonic() + PATIENCE, lambda: prometheus.ask(settled, over_time=False))
    empty = {
        panel["title"]
        for panel in panels(dashboard)
        if not any(has_data(prometheus, it, ["none"], job="quiet") for it in panel["targets"])
    }
    said = {panel["title"] for panel in panels(dashboard) if "Empty when" in panel["description"]}
    assert empty <= said, f"nothing to see, and no word why: {empty - said}"
    assert "State" in empty or dashboard["uid"] != "dbtask-task"


def test_every_variable_offers_something(world, dashboard):
    for variable in dashboard["templating"]["list"]:
        if found := label_values(variable):
            selector, label = found
            # Of the demo alone nobody says where it is; there these two offer nothing but All.
            job = "two" if variable["name"] in ("cluster", "namespace") else "demo"
            values = world.prometheus.get(
                f"label/{label}/values", **{"match[]": expand(selector, job=job)}
            )
            assert values, variable["name"]


def test_every_mark_has_a_time_in_milliseconds(world, dashboard):
    for annotation in dashboard["annotations"].get("list", []):
        expression = expand(annotation["expr"], job="demo")
        deadline = world.demo.started + PATIENCE
        series = until(deadline, lambda: world.prometheus.ask(expression, over_time=False))
        assert series, annotation["name"]
        for _, values in series:
            assert abs(values[0] / 1000 - time.time()) < 86_400


def test_the_numbers_of_states_mean_the_states(world, dashboard):
    codes = [
        (panel, target)
        for panel in panels(dashboard)
        for target in panel["targets"]
        if panel["type"] == "state-timeline" and "dbtask_task_state" in target["expr"]
    ]
    assert codes or dashboard["uid"] == "dbtask-exporter"
    for panel, target in codes:
        meanings = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        for task in tasks_of(world.prometheus, "demo")[:5]:
            expression = expand(target["expr"], job="demo", task_id=task)
            told = f"({expression}) and on (source, task_id) (dbtask_task_state{{job='demo', state=%r}} == 1)"
            for number, meaning in meanings.items():
                for _, values in world.prometheus.ask(told % meaning["text"], over_time=False):
                    assert values == [float(number)], meaning
