"""The dashboard Tasks: what runs, what has failed, what is stuck, over all sources."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

import frame
from panels import (
    BLUE,
    DATE_CELL,
    GREY,
    ORANGE,
    PROGRESS_CELL,
    RED,
    SECONDS_CELL,
    STATE_CELL,
    STATE_COLORS,
    STATE_WORDS,
    Column,
    bars,
    fixed,
    lines,
    number,
    rows,
    stacked,
    thresholds,
    timeline,
    with_runbook,
)
from query import (
    NAMED,
    STATES,
    TASK,
    UNFINISHED,
    events,
    in_cloud,
    legend,
    named,
    named_state,
    of_source,
    once,
    per_source,
    while_in,
)
from query import began as began_at

FAILURES = "dbtask_task_failures_total"
RUNNING = ("running",)
BY_STATE = f"sum by (state) ({once('source, state', in_cloud(of_source('dbtask_tasks')))})"
LEGEND = legend("task_kind", "resource_name", "task_id")


def build() -> model.Dashboard:
    """The whole dashboard."""
    begun = (
        frame.begin(
            frame.TASKS,
            "Database tasks",
            "Long-running operations of managed cloud databases: what runs, what has failed, what is stuck.",
        )
        .with_variable(frame.cloud())
        .with_variable(frame.source('cloud=~"$cloud"'))
        .annotation(
            frame.event(
                "Failures",
                f"{per_source('dbtask_task_last_failure_timestamp_seconds')} * 1000",
                f"A task failed in {legend('source')}",
                RED,
            )
        )
    )
    for panel in at_a_glance():
        begun.with_panel(panel)
    begun.with_panel(unfinished()).with_panel(failed()).with_panel(planned())
    begun.with_row(dashboard.Row("Over time"))
    for panel in over_time():
        begun.with_panel(panel)
    begun.with_row(dashboard.Row("Failures and durations"))
    for panel in outcomes():
        begun.with_panel(panel)
    return frame.finish(begun)


def at_a_glance() -> list:
    """What an operator who is called looks at first."""
    age = "dbtask_task_progress_changed_timestamp_seconds"
    states = number(
        "Tasks by state",
        {
            "{{state}}": BY_STATE
        },
        "short",
        "Tasks in each state at the last poll, those included that the limit on tasks hides. Failed ones stay for "
        "retention.failed, by default a day; other ends for an hour.",
        width=9,
    )
    for state, color in STATE_COLORS.items():
        states.override_by_name(state, [fixed(color)])
    last = f"time() - max({per_source('dbtask_task_last_failure_timestamp_seconds')})"
    oldest = once(TASK, while_in(RUNNING, began_at()))
    unchanged = once(TASK, while_in(RUNNING, of_source(age)))
    down = number(
        "Sources down",
        f"sum(1 - {per_source('dbtask_source_up')})",
        "short",
        "Sources whose last poll failed. What is shown of their tasks is as old as the last good poll; look at the "
        "dashboard of the exporter.",
        limits=thresholds((1, RED)),
    )
    down.with_override(model.MatcherConfig(id_val="byType", options="number"), [frame.TO_EXPORTER])
    failed_lately = number(
        "Failed in 24 h",
        f"sum({events('source, task_kind', FAILURES, '24h')})",
        "short",
        "Failures counted in the last 24 hours, whatever time range is chosen. Tasks that had already failed when "
        "the exporter first saw them are not counted. Empty when no task has been seen at all.",
        limits=thresholds((1, RED)),
    )
    unchanged_for = number(
        "Longest unchanged",
        f"max(time() - {unchanged})",
        "s",
        "The longest time for which state, progress and steps of a running task have not moved: it may be stuck. "
        "Empty when nothing runs.",
        limits=thresholds((1800, ORANGE), (7200, RED)),
    )
    return [
        with_runbook(failed_lately, "DbtaskTaskFailuresIncreased"),
        number(
            "Last failure",
            last,
            "s",
            "How long ago a task last failed. Empty when none has failed since the exporter began to count.",
        ),
        states,
        number(
            "Oldest running",
            f"max(time() - {oldest})",
            "s",
            "How long the oldest running task has been at work. Empty when nothing runs.",
        ),
        with_runbook(unchanged_for, "DbtaskTaskStuck"),
        with_runbook(down, "DbtaskSourceDown"),
    ]


def unfinished():
    """Every task that has not ended, the oldest first."""
    def column(metric: str) -> str:
        return once(TASK, while_in(UNFINISHED, of_source(metric)))

    return rows(
        "Unfinished tasks",
        [
            once(NAMED, in_cloud(named_state(UNFINISHED))),
            column("dbtask_task_progress_ratio"),
            column("dbtask_task_remaining_seconds"),
            f"{column('dbtask_task_estimated_end_timestamp_seconds')} * 1000",
            f"time() - {once(TASK, while_in(UNFINISHED, began_at()))}",
            f"time() - {column('dbtask_task_progress_changed_timestamp_seconds')}",
        ],
        [
            Column("A", "State", STATE_CELL),
            Column("task_kind", "Kind"),
            Column("resource_name", "Resource"),
            Column("resource_id", "Resource id"),
            Column("B", "Progress", PROGRESS_CELL),
            Column("C", "Remaining", SECONDS_CELL),
            Column("D", "Estimated end", DATE_CELL),
            Column("E", "Running for", SECONDS_CELL),
            Column("F", "Unchanged for", SECONDS_CELL),
            Column("source", "Source", (frame.TO_SOURCE,)),
            Column("task_id", "Task", (frame.TO_TASK,)),
        ],
        "Tasks that have not ended. Remaining is the vendor's word, and empty where the vendor says nothing; the "
        "estimated end is the exporter's. Empty when there is no unfinished task.",
        height=10,
        sort=("Running for", True),
    )


def planned():
    """Work that waits for a time of its own, the next first."""
    plan = of_source("dbtask_task_scheduled_timestamp_seconds")
    scheduled = once(NAMED, in_cloud(named(while_in(("pending",), plan))))
    table = rows(
        "Planned work",
        [
            f"{scheduled} * 1000",
            f"{scheduled} - time()",
        ],
        [
            Column("A", "Begins", DATE_CELL),
            Column("B", "In", SECONDS_CELL),
            Column("task_kind", "Kind"),
            Column("resource_name", "Resource"),
            Column("resource_id", "Resource id"),
            Column("source", "Source", (frame.TO_SOURCE,)),
            Column("task_id", "Task", (frame.TO_TASK,)),
        ],
        "Work that waits for a time of its own, such as maintenance, and when it begins. Empty when nothing is planned.",
        height=6,
        sort=("In", False),
    )
    return with_runbook(table, "DbtaskPlannedWorkNear")


def failed():
    """Failed tasks that the exporter still shows."""
    def column(metric: str) -> str:
        return once(TASK, while_in(("failed",), of_source(metric)))

    error = once(f"{TASK}, code", while_in(("failed",), of_source("dbtask_task_error_info")))
    table = rows(
        "Failed tasks",
        [
            once(NAMED, in_cloud(named_state(("failed",)))),
            error,
            f"{column('dbtask_task_end_timestamp_seconds')} * 1000",
            column("dbtask_task_progress_ratio"),
        ],
        [
            Column("C", "Ended", DATE_CELL),
            Column("task_kind", "Kind"),
            Column("resource_name", "Resource"),
            Column("resource_id", "Resource id"),
            Column("code", "Error code"),
            Column("D", "Got as far as", PROGRESS_CELL),
            Column("source", "Source", (frame.TO_SOURCE,)),
            Column("task_id", "Task", (frame.TO_TASK,)),
        ],
        "Failed tasks, for as long as they are kept: retention.failed, by default a day. The vendor's text is on the "
        "exporter's status page. Empty when no task has failed.",
        height=8,
        sort=("Ended", True),
    )
    return with_runbook(table, "DbtaskTaskFailed")


def over_time() -> list:
    """How the tasks got on in the chosen time range."""
    states = lines(
        "Tasks by state",
        {"{{state}}": BY_STATE},
        "short",
        "How many tasks there were in each state.",
    )
    for state, color in STATE_COLORS.items():
        states.override_by_name(state, [fixed(color)])
    return [
        timeline(
            "States of tasks",
            {LEGEND: once(NAMED, in_cloud(named_state(STATES)))},
            STATE_WORDS,
            "What each task was doing. A band ends where the exporter stops showing its task. Empty when there is no "
            "task.",
        ),
        lines(
            "Progress",
            {LEGEND: once(NAMED, in_cloud(named(while_in(UNFINISHED, of_source("dbtask_task_progress_ratio")))))},
            "percentunit",
            "How far unfinished tasks were, as the vendor says it; a flat line is a task that does not move. Empty "
            "when there is no unfinished task.",
        )
        .min(0)
        .max(1),
        lines(
            "Remaining time",
            {LEGEND: once(NAMED, named(while_in(UNFINISHED, of_source("dbtask_task_remaining_seconds"))))},
            "s",
            "The time left as the vendor estimates it; a line that rises is bad news. Empty when no vendor says.",
        ),
        stacked(states),
        ended(),
    ]


def ended():
    """Ends of tasks, an hour's worth at each point."""
    def all_of(counter: str) -> str:
        return f"sum({events('source, task_kind', counter, '1h')})"

    return (
        lines(
            "Ended in the hour before",
            {
                "ended": all_of("dbtask_task_completions_total"),
                "failed": all_of(FAILURES),
                "canceled": all_of("dbtask_task_cancellations_total"),
            },
            "short",
            "Tasks that ended in the hour before each point, however they ended, and those of them that failed or were "
            "canceled. Empty when no task has been seen at all.",
        )
        .override_by_name("ended", [fixed(BLUE)])
        .override_by_name("failed", [fixed(RED)])
        .override_by_name("canceled", [fixed(GREY)])
    )


def outcomes() -> list:
    """What failed, and how long tasks take."""
    duration = in_cloud(f"increase({of_source('dbtask_task_duration_seconds_bucket')}[$__range])")

    def quantile(share: float) -> str:
        return f"histogram_quantile({share}, sum by (outcome, le) ({duration}))"

    return [
        bars(
            "Failures by kind, 24 h",
            {legend("source", "task_kind"): f"{events('source, task_kind', FAILURES, '24h')} > 0"},
            "short",
            "Failures counted in the last 24 hours, by source and kind. Empty when none was counted.",
            limits=thresholds(base=RED),
            width=12,
        ),
        bars(
            "Durations by outcome",
            {"{{outcome}}: half within": quantile(0.5), "{{outcome}}: nine in ten within": quantile(0.9)},
            "s",
            "How long the tasks took that ended in the chosen time range, from the vendor's start to the vendor's end, "
            "as far as the bounds of the histogram tell. Empty when no task ended.",
            width=12,
        ),
    ]
