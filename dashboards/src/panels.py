"""Panels, variables and links in one style, on Grafana's foundation SDK."""

import typing

from grafana_foundation_sdk.builders import bargauge, common, dashboard, gauge, heatmap, stat
from grafana_foundation_sdk.builders import prometheus, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

import query

# Colours that people with any colour vision tell apart (Okabe and Ito), and grey.
BLUE, GREEN, ORANGE, RED = "#0072B2", "#009E73", "#E69F00", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#999999"

STATE_COLORS = {
    "unknown": PURPLE,
    "pending": SKY,
    "running": BLUE,
    "paused": ORANGE,
    "canceled": GREY,
    "succeeded": GREEN,
    "failed": RED,
}

SOURCE = shared.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Rates look back over four of these, so that a scrape a minute is enough.
MIN_STEP = "1m"

Panel = stat.Panel | gauge.Panel | bargauge.Panel | timeseries.Panel | statetimeline.Panel
Panel |= heatmap.Panel | table.Panel
Styled = typing.TypeVar(
    "Styled",
    stat.Panel,
    gauge.Panel,
    bargauge.Panel,
    timeseries.Panel,
    statetimeline.Panel,
    heatmap.Panel,
    table.Panel,
)


class Queries:
    """Queries of one panel, lettered in order."""

    def __init__(self, style: typing.Callable[[prometheus.Dataquery], prometheus.Dataquery]):
        self.style = style

    def of(self, expressions: dict[str, str]) -> list[prometheus.Dataquery]:
        """One query for each legend."""
        return [
            self.style(prometheus.Dataquery().expr(expression).legend_format(legend))
            .ref_id(chr(ord("A") + number))
            .datasource(SOURCE)
            for number, (legend, expression) in enumerate(expressions.items())
        ]


NOW = Queries(lambda it: it.instant())
NOW_AS_TABLE = Queries(lambda it: it.instant().format(PromQueryFormat.TABLE))
OVER_TIME = Queries(lambda it: it.range().interval(MIN_STEP))
BUCKETS = Queries(lambda it: it.range().interval(MIN_STEP).format(PromQueryFormat.HEATMAP))


def thresholds(*steps: tuple[float, str], base: str = GREEN) -> dashboard.ThresholdsConfig:
    """From `base` on, each step begins at its value."""
    first = model.Threshold(value=None, color=base)
    rest = [model.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps([first, *rest])


def words(texts: dict[int, tuple[str, str]]) -> list[model.ValueMapping]:
    """Text and colour for numbers."""
    return [
        model.ValueMap(
            options={
                str(number): model.ValueMappingResult(text=text, color=color, index=index)
                for index, (number, (text, color)) in enumerate(texts.items())
            }
        )
    ]


STATE_WORDS = words(
    {query.STATES.index(state): (state, color) for state, color in STATE_COLORS.items()}
)
UP_WORDS = words({0: ("down", RED), 1: ("up", GREEN)})


def value(id: str, value: object) -> model.DynamicConfigValue:
    """One property of an override."""
    return model.DynamicConfigValue(id_val=id, value=value)


def fixed(color: str) -> model.DynamicConfigValue:
    """A series in this colour."""
    return value("color", {"mode": "fixed", "fixedColor": color})


def _begun(panel: Styled, title: str, size: tuple[int, int], unit: str, about: str) -> Styled:
    width, height = size
    return (
        panel.title(title).description(about).unit(unit).span(width).height(height)
    ).datasource(SOURCE)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _legend(*calcs: str) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).placement(shared.LegendPlacement.BOTTOM)
    mode = shared.LegendDisplayMode.TABLE if calcs else shared.LegendDisplayMode.LIST
    return legend.display_mode(mode).calcs(list(calcs))


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions()
        .mode(shared.TooltipDisplayMode.MULTI)
        .sort(shared.SortOrder.DESCENDING)
    )


def number(
    title: str,
    expressions: str | dict[str, str],
    unit: str,
    about: str,
    *,
    width: int = 3,
    limits: dashboard.ThresholdsConfig | None = None,
) -> stat.Panel:
    """One number now, or several side by side."""
    several = isinstance(expressions, dict)
    queries = NOW.of(expressions if isinstance(expressions, dict) else {"": expressions})
    return (
        _begun(stat.Panel(), title, (width, 4), unit, about)
        .targets(list(queries))
        .reduce_options(_last())
        .graph_mode(shared.BigValueGraphMode.NONE)
        .color_mode(shared.BigValueColorMode.VALUE)
        .text_mode(shared.BigValueTextMode.VALUE_AND_NAME if several else shared.BigValueTextMode.VALUE)
        .thresholds(limits or thresholds(base=BLUE))
    )


def dial(title: str, expression: str, about: str, *, width: int) -> gauge.Panel:
    """One share of 0 to 1, now."""
    return (
        _begun(gauge.Panel(), title, (width, 4), "percentunit", about)
        .targets(list(NOW.of({"": expression})))
        .reduce_options(_last())
        .min(0)
        .max(1)
        .thresholds(thresholds(base=BLUE))
    )


def bars(
    title: str,
    expressions: dict[str, str],
    unit: str,
    about: str,
    *,
    width: int = 8,
    height: int = 8,
    limits: dashboard.ThresholdsConfig | None = None,
) -> bargauge.Panel:
    """Bars of what is now, one for each series."""
    return (
        _begun(bargauge.Panel(), title, (width, height), unit, about)
        .targets(list(NOW.of(expressions)))
        .reduce_options(_last())
        .orientation(shared.VizOrientation.HORIZONTAL)
        .display_mode(shared.BarGaugeDisplayMode.BASIC)
        .value_mode(shared.BarGaugeValueMode.TEXT)
        .show_unfilled(True)
        .min(0)
        .thresholds(limits or thresholds(base=BLUE))
    )


def lines(
    title: str,
    expressions: dict[str, str],
    unit: str,
    about: str,
    *,
    width: int = 12,
    height: int = 8,
) -> timeseries.Panel:
    """Lines over time. A gap stays one: what has ended ends."""
    return (
        _begun(timeseries.Panel(), title, (width, height), unit, about)
        .targets(list(OVER_TIME.of(expressions)))
        .draw_style(shared.GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(0)
        .show_points(shared.VisibilityMode.AUTO)
        .span_nulls(False)
        .legend(_legend())
        .tooltip(_tooltip())
    )


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Lines on top of each other."""
    mode = common.StackingConfig().mode(shared.StackingMode.NORMAL).group("A")
    return panel.fill_opacity(40).line_width(1).stacking(mode)


def timeline(
    title: str,
    expressions: dict[str, str],
    mappings: list[model.ValueMapping],
    about: str,
    *,
    width: int = 24,
    height: int = 10,
) -> statetimeline.Panel:
    """A band for each series, in the colour of what it was; it ends where the series ends."""
    return (
        _begun(statetimeline.Panel(), title, (width, height), "none", about)
        .targets(list(OVER_TIME.of(expressions)))
        .mappings(mappings)
        .merge_values(True)
        .show_value(shared.VisibilityMode.AUTO)
        .row_height(0.8)
        .per_page(20)
        .fill_opacity(80)
        .line_width(0)
        .legend(_legend())
        .tooltip(_tooltip())
    )


def buckets(title: str, expression: str, about: str, *, width: int = 12) -> heatmap.Panel:
    """How a histogram moved: columns of time, rows of its bounds in seconds."""
    scheme = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Cividis")
    colors = scheme.scale(heat.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64)
    return (
        _begun(heatmap.Panel(), title, (width, 8), "short", about)
        .targets(list(BUCKETS.of({"{{le}}": expression})))
        .calculate(False)
        .color(colors)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .cell_gap(1)
        .exemplars_color(PURPLE)
    )


def with_runbook(panel: Styled, alert: str) -> Styled:
    """A panel that links to what to do when it shows the trouble that an alert is for."""
    page = dashboard.DashboardLink("Runbook").type(model.DashboardLinkType.LINK)
    return panel.links([page.url(f"${{runbooks}}/{alert}.md").target_blank(True)])


class Column(typing.NamedTuple):
    """A column of a table; `field` is a label, or the letter of the query whose value it shows."""

    field: str
    title: str
    properties: tuple[model.DynamicConfigValue, ...] = ()


def rows(
    title: str,
    expressions: list[str],
    columns: list[Column],
    about: str,
    *,
    height: int = 9,
    width: int = 24,
    sort: tuple[str, bool] | None = None,
) -> table.Panel:
    """A table of what is now: the queries joined by the labels that they share. `sort` names a
    column, and says whether the largest is first."""
    queries = NOW_AS_TABLE.of({f"{number}": it for number, it in enumerate(expressions)})
    for it in queries:
        it.legend_format("")
    # With one query only, Grafana does not add its letter to the name of the value.
    letters = {chr(ord("A") + number) for number in range(len(expressions))}
    def name(field: str) -> str:
        if field not in letters:
            return field
        return f"Value #{field}" if len(letters) > 1 else "Value"

    # Where targets have no such labels, Grafana has no such columns.
    columns = [*columns, Column("namespace", "Namespace"), Column("cluster", "Cluster")]
    shown = {name(column.field): column for column in columns}
    organize: dict[str, object] = {
        "excludeByName": {"Time": True}
        | {label: True for label in ("job", "service") if label not in shown}
        | {name(letter): True for letter in sorted(letters) if name(letter) not in shown},
        "indexByName": {field: index for index, field in enumerate(shown)},
        "renameByName": {field: column.title for field, column in shown.items()},
    }
    panel = (
        _begun(table.Panel(), title, (width, height), "none", about)
        .targets(list(queries))
        .show_header(True)
        .cell_height(shared.TableCellHeight.SM)
        .cell_options(shared.TableAutoCellOptions())
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
        .thresholds(thresholds(base=BLUE))
    )
    for column in columns:
        if column.properties:
            panel.override_by_name(column.title, list(column.properties))
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    return panel


COLORED = value("custom.cellOptions", {"type": "color-background", "mode": "basic"})
STATE_CELL = (value("mappings", STATE_WORDS), COLORED, value("custom.width", 100))
PROGRESS_CELL = (
    value("unit", "percentunit"),
    value("min", 0),
    value("max", 1),
    value("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}),
)
# Grafana's dates are in milliseconds.
DATE_CELL = (value("unit", "dateTimeFromNow"),)
SECONDS_CELL = (value("unit", "s"), value("decimals", 0))
COUNT_CELL = (value("unit", "short"), value("decimals", 0))


def alarming(*steps: tuple[float, str]) -> tuple[model.DynamicConfigValue, ...]:
    """A cell whose text has a colour from each of these values on."""
    return (
        value("thresholds", thresholds(*steps).build()),
        value("custom.cellOptions", {"type": "color-text"}),
    )
