"""The dashboard Exporter: whether what the others show is fresh, and what it costs."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

import frame
from panels import (
    BLUE,
    COUNT_CELL,
    GREEN,
    ORANGE,
    RED,
    SECONDS_CELL,
    UP_WORDS,
    Column,
    alarming,
    bars,
    buckets,
    lines,
    number,
    rows,
    thresholds,
    timeline,
    value,
    with_runbook,
    words,
)
from query import RELEASE, events, in_cloud, legend, of_source, once, own, per_source

API_FAILURES = "dbtask_api_request_failures_total"
GOOD_WORDS = words({0: ("failed", RED), 1: ("good", GREEN)})
FAILING_WORDS = words({0: ("no", GREEN), 1: ("yes", RED)})


def build() -> model.Dashboard:
    """The whole dashboard."""
    begun = (
        frame.begin(
            frame.EXPORTER,
            "Database task exporter",
            "Sources, calls to the clouds and the exporter itself: whether the tasks shown are fresh, and what they cost.",
        )
        .with_variable(frame.cloud())
        .with_variable(frame.source('cloud=~"$cloud"'))
        .annotation(
            frame.event(
                "Starts",
                f"{own('process_start_time_seconds')} * 1000",
                f"{legend('instance')} was started",
                BLUE,
            )
        )
    )
    for panel in (*at_a_glance(), sources()):
        begun.with_panel(panel)
    for title, panels in (
        ("Freshness", freshness()),
        ("Calls to the clouds", calls()),
        ("The exporter itself", itself()),
    ):
        begun.with_row(dashboard.Row(title))
        for panel in panels:
            begun.with_panel(panel)
    return frame.finish(begun)


def calls_counted(counter: str, window: str, *matchers: str) -> str:
    """Every replica makes calls of its own, so they are added up, and rounded as counts are."""
    return f"sum(round({in_cloud(f'increase({of_source(counter, *matchers)}[{window}])')}))"


def call_rate(labels: str, counter: str, *matchers: str) -> str:
    """The same a second."""
    rate = in_cloud(f"rate({of_source(counter, *matchers)}[$__rate_interval])")
    return f"sum by ({RELEASE}, {labels}) ({rate})"


def at_a_glance() -> list:
    """What is broken."""
    shown = [
        number(
            "Exporters down",
            f"sum(1 - {own('up')})",
            "short",
            "Exporters that Prometheus could not scrape at its last try.",
            limits=thresholds((1, RED)),
        ),
        number(
            "Sources down",
            f"sum(1 - {per_source('dbtask_source_up')})",
            "short",
            "Sources whose last poll failed, at every replica.",
            limits=thresholds((1, RED)),
        ),
        number(
            "Oldest data",
            f"max(time() - {per_source('dbtask_source_last_success_timestamp_seconds')})",
            "s",
            "The age of the oldest source's last good poll: what is shown of its tasks is as old as that.",
            limits=thresholds((300, ORANGE), (900, RED)),
        ),
        number(
            "Failed calls, 1 h",
            calls_counted(API_FAILURES, "1h"),
            "short",
            "Requests to the clouds that failed in the last hour, for whatever reason.",
            limits=thresholds((1, ORANGE), (100, RED)),
        ),
        number(
            "Throttled, 1 h",
            calls_counted(API_FAILURES, "1h", 'reason="throttled"'),
            "short",
            "Requests of the last hour that the clouds refused as too many.",
            limits=thresholds((1, ORANGE), (50, RED)),
        ),
        number(
            "Least budget left",
            f"min({budget_left()})",
            "percentunit",
            "The share of its daily budget that the thriftiest account still has until midnight UTC. Empty when no "
            "credentials have a daily_budget.",
            limits=thresholds((0.05, ORANGE), (0.2, GREEN), base=RED),
        ),
        number(
            "Configuration",
            f"min({own('dbtask_exporter_config_last_reload_successful')})",
            "none",
            "Whether the last reading of the configuration and of every tasks file went well, at every exporter.",
        ).mappings(GOOD_WORDS),
        number(
            "Journal",
            f"min({own('dbtask_exporter_journal_last_write_successful')})",
            "none",
            "Whether the last write to the journal went well, at every exporter. Empty when none has a --storage.path.",
        ).mappings(GOOD_WORDS),
    ]
    # In the order of the panels; failed calls have none of their own.
    alerts = [
        "DbtaskExporterDown",
        "DbtaskSourceDown",
        "DbtaskSourceStale",
        None,
        "DbtaskApiThrottled",
        "DbtaskBudgetNearlySpent",
        "DbtaskConfigReloadFailed",
        "DbtaskJournalNotWritable",
    ]
    return [
        with_runbook(panel, alert) if alert else panel for panel, alert in zip(shown, alerts)
    ]


def budget_left() -> str:
    """What is left of the daily budgets, by source; replicas have budgets of their own."""
    remaining, limit = of_source("dbtask_api_budget_remaining"), of_source("dbtask_api_budget_limit")
    return f"min by ({RELEASE}, source) ({in_cloud(f'{remaining} / {limit}')})"


def sources():
    """Every source."""
    info = of_source("dbtask_source_info", 'cloud=~"$cloud"')
    labels = "source, cloud, api, cloud_region, account"
    up = (
        f"{of_source('dbtask_source_up')} * ignoring (cloud, api, cloud_region, account)"
        f" group_left (cloud, api, cloud_region, account) {info}"
    )
    failing = once("source, reason", in_cloud(of_source("dbtask_source_resources_failing")))
    table = rows(
        "Sources",
        [
            once(labels, up),
            f"time() - {per_source('dbtask_source_last_success_timestamp_seconds')}",
            per_source("dbtask_source_poll_interval_seconds"),
            per_source("dbtask_source_last_poll_duration_seconds"),
            f"sum by ({RELEASE}, source) ({events('source, reason', 'dbtask_source_poll_failures_total', '1h')})",
            per_source("dbtask_source_tasks_truncated"),
            per_source("dbtask_source_resources_missing"),
            f"sum by ({RELEASE}, source) ({failing}) or 0 * {per_source('dbtask_source_up')}",
            f"{per_source('dbtask_source_discovery_failing')} or 0 * {per_source('dbtask_source_up')}",
            events("source", "dbtask_source_coverage_gaps_total", "24h"),
            f"{per_source('dbtask_source_credentials_expiry_timestamp_seconds')} - time()",
        ],
        [
            Column("source", "Source"),
            Column("A", "Last poll", (value("mappings", UP_WORDS), *alarming())),
            Column("B", "Age of data", (*SECONDS_CELL, *alarming((300, ORANGE), (900, RED)))),
            Column("C", "Poll interval", SECONDS_CELL),
            Column("D", "Poll took", (value("unit", "s"),)),
            Column("E", "Failed polls, 1 h", (*COUNT_CELL, *alarming((1, ORANGE)))),
            Column("F", "Tasks hidden", (*COUNT_CELL, *alarming((1, ORANGE)))),
            Column("G", "Resources missing", (*COUNT_CELL, *alarming((1, ORANGE)))),
            Column("H", "Resources failing", (*COUNT_CELL, *alarming((1, ORANGE)))),
            Column("I", "Search failing", (value("mappings", FAILING_WORDS), *alarming())),
            Column("J", "Coverage gaps, 24 h", (*COUNT_CELL, *alarming((1, ORANGE)))),
            Column("K", "Credentials end in", SECONDS_CELL),
            Column("cloud", "Cloud"),
            Column("api", "API"),
            Column("cloud_region", "Region"),
            Column("account", "Account"),
        ],
        "Every source at its last poll. Hidden tasks are those beyond limits.tasks_per_source; a coverage gap is a "
        "time in which tasks may have come and gone unseen; credentials have an end where they are a session. Failing "
        "are resources and task ids that the cloud did not tell of when last asked. A search that fails finds no new "
        "clusters or instances; those that are known are polled all the same.",
        height=9,
        sort=("Age of data", True),
    )
    return with_runbook(table, "DbtaskResourceFailing")


def freshness() -> list:
    """Since when polls fail, and why."""
    return [
        timeline(
            "Polls",
            {legend("source"): per_source("dbtask_source_up")},
            UP_WORDS,
            "Whether the last poll of each source went well.",
            width=12,
            height=8,
        ),
        lines(
            "Age of data",
            {legend("source"): f"time() - {per_source('dbtask_source_last_success_timestamp_seconds')}"},
            "s",
            "How old the last good poll of each source was; a saw as high as the poll interval is as it should be.",
        ),
        with_runbook(
            timeline(
                "Search failing",
                {
                    legend("source", "reason"): (
                        f"{once('source, reason', in_cloud(of_source('dbtask_source_discovery_failing')))}"
                        f" or ignoring (reason) 0 * {per_source('dbtask_source_up')}"
                    )
                },
                FAILING_WORDS,
                "Whether the last search for clusters or instances failed, and why. Those that are known are polled all "
                "the same; new ones are not found. A source that names its resources has nothing to search for.",
                height=6,
            ),
            "DbtaskDiscoveryFailing",
        ),
        bars(
            "Failed polls by reason, 1 h",
            {
                legend("source", "reason"): f"{events('source, reason', 'dbtask_source_poll_failures_total', '1h')} > 0"
            },
            "short",
            "Polls of the last hour that failed. Empty when none did.",
            limits=thresholds(base=ORANGE),
            width=12,
        ),
        bars(
            "Values not understood, 24 h",
            {
                legend("source", "field"): f"{events('source, field', 'dbtask_source_unknown_values_total', '24h')} > 0"
            },
            "short",
            "Values in the vendors' answers that could not be read, such as status words that nobody has documented; "
            "the log names them. Empty when everything was understood.",
            limits=thresholds(base=ORANGE),
            width=12,
        ),
    ]


def calls() -> list:
    """What is asked of the clouds, and how they answer."""
    seconds = own("dbtask_api_request_duration_seconds_bucket", 'cloud=~"$cloud"')
    return [
        lines(
            "Calls",
            {legend("source", "operation"): call_rate("source, operation", "dbtask_api_requests_total")},
            "reqps",
            "Requests sent to the clouds, by source and operation, over all replicas.",
        ),
        lines(
            "Failed calls",
            {legend("source", "reason"): f"{call_rate('source, reason', API_FAILURES)} > 0"},
            "reqps",
            "Requests that failed, by source and reason. Empty when none did.",
        ),
        lines(
            "Throttled calls",
            {
                legend("source", "operation"): call_rate(
                    "source, operation", API_FAILURES, 'reason="throttled"'
                )
            },
            "reqps",
            "Requests that the clouds refused as too many; anything above zero for long wants a longer interval.",
        ),
        lines(
            "Latency, nine in ten",
            {
                "{{api}} {{operation}}": "histogram_quantile(0.9, sum by (api, operation, le)"
                f" (rate({seconds}[$__rate_interval])))"
            },
            "s",
            "The time within which nine in ten requests were answered, failures included. The sources share it: it "
            "follows the cloud that is chosen, not the source.",
        ),
        buckets(
            "Latency",
            f"sum by (le) (increase({seconds}[$__rate_interval]))",
            "How many requests took how long, failures included. It follows the cloud that is chosen, not the source.",
        ),
        bars(
            "Budget left today",
            {legend("source"): budget_left()},
            "percentunit",
            "The share of the account's daily budget that is left until midnight UTC. Empty when no credentials have a "
            "daily_budget.",
            limits=thresholds((0.05, ORANGE), (0.2, BLUE), base=RED),
            width=6,
        ).max(1),
        lines(
            "Calls not sent",
            {legend("source"): call_rate("source", "dbtask_api_requests_shed_total")},
            "reqps",
            "Requests that were not sent, to spare the daily budget.",
            width=6,
        ),
    ]


def itself() -> list:
    """The process, and what it serves."""
    instance = legend("instance")
    return [
        lines(
            "Scrapes take",
            {instance: own("scrape_duration_seconds")},
            "s",
            "How long Prometheus' scrapes of each exporter took.",
            width=8,
        ),
        lines(
            "Samples in a scrape",
            {instance: own("scrape_samples_scraped")},
            "short",
            "How many samples each scrape brought: about 17 for a task and 120 for a source.",
            width=8,
        ),
        lines(
            "Memory",
            {instance: own("process_resident_memory_bytes")},
            "bytes",
            "Resident memory of each exporter.",
            width=8,
        ),
        lines(
            "Processor",
            {instance: f"rate({own('process_cpu_seconds_total')}[$__rate_interval])"},
            "percentunit",
            "Processor time that each exporter uses, as a share of one core.",
            width=8,
        ),
        lines(
            "Open files",
            {
                instance: own("process_open_fds"),
                f"{instance} may have": own("process_max_fds"),
            },
            "short",
            "File descriptors of each exporter, and how many it may have.",
            width=8,
        ),
        lines(
            "Registrations",
            {
                f"{instance} registered": own("dbtask_exporter_registrations"),
                f"{instance} {{{{outcome}}}} in the hour before": (
                    f"round(increase({own('dbtask_exporter_registration_requests_total')}[1h]))"
                ),
            },
            "short",
            "Task ids that are registered at run time, and the requests to register one or take it back.",
            width=8,
        ),
        rows(
            "Exporters",
            [
                once("instance, version, revision", own("dbtask_exporter_build_info")),
                f"time() - {once('instance', own('process_start_time_seconds'))}",
                f"time() - {once('instance', own('dbtask_exporter_config_last_reload_success_timestamp_seconds'))}",
                once("instance", own("dbtask_exporter_journal_last_write_successful")),
                once("instance", own("dbtask_exporter_journals_set_aside")),
            ],
            [
                Column("instance", "Instance"),
                Column("job", "Job"),
                Column("version", "Version"),
                Column("revision", "Revision"),
                Column("B", "Up for", SECONDS_CELL),
                Column("C", "Configuration read", SECONDS_CELL),
                Column("D", "Journal", (value("mappings", GOOD_WORDS), *alarming())),
                Column("E", "Journals set aside", (*COUNT_CELL, *alarming((1, ORANGE)))),
            ],
            "Every exporter: its build, and how long ago it was started and last read its configuration. A journal that "
            "was set aside could not be read: counters began anew.",
            height=6,
        ),
    ]
