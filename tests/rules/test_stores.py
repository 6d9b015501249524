"""Every case of the unit tests again, in stores whose targets have labels that the exporter knows nothing of."""

import copy
import itertools
import re

import pytest
import yaml

from test_rules import PROMTOOLS, RULES, UNIT_TESTS, run

# What the targets of each part of the store have, and their alerts keep: a cluster, a second one with two
# releases in one namespace, and one that is told apart by a label of the user's own.
PLACES = [
    {"cluster": "east", "namespace": "db", "service": "one"},
    {"cluster": "west", "namespace": "db", "service": "one", "team": "a"},
    {"cluster": "west", "namespace": "db", "service": "two", "team": "a"},
    {"datacenter": "there"},
]


def of_pod(series):
    """What a monitor adds for the pod behind an address."""
    instance = re.search(r'instance="([^"]+):\d+"', series)
    name = f"pod-{instance[1]}" if instance else "pod"
    return {"pod": name, "container": "exporter", "endpoint": "http", "node": f"node-of-{name}"}


def with_labels(series, labels):
    return series[:-1] + "".join(f', {name}="{value}"' for name, value in labels.items()) + "}"


def placed(alert, place):
    """An expected alert of that place; its description names the place where the exporter itself is in question."""
    alert = copy.deepcopy(alert)
    alert["exp_labels"] |= place
    said = alert["exp_annotations"]
    where = "".join(f" {word} {place[label]}" for label, word in (("namespace", "in namespace"), ("cluster", "of cluster")) if label in place)
    said["description"] = said["description"].replace("no target of the job dbtask-exporter has", f"no target of the job dbtask-exporter{where} has")
    return alert


def multiplied(suite):
    suite["rule_files"] = [str(RULES)]
    for case in suite["tests"]:
        targets = any("dbtask-exporter" in each["series"] for each in case["input_series"])
        case["input_series"] = [
            each | {"series": with_labels(each["series"], place | of_pod(each["series"]))}
            for each, place in itertools.product(case["input_series"], PLACES)
        ]
        for check in case["alert_rule_test"]:
            # Of a target that never was nobody knows where it should have been.
            if targets:
                check["exp_alerts"] = [placed(alert, place) for place in PLACES for alert in check["exp_alerts"]]
    return suite


@pytest.mark.parametrize("promtool", PROMTOOLS, ids=["2", "3"])
@pytest.mark.parametrize("path", [path for path in UNIT_TESTS if path.stem != "stores"], ids=lambda path: path.stem)
def test_alerts_of_each_part_of_a_store_are_those_of_a_store_of_its_own(tmp_path, path, promtool):
    file = tmp_path / path.name
    file.write_text(yaml.safe_dump(multiplied(yaml.safe_load(path.read_text()))))
    run(promtool, "test", "rules", file)
