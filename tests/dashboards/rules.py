"""The rules of Grafana's dashboard linter, for every type of panel, and those of this project.

A rule is a function from a dashboard to its complaints.
"""

import itertools
import re

from grafana_foundation_sdk.models import units

import promql
from grafana import expand, label_values, panels, queries

UNITS = {value for value in vars(units).values() if isinstance(value, str)}
UNITS -= {units.__name__, units.__file__, units.__doc__}

# Okabe and Ito's, and grey: told apart by people with any colour vision.
PALETTE = {"#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#56B4E9", "#999999"}

# A range that nobody would write, to recognise Grafana's own by.
RATE_INTERVAL = 7919.0

LINTER, HOUSE = [], []


def linter(rule):
    """One of the linter's."""
    LINTER.append(rule)
    return rule


def house(rule):
    """One of ours."""
    HOUSE.append(rule)
    return rule


def variables(dashboard):
    return {it["name"]: it for it in dashboard["templating"]["list"]}


def targets(dashboard):
    for panel in panels(dashboard):
        for target in panel.get("targets") or []:
            yield f"{panel.get('title')} ({target.get('refId')})", target


def parsed(dashboard):
    """The queries that parse, each selector with its own marks for the variables."""
    for where, target in targets(dashboard):
        try:
            marked = expand(
                target["expr"],
                cluster="CLUSTER",
                namespace="NAMESPACE",
                job="JOB",
                instance="INSTANCE",
                __rate_interval=f"{RATE_INTERVAL:.0f}s",
            )
            promql.nodes(marked)
        except (KeyError, ValueError):
            continue
        yield where, marked


@linter
def template_datasource(dashboard):
    found = [it for it in variables(dashboard).values() if it["type"] == "datasource"]
    if [it["name"] for it in found] != ["datasource"]:
        yield "there is not one variable for the data source, named datasource"
    elif found[0].get("label") != "Data source" or found[0]["query"] != "prometheus":
        yield "the variable datasource is not labelled Data source, or not for prometheus"


def _template(dashboard, name):
    it = variables(dashboard).get(name)
    if not it:
        yield f"there is no variable {name}"
        return
    wanted = {
        "type": "query",
        "label": name.capitalize(),
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
    }
    for key, value in wanted.items():
        if it.get(key) != value:
            yield f"variable {name}: {key} is {it.get(key)}, not {value}"


@linter
def template_job(dashboard):
    yield from _template(dashboard, "job")


@linter
def template_instance(dashboard):
    yield from _template(dashboard, "instance")


@linter
def template_label_promql(dashboard):
    for name, it in variables(dashboard).items():
        if it["type"] != "query":
            continue
        try:
            promql.nodes(expand(label_values(it)[0]))
        except (AssertionError, KeyError, ValueError) as error:
            yield f"variable {name}: {error}"


@linter
def template_on_time_change_reload(dashboard):
    for name, it in variables(dashboard).items():
        if it["type"] == "query" and it.get("refresh") != 2:
            yield f"variable {name} is not asked for anew when the time range changes"


@linter
def panel_datasource(dashboard):
    for panel in panels(dashboard):
        for it in (panel, *(panel.get("targets") or [])):
            if it.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{panel.get('title')}: another data source: {it.get('datasource')}"


@linter
def panel_title_description(dashboard):
    for panel in panels(dashboard):
        if not panel.get("title") or not panel.get("description", "").endswith("."):
            yield f"panel {panel.get('id')} has no title, or no description that is a sentence"


@linter
def panel_units(dashboard):
    for panel in panels(dashboard):
        config = panel["fieldConfig"]
        found = [config["defaults"].get("unit")]
        for override in config.get("overrides", []):
            found += [it["value"] for it in override["properties"] if it["id"] == "unit"]
        if not set(found) <= UNITS:
            yield f"{panel.get('title')}: not a unit: {set(found) - UNITS}"


@linter
def panel_no_targets(dashboard):
    for panel in panels(dashboard):
        if not panel.get("targets"):
            yield f"{panel.get('title')} asks for nothing"


@linter
def target_promql(dashboard):
    for where, expression in queries(dashboard):
        try:
            promql.nodes(expand(expression))
        except (KeyError, ValueError) as error:
            yield f"{where}: {error}"


def _loki(dashboard):
    for where, target in targets(dashboard):
        if (target.get("datasource") or {}).get("type") == "loki":
            yield f"{where}: a query of logs, which the exporter has no part in"


@linter
def target_logql(dashboard):
    yield from _loki(dashboard)


@linter
def target_logql_auto(dashboard):
    yield from _loki(dashboard)


@linter
def target_rate_interval(dashboard):
    for where, marked in parsed(dashboard):
        if set(promql.ranges(marked, "rate", "irate")) - {RATE_INTERVAL}:
            yield f"{where}: a rate over a window other than $__rate_interval"


def _every_selector(dashboard, label, mark):
    for where, marked in parsed(dashboard):
        for selector in promql.selectors(marked):
            if promql.matchers(selector).get(label) != ("=~", mark):
                yield f"{where}: {selector.name} is not selected by {label}=~\"${label}\""


@linter
def target_job(dashboard):
    yield from _every_selector(dashboard, "job", "JOB")


@linter
def target_instance(dashboard):
    yield from _every_selector(dashboard, "instance", "INSTANCE")


@linter
def target_counter_agg(dashboard):
    counter = re.compile(r"_(total|bucket)$")
    for where, marked in parsed(dashboard):
        used = [it.name for it in promql.selectors(marked) if counter.search(it.name)]
        if len(used) > len(promql.ranges(marked, "rate", "irate", "increase")):
            yield f"{where}: a counter without rate or increase"


@linter
def uneditable_dashboard(dashboard):
    if dashboard.get("editable") is not False:
        yield "it can be edited where it is provisioned"


@house
def identity(dashboard):
    if not re.fullmatch(r"dbtask-[a-z]{1,33}", dashboard.get("uid", "")) or "id" in dashboard:
        yield "no stable uid, or an id of some server"
    if dashboard.get("schemaVersion") != 42 or "__inputs" in dashboard:
        yield "not the schema that Grafana's validator takes"
    if not dashboard.get("description") or not dashboard.get("title"):
        yield "no title, or no description"


@house
def behaviour(dashboard):
    wanted = {"refresh": "1m", "graphTooltip": 1, "timezone": "browser", "tags": ["dbtask"]}
    for key, value in wanted.items():
        if dashboard.get(key) != value:
            yield f"{key} is {dashboard.get(key)}, not {value}"


@house
def links(dashboard):
    kept = {"type": "dashboards", "tags": ["dbtask"], "includeVars": True, "keepTime": True}
    if not any(kept.items() <= it.items() for it in dashboard["links"]):
        yield "no links to the other dashboards that keep variables and time"


@house
def opens_with_everything(dashboard):
    for name, it in variables(dashboard).items():
        if it.get("multi"):
            # Not every target is in a cluster or a namespace.
            everything = ".*" if name in ("cluster", "namespace") else ".+"
            if it.get("allValue") != everything or it.get("current", {}).get("value") != ["$__all"]:
                yield f"variable {name} does not open with All, or All is not {everything}"


@house
def place(dashboard):
    for name in ("cluster", "namespace"):
        if name not in variables(dashboard):
            yield f"there is no variable {name}"
        yield from _every_selector(dashboard, name, name.upper())


@house
def several_clusters(dashboard):
    """In one store addresses, jobs and sources of several clusters may be called the same."""
    for where, marked in parsed(dashboard):
        for kept in promql.groups(marked):
            if kept & {"source", "task_id", "instance"} and not {"cluster", "namespace", "job"} <= kept:
                yield f"{where}: takes what belongs to several clusters for one: by {', '.join(sorted(kept))}"
        for operator, joined in promql.joins(marked):
            if not {"cluster", "namespace", "job", "instance"} <= joined:
                yield f"{where}: joins on {', '.join(sorted(joined))}: two clusters break it"
            elif operator not in ("and", "unless", "or"):
                yield f"{where}: {operator} on labels: two clusters that something else tells apart break it"


@house
def layout(dashboard):
    inner = [it for row in dashboard["panels"] for it in row.get("panels", [])]
    ids = [it["id"] for it in [*dashboard["panels"], *inner]]
    if len(ids) != len(set(ids)):
        yield "two panels have one id"
    places = [it["gridPos"] for it in dashboard["panels"]]
    for a, b in itertools.combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        if not (apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]):
            yield f"two panels overlap at {a} and {b}"
    if any(it["x"] + it["w"] > 24 for it in places):
        yield "a panel is wider than the grid"


def _colors(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("color", "fixedColor", "iconColor") and isinstance(inner, str):
                yield inner
            yield from _colors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _colors(inner)


@house
def colors(dashboard):
    if others := set(_colors(dashboard)) - PALETTE:
        yield f"colours that not everybody can tell apart: {others}"


@house
def dates(dashboard):
    """Grafana's dates are in milliseconds, Prometheus' in seconds."""
    for panel in panels(dashboard):
        config = panel["fieldConfig"]
        dated = set()
        if str(config["defaults"].get("unit")).startswith("dateTime"):
            dated.update(it["refId"] for it in panel["targets"])
        titles = {}
        for step in panel.get("transformations", []):
            titles |= {it: name for name, it in step["options"].get("renameByName", {}).items()}
        for override in config.get("overrides", []):
            for it in override["properties"]:
                if it["id"] == "unit" and it["value"].startswith("dateTime"):
                    dated.add(titles[override["matcher"]["options"]].removeprefix("Value #"))
        for target in panel["targets"]:
            in_milliseconds = target["expr"].endswith("* 1000")
            if in_milliseconds != (target["refId"] in dated):
                yield f"{panel['title']} ({target['refId']}): a date that is not in milliseconds, or the reverse"
            bare = re.fullmatch(r"\w+\([^()]*_timestamp_seconds.*", target["expr"])
            if bare and not in_milliseconds and "time()" not in target["expr"]:
                yield f"{panel['title']} ({target['refId']}): a time that is neither date nor age"
