"""Every dashboard keeps every rule, and every rule refuses a dashboard that breaks it."""

import copy

import pytest

from grafana import FOLDER, panels, read
from rules import HOUSE, LINTER


def of(dashboard, *types):
    """The first panel of one of these types."""
    return next(it for it in panels(dashboard) if it["type"] in types)


def variable(dashboard, name):
    return next(it for it in dashboard["templating"]["list"] if it["name"] == name)


def rename_datasource(it):
    variable(it, "datasource")["name"] = "prometheus"


def fix_job(it):
    variable(it, "job")["allValue"] = ".*"


def fix_instance(it):
    variable(it, "instance")["label"] = "Host"


def break_variable(it):
    variable(it, "source")["query"] = "label_values(dbtask_source_info{, source)"


def load_once(it):
    variable(it, "source")["refresh"] = 1


def name_a_server(it):
    of(it, "bargauge")["datasource"]["uid"] = "PBFA97CFB590B2093"


def drop_description(it):
    del of(it, "state-timeline")["description"]


def invent_unit(it):
    of(it, "bargauge")["fieldConfig"]["defaults"]["unit"] = "furlongs"


def drop_targets(it):
    of(it, "state-timeline")["targets"] = []


def break_query(it):
    of(it, "bargauge")["targets"][0]["expr"] += ")"


def ask_loki(it):
    of(it, "table")["targets"][0]["datasource"] = {"type": "loki", "uid": "${datasource}"}


def fix_window(it):
    of(it, "timeseries")["targets"][0]["expr"] = (
        'rate(process_cpu_seconds_total{job=~"$job", instance=~"$instance"}[5m])'
    )


def forget_job(it):
    target = of(it, "state-timeline")["targets"][0]
    target["expr"] = target["expr"].replace('job=~"$job", ', "", 1)


def forget_instance(it):
    target = of(it, "bargauge")["targets"][0]
    target["expr"] = target["expr"].replace('instance=~"$instance", ', "", 1)


def show_counter(it):
    of(it, "bargauge")["targets"][0]["expr"] = (
        'dbtask_task_failures_total{job=~"$job", instance=~"$instance"}'
    )


def make_editable(it):
    it["editable"] = True


def take_old_schema(it):
    it["schemaVersion"] = 39


def refresh_never(it):
    it["refresh"] = ""


def forget_the_cluster(it):
    target = of(it, "state-timeline")["targets"][0]
    target["expr"] = target["expr"].replace('cluster=~"$cluster", ', "", 1)


def drop_the_namespace(it):
    it["templating"]["list"].remove(variable(it, "namespace"))


def mix_clusters(it):
    target = of(it, "bargauge")["targets"][0]
    target["expr"] = target["expr"].replace("max by (cluster, namespace, job, service, source", "max by (source")


def join_across_clusters(it):
    target = of(it, "bargauge")["targets"][0]
    target["expr"] = target["expr"].replace("on (cluster, namespace, job, ", "on (job, ")


def multiply_on_labels(it):
    target = of(it, "table")["targets"][0]
    target["expr"] = target["expr"].replace(
        "* ignoring (state, task_kind, resource_id, resource_name, origin, severity)",
        "* on (cluster, namespace, job, instance, source, task_id)",
    )


def lose_variables(it):
    it["links"][0]["includeVars"] = False


def open_with_the_first(it):
    del variable(it, "source")["current"]


def overlap(it):
    it["panels"][1]["gridPos"]["x"] -= 1


def repeat_an_id(it):
    it["panels"][1]["id"] = it["panels"][0]["id"]


def paint_it_lime(it):
    of(it, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["color"] = "#00FF00"


def date_in_seconds(it):
    target = next(
        target
        for panel in panels(it)
        for target in panel["targets"]
        if target["expr"].endswith(" * 1000")
    )
    target["expr"] = target["expr"].removesuffix(" * 1000")


DAMAGE = {
    "template_datasource": [rename_datasource],
    "template_job": [fix_job],
    "template_instance": [fix_instance],
    "template_label_promql": [break_variable],
    "template_on_time_change_reload": [load_once],
    "panel_datasource": [name_a_server],
    "panel_title_description": [drop_description],
    "panel_units": [invent_unit],
    "panel_no_targets": [drop_targets],
    "target_promql": [break_query],
    "target_logql": [ask_loki],
    "target_logql_auto": [ask_loki],
    "target_rate_interval": [fix_window],
    "target_job": [forget_job],
    "target_instance": [forget_instance],
    "target_counter_agg": [show_counter],
    "uneditable_dashboard": [make_editable],
    "identity": [take_old_schema],
    "behaviour": [refresh_never],
    "links": [lose_variables],
    "opens_with_everything": [open_with_the_first],
    "place": [forget_the_cluster, drop_the_namespace],
    "several_clusters": [mix_clusters, join_across_clusters, multiply_on_labels],
    "layout": [overlap, repeat_an_id],
    "colors": [paint_it_lime],
    "dates": [date_in_seconds],
}


def test_the_rules_of_the_linter_are_all_there():
    assert len(LINTER) == 17
    assert {rule.__name__ for rule in [*LINTER, *HOUSE]} == set(DAMAGE)


@pytest.mark.parametrize("rule", [*LINTER, *HOUSE], ids=lambda rule: rule.__name__)
def test_every_dashboard_keeps_the_rule(rule, dashboard):
    assert list(rule(dashboard)) == []


@pytest.mark.parametrize(
    ("rule", "damage"),
    [(rule, damage) for rule in [*LINTER, *HOUSE] for damage in DAMAGE[rule.__name__]],
    ids=lambda it: it.__name__,
)
def test_the_rule_refuses_a_damaged_dashboard(rule, damage):
    damaged = copy.deepcopy(read(FOLDER / "tasks.json"))
    damage(damaged)
    assert list(rule(damaged)) != []
