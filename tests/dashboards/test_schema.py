"""Grafana's own descriptions of a dashboard, in Python and in TypeScript, know every key."""

import copy
import json
import os
import subprocess

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import FILES, FOLDER, ROOT, panels, read

NODE_MODULES = ROOT / ".tools/grafana-types/node_modules"

# Keys that the SDK writes and @grafana/schema has no type for. Prometheus' queries and marks are
# described by its plugin, `definition` is a query in words, `auto` belongs to intervals, and tables
# had a footer once.
ONLY_THE_SDK = {
    "VariableModel": {"auto", "auto_min", "auto_count", "definition"},
    "AnnotationQuery": {"expr", "step", "titleFormat", "useValueForTime"},
    "Table.Options": {"footer"},
}

# The name by which a panel type's options and fields are exported.
CONFIG = {
    "bargauge": "BarGauge",
    "gauge": "Gauge",
    "heatmap": "Heatmap",
    "stat": "Stat",
    "state-timeline": "StateTimeline",
    "table": "Table",
    "timeseries": "TimeSeries",
}


def lost(before, after, where=""):
    """What is not there afterwards, or is another; what is new is the reader's own default."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{where}[{number}]")
    elif before != after:
        yield where


def lost_on_the_way(dashboard):
    """What Grafana's SDK loses of a dashboard that it reads and writes again."""
    register_default_plugins()
    read_again = Dashboard.from_json(copy.deepcopy(dashboard))
    return list(lost(dashboard, json.loads(json.dumps(read_again, cls=JSONEncoder))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_reads_and_writes_each_without_loss(dashboard):
    assert lost_on_the_way(dashboard) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", sorted(CONFIG))
def test_a_key_that_grafana_does_not_know_is_lost_on_the_way(kind):
    for path in FILES:
        damaged = read(path)
        for panel in panels(damaged):
            if panel["type"] == kind:
                panel["options"]["shiny"] = True
                assert [it.endswith(".options.shiny") for it in lost_on_the_way(damaged)] == [True]
                return
    raise AssertionError(f"no panel is a {kind}")


def literals(dashboard):
    """TypeScript that assigns each part of a dashboard to Grafana's type for it."""
    lines = [
        "import type * as schema from '@grafana/schema';",
        "// A literal stands for the member of an enum that has its value.",
        "type Plain<T> = T extends string ? T | `${T}` : T extends number ? number extends T ? T :",
        "  T | (`${T}` extends `${infer N extends number}` ? N : never) : T extends",
        "  (infer E)[] ? Plain<E>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
    ]
    kinds = sorted({panel["type"] for panel in panels(dashboard)})
    for kind in kinds:
        name = CONFIG[kind]
        path = f"{kind.replace('-', '')}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f"import type * as {name} from '@grafana/schema/dist/esm/raw/composable/{path}';")

    # Partial, for Grafana fills in what is left out.
    def assign(kind, value):
        known = ONLY_THE_SDK.get(kind.removeprefix("schema."), ())
        value = {key: it for key, it in value.items() if key not in known}
        number = len(lines)
        lines.append(f"export const it{number}: Partial<Plain<{kind}>> = {json.dumps(value)};")

    # Marks, variables and panels are assigned apart, each to its own type.
    bare = copy.deepcopy(dashboard) | {"panels": [], "annotations": {}, "templating": {}}
    assign("schema.Dashboard", bare)
    for it in dashboard["annotations"].get("list", []):
        assign("schema.AnnotationQuery", it)
    for it in dashboard["templating"]["list"]:
        assign("schema.VariableModel", it)
    for row in (it for it in dashboard["panels"] if it["type"] == "row"):
        assign("schema.RowPanel", row | {"panels": []})
    for panel in panels(dashboard):
        assign("schema.Panel", panel)
        config = CONFIG[panel["type"]]
        assign(f"{config}.Options", panel["options"])
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            assign(f"{config}.FieldConfig", custom)
    return "\n".join(lines) + "\n"


def compile(folder, dashboard):
    """What the compiler says."""
    (folder / "check.mts").write_text(literals(dashboard), encoding="utf-8")
    (folder / "node_modules").symlink_to(os.path.realpath(NODE_MODULES))
    compiler = NODE_MODULES / ".bin/tsc"
    options = "--noEmit --strict --skipLibCheck --target es2022 --module nodenext".split()
    command = [str(compiler), *options, "--moduleResolution", "nodenext", "check.mts"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def test_grafanas_types_know_every_key(dashboard, tmp_path):
    assert compile(tmp_path, dashboard) == ""


def misspell(it):
    it["graphToolTip"] = 1


def add_to_a_variable(it):
    it["templating"]["list"][1]["allValues"] = ".+"


def add_to_a_panel(it):
    next(panels(it))["subtitle"] = "more"


def add_an_option(it):
    next(it for it in panels(it) if it["type"] == "state-timeline")["options"]["rowHeigth"] = 1


def take_a_wrong_word(it):
    next(it for it in panels(it) if it["type"] == "bargauge")["options"]["displayMode"] = "shiny"


@pytest.mark.parametrize(
    "damage", [misspell, add_to_a_variable, add_to_a_panel, add_an_option, take_a_wrong_word]
)
def test_grafanas_types_refuse_what_they_do_not_know(damage, tmp_path):
    damaged = read(FOLDER / "tasks.json")
    damage(damaged)
    assert "error TS" in compile(tmp_path, damaged)
