"""PromQL in which every selector obeys the variables of the dashboard.

Two replicas poll, and count, on their own: what both report is taken once, by `max by` without
`instance`; only what each does itself, such as calls to a cloud, is added up. One store may hold
several clusters in which addresses, jobs and sources are called the same: what belongs to different
releases is never taken for one, and joins work though such labels are unknown or are not there.
"""

# What tells releases apart. A label that is not there is as good as an empty one.
RELEASE = "cluster, namespace, job, service"
# What tells targets apart, for `and` and `unless`, which never fail by what they do not know.
TARGET = "cluster, namespace, job, instance"

# Known things win over unknown ones where replicas differ, and a failure over all.
STATES = ("unknown", "pending", "running", "paused", "canceled", "succeeded", "failed")
UNFINISHED = ("unknown", "pending", "running", "paused")

TASK = "source, task_id"
NAMED = "source, task_id, task_kind, resource_id, resource_name"


def legend(*labels: str) -> str:
    """These labels, and the release's; Grafana writes nothing for a label that is not there."""
    return " ".join(f"{{{{{label}}}}}" for label in (*labels, "namespace", "cluster"))


def own(metric: str, *matchers: str) -> str:
    """Series of an exporter as a whole, or of Prometheus about it."""
    place = ('cluster=~"$cluster"', 'namespace=~"$namespace"', 'job=~"$job"', 'instance=~"$instance"')
    return f"{metric}{{{', '.join((*place, *matchers))}}}"


def of_source(metric: str, *matchers: str) -> str:
    """Series of the chosen sources."""
    return own(metric, 'source=~"$source"', *matchers)


def in_cloud(expression: str) -> str:
    """What belongs to sources of the chosen clouds; only the info of a source names its cloud."""
    info = of_source("dbtask_source_info", 'cloud=~"$cloud"')
    return f"({expression}) and on ({TARGET}, source) {info}"


def once(labels: str, expression: str) -> str:
    """Told by each replica, taken once."""
    return f"max by ({RELEASE}, {labels}) ({expression})"


def per_source(metric: str, *matchers: str) -> str:
    """A gauge of the chosen sources."""
    return once("source", in_cloud(of_source(metric, *matchers)))


def events(labels: str, counter: str, window: str, *matchers: str) -> str:
    """What each replica counted, taken once, in whole numbers: `increase` extrapolates."""
    counted = in_cloud(f"increase({of_source(counter, *matchers)}[{window}])")
    return f"round({once(labels, counted)})"


def state_is(states: tuple[str, ...], *matchers: str) -> str:
    """The tasks that are in one of these states."""
    selector = of_source("dbtask_task_state", f'state=~"{"|".join(states)}"', *matchers)
    return f"({selector} == 1)"


def while_in(states: tuple[str, ...], expression: str) -> str:
    """What belongs to tasks in one of these states, in the chosen clouds."""
    return in_cloud(f"({expression}) and on ({TARGET}, source, task_id) {state_is(states)}")


def state_code(states: tuple[str, ...], *matchers: str) -> str:
    """The state of tasks as its place in `STATES`, for panels that show nothing but numbers."""
    codes = (f"{STATES.index(state)} * {state_is((state,), *matchers)}" for state in states)
    return " or ".join(codes)


def named(expression: str, *labels: str) -> str:
    """The same with what the task is and works on; `labels` are those that it has besides source and task."""
    there = ", ".join((*labels, "task_kind, resource_id, resource_name, origin, severity"))
    return (
        f"({expression}) * ignoring ({there})"
        f" group_left (task_kind, resource_id, resource_name) {of_source('dbtask_task_info')}"
    )


def named_state(states: tuple[str, ...]) -> str:
    """The state of tasks by its number, with what they are and work on."""
    return named(state_code(states), "state")


def began(*matchers: str) -> str:
    """When tasks began, or were asked for where the vendor does not say more."""
    start = of_source("dbtask_task_start_timestamp_seconds", *matchers)
    return f"{start} or {of_source('dbtask_task_created_timestamp_seconds', *matchers)}"
