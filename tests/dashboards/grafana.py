"""Dashboards as their JSON has them, and what Grafana would make of their variables."""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))

# What Grafana puts in for All, and for its own variables in a range of six hours with a step of a
# minute.
EVERYTHING = {
    "cluster": ".*",
    "namespace": ".*",
    "job": ".+",
    "instance": ".+",
    "cloud": ".+",
    "source": ".+",
    "task_id": "1",
    "__rate_interval": "4m",
    "__range": "6h",
}


def read(path):
    """A dashboard."""
    return json.loads(path.read_text(encoding="utf-8"))


def panels(dashboard):
    """All panels, those inside rows included, rows not."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries(dashboard):
    """Where each query is, and the query."""
    for panel in panels(dashboard):
        for target in panel.get("targets") or []:
            yield f"{panel.get('title')} ({target.get('refId')})", target["expr"]
    for annotation in dashboard["annotations"].get("list", []):
        yield f"annotation {annotation['name']}", annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if selector := label_values(variable):
            yield f"variable {variable['name']}", selector[0]


def label_values(variable):
    """The selector and the label of a variable that asks for a label's values."""
    if variable["type"] != "query":
        return None
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert found, f"{variable['name']}: no label_values(selector, label): {variable['query']}"
    return found.groups()


def expand(expression, **values):
    """The query with its variables filled in; one that nobody knows is an error."""
    known = EVERYTHING | values
    return re.sub(r"\$\{?(\w+)\}?", lambda found: known[found[1]], expression)
