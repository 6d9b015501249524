"""What the three dashboards have in common: variables, links, times."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

import panels

TAG = "dbtask"
TASKS, TASK, EXPORTER = "dbtask-tasks", "dbtask-task", "dbtask-exporter"

# Where the runbooks are, as the alert rules have it.
RUNBOOKS = "https://example.com/dbtask-exporter/docs/runbooks"

# The chosen exporters, as selectors have it.
PLACE = 'cluster=~"$cluster", namespace=~"$namespace"'
EXPORTER_CHOSEN = f'{PLACE}, job=~"$job", instance=~"$instance"'

# What a link takes along besides its own variables.
KEPT = (
    "${datasource:queryparam}&${cluster:queryparam}&${namespace:queryparam}&${job:queryparam}"
    "&${instance:queryparam}&${__url_time_range}"
)


def begin(uid: str, title: str, about: str) -> dashboard.Dashboard:
    """An empty dashboard that links to the others."""
    links = dashboard.DashboardLink("dbtask").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .refresh("1m")
        .time("now-6h", "now")
        .link(links.include_vars(True).keep_time(True).as_dropdown(False).icon("external link"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(place("cluster", ""))
        .with_variable(place("namespace", 'cluster=~"$cluster"'))
        .with_variable(choice("job", "Job", "dbtask_exporter_build_info", PLACE))
    )
    pages = dashboard.ConstantVariable("runbooks").label("Runbooks").value(RUNBOOKS)
    return built.with_variable(
        choice("instance", "Instance", "dbtask_exporter_build_info", f'{PLACE}, job=~"$job"')
    ).with_variable(pages)


def choice(
    name: str, label: str, metric: str, matchers: str
) -> dashboard.QueryVariable:
    """A variable with the values of a label, several or all of them."""
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    chosen = _values(name, label, metric, matchers).multi(True).include_all(True)
    return chosen.all_value(".+").current(everything)


def place(name: str, matchers: str) -> dashboard.QueryVariable:
    """A variable for a label that not every target has: All is also what has none."""
    return choice(name, name.capitalize(), "dbtask_exporter_build_info", matchers).all_value(".*")


def one(name: str, label: str, metric: str, matchers: str) -> dashboard.QueryVariable:
    """A variable with exactly one value of a label."""
    return _values(name, label, metric, matchers).multi(False).include_all(False)


def _values(
    name: str, label: str, metric: str, matchers: str
) -> dashboard.QueryVariable:
    selector = f"{metric}{{{matchers}}}" if matchers else metric
    query = f"label_values({selector}, {name})"
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(panels.SOURCE)
        .query(query)
        .definition(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def cloud() -> dashboard.QueryVariable:
    """The clouds of the chosen exporters."""
    return choice("cloud", "Cloud", "dbtask_source_info", EXPORTER_CHOSEN)


def source(*matchers: str) -> dashboard.QueryVariable:
    """The sources of the chosen exporters, and clouds where those can be chosen."""
    chosen = ", ".join((EXPORTER_CHOSEN, *matchers))
    return choice("source", "Source", "dbtask_source_info", chosen)


def link(title: str, url: str) -> model.DynamicConfigValue:
    """A link from the cells of a column, or from a number."""
    return panels.value("links", [{"title": title, "url": url}])


# From a row that has the columns Source and Task.
TO_TASK = link(
    "Show the task",
    f"/d/{TASK}?{KEPT}&var-source=${{__data.fields.Source:percentencode}}"
    "&var-task_id=${__data.fields.Task:percentencode}",
)
# From a row that has the column Source.
TO_SOURCE = link(
    "Show the source",
    f"/d/{EXPORTER}?{KEPT}&var-source=${{__data.fields.Source:percentencode}}",
)
TO_EXPORTER = link("Show sources and exporters", f"/d/{EXPORTER}?{KEPT}&${{source:queryparam}}")


def event(name: str, expression: str, title: str, color: str) -> dashboard.AnnotationQuery:
    """A mark at each time that the expression tells, in milliseconds."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(panels.SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expression)
        .use_value_for_time(True)
        .title_format(title)
        .step("60s")
    )


def finish(begun: dashboard.Dashboard) -> model.Dashboard:
    """Numbers the panels, in the order in which they are read."""
    built = begun.build()
    # The newest one that Grafana's own validator takes.
    built.schema_version = 42
    # Where people see them, not in a menu.
    for shown in [*(built.links or []), *(built.annotations.list_val or [])]:
        shown.placement = None
    number = 0
    for outer in built.panels or []:
        inner = outer.panels if isinstance(outer, model.RowPanel) else []
        for panel in (outer, *inner):
            number += 1
            panel.id_val = number
            for shown in getattr(panel, "links", None) or []:
                shown.placement = None
    return built
