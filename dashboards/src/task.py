"""The dashboard Task: one task by its id, its steps, its pace and what else works on its resource."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

import frame
from panels import (
    DATE_CELL,
    ORANGE,
    PROGRESS_CELL,
    RED,
    STATE_CELL,
    STATE_WORDS,
    Column,
    bars,
    dial,
    lines,
    number,
    rows,
    thresholds,
    timeline,
    value,
)
from query import NAMED, STATES, TARGET, TASK, began, named_state, of_source, once, state_code, state_is

THIS = 'task_id="$task_id"'


def build() -> model.Dashboard:
    """The whole dashboard."""
    begun = (
        frame.begin(
            frame.TASK,
            "Database task",
            "One long-running operation of a managed cloud database: its steps, its pace, its end.",
        )
        .with_variable(frame.source())
        .with_variable(
            frame.one(
                "task_id",
                "Task",
                "dbtask_task_info",
                f'{frame.EXPORTER_CHOSEN}, source=~"$source"',
            )
        )
    )
    for panel in (*at_a_glance(), identity(), steps(), *pace()):
        begun.with_panel(panel)
    begun.with_row(dashboard.Row("History"))
    for panel in history():
        begun.with_panel(panel)
    return frame.finish(begun)


def this(metric: str, *matchers: str) -> str:
    """A series of this task."""
    return of_source(metric, THIS, *matchers)


def at_a_glance() -> list:
    """Where it is."""
    remaining = this("dbtask_task_remaining_seconds")
    end = this("dbtask_task_estimated_end_timestamp_seconds")
    changed = this("dbtask_task_progress_changed_timestamp_seconds")
    at_work = state_is(("running",), THIS)
    on_task = f"and on ({TARGET}, source, task_id)"
    return [
        number(
            "State",
            f"max({state_code(STATES, THIS)})",
            "none",
            "The state of the task at the last poll. Empty when the exporter no longer shows it.",
        ).mappings(STATE_WORDS),
        dial(
            "Progress",
            f"max({this('dbtask_task_progress_ratio')})",
            "How far the task is. Empty when the vendor does not say.",
            width=4,
        ),
        number(
            "Remaining",
            f"max({remaining})",
            "s",
            "The time left as the vendor estimates it. Empty when the vendor does not say.",
        ),
        number(
            "Estimated end",
            f"max({end}) * 1000",
            "dateTimeFromNow",
            "When it should end: by the vendor's time left, else by its pace so far. Empty when it does not run, or "
            "its pace says nothing yet.",
            width=4,
        ),
        number(
            "At work for",
            f"max(time() - ({began(THIS)}) {on_task} {state_is(('unknown', 'pending', 'running', 'paused'), THIS)})",
            "s",
            "The time since it began, or was asked for where the vendor says no more. Empty when it has ended.",
        ),
        number(
            "Unchanged for",
            f"max(time() - {changed} {on_task} {at_work})",
            "s",
            "For how long state, progress and steps have not moved. Empty when it does not run.",
            limits=thresholds((1800, ORANGE), (7200, RED)),
        ),
        number(
            "Last seen",
            f"min(time() - {this('dbtask_task_last_seen_timestamp_seconds')})",
            "s",
            "How long ago a poll last found the task: what is shown is as old as that. Empty when "
            "the exporter no longer shows it.",
            width=4,
            limits=thresholds((600, ORANGE), (1800, RED)),
        ),
    ]


def identity():
    """What it is."""
    source = of_source("dbtask_source_info")
    with_source = (
        f"{this('dbtask_task_info')} * ignoring (task_id, task_kind, resource_id, resource_name, origin, severity,"
        f" cloud, api, cloud_region, account) group_left (cloud, api, cloud_region, account) {source}"
    )
    labels = "task_kind, resource_id, resource_name, origin, cloud, api, cloud_region, account"
    return rows(
        "Identity",
        [
            once(f"{TASK}, {labels}", with_source),
            once(f"{TASK}, status", this("dbtask_task_vendor_status")),
            once(f"{TASK}, code", this("dbtask_task_error_info")),
            f"{once(TASK, began(THIS))} * 1000",
            f"{once(TASK, this('dbtask_task_end_timestamp_seconds'))} * 1000",
        ],
        [
            Column("task_kind", "Kind"),
            Column("resource_name", "Resource"),
            Column("resource_id", "Resource id"),
            Column("status", "Vendor's word"),
            Column("code", "Error code"),
            Column("D", "Began", (value("unit", "dateTimeAsIso"),)),
            Column("E", "Ended", (value("unit", "dateTimeAsIso"),)),
            Column("cloud", "Cloud"),
            Column("api", "API"),
            Column("cloud_region", "Region"),
            Column("account", "Account"),
            Column("origin", "Found by"),
            Column("source", "Source", (frame.TO_SOURCE,)),
            Column("task_id", "Task"),
        ],
        "What the task is and works on. The text of an error is on the exporter's status page. Empty when the exporter "
        "no longer shows the task.",
        height=4,
    )


def steps():
    """How far each step is."""
    return bars(
        "Steps",
        {"{{step}}": once("step", this("dbtask_task_step_progress_ratio"))},
        "percentunit",
        "How far each step is. Empty when the vendor reports no steps.",
        width=12,
    ).max(1)


def pace() -> list:
    """How fast it moves."""
    progress = this("dbtask_task_progress_ratio")
    end = this("dbtask_task_estimated_end_timestamp_seconds")
    return [
        lines(
            "Progress",
            {"progress": f"max({progress})"},
            "percentunit",
            "How far the task was, as the vendor says it. Empty when the vendor does not say.",
        )
        .min(0)
        .max(1),
        lines(
            "Pace",
            {"progress in an hour": f"max(deriv({progress}[10m])) * 3600"},
            "percentunit",
            "How much of the whole it would do in an hour at the pace of the last ten minutes; at zero it stands "
            "still. Empty when the vendor reports no progress.",
        ),
        lines(
            "Time left",
            {
                "as the vendor says": f"max({this('dbtask_task_remaining_seconds')})",
                "by the estimated end": f"max({end} - time())",
            },
            "s",
            "The time left, by the vendor and by the exporter. A line that does not fall is a task that falls behind. "
            "Empty when neither is known.",
        ),
    ]


def history() -> list:
    """What it has been doing, and what else its resource went through."""
    resource = f"and on ({TARGET}, source, resource_id) {this('dbtask_task_info')}"
    others = f"({named_state(STATES)}) {resource}"
    age = f"({of_source('dbtask_task_info')} {resource})"

    def column(expression: str) -> str:
        return once(TASK, f"({expression}) and on ({TARGET}, source, task_id) {age}")

    return [
        timeline(
            "States",
            {"{{task_id}}": once(TASK, state_code(STATES, THIS))},
            STATE_WORDS,
            "What the task was doing. The band ends where the exporter stops showing it. Empty when it did not show it.",
            width=12,
            height=6,
        ),
        lines(
            "Steps",
            {"{{step}}": once("step", this("dbtask_task_step_progress_ratio"))},
            "percentunit",
            "How far each step was. Empty when the vendor reports no steps.",
            height=6,
        )
        .min(0)
        .max(1),
        rows(
            "Tasks of the same resource",
            [
                once(NAMED, others),
                column(of_source("dbtask_task_progress_ratio")),
                f"{column(began())} * 1000",
                f"{column(of_source('dbtask_task_end_timestamp_seconds'))} * 1000",
            ],
            [
                Column("A", "State", STATE_CELL),
                Column("task_kind", "Kind"),
                Column("resource_name", "Resource"),
                Column("B", "Progress", PROGRESS_CELL),
                Column("C", "Began", DATE_CELL),
                Column("D", "Ended", DATE_CELL),
                Column("source", "Source", (frame.TO_SOURCE,)),
                Column("task_id", "Task", (frame.TO_TASK,)),
            ],
            "This task, and what else was done to its resource, as far as the exporter still shows it. Empty "
            "when it no longer shows this task.",
            height=8,
            sort=("Began", True),
        ),
    ]
