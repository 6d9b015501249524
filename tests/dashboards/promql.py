"""What a query is made of, by a parser of PromQL."""

import promql_parser as promql


def nodes(expression):
    """Every part of a query; a query that does not parse is a ValueError."""
    found = []
    promql.walk(promql.parse(expression), found.append)
    return found


def selectors(expression):
    """Every selector of series, with or without a range."""
    return [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]


def ranges(expression, *functions):
    """The range of each selector that one of these functions is called with, in seconds."""
    return [
        argument.range.total_seconds()
        for name, arguments in calls(expression)
        for argument in arguments
        if name in functions and isinstance(argument, promql.MatrixSelector)
    ]


def matchers(selector):
    """Labels, and how and by what they are selected: `{"job": ("=~", "$job")}`."""
    signs = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    return {
        it.name: (signs[str(it.op).rsplit(".", 1)[-1]], it.value)
        for it in selector.matchers.matchers
    }


def calls(expression):
    """The name of each function that is called, and its arguments."""
    return [
        (node.func.name, list(node.args))
        for node in nodes(expression)
        if isinstance(node, promql.Call)
    ]


def groups(expression):
    """The labels by which each aggregation groups."""
    found = [node.modifier for node in nodes(expression) if isinstance(node, promql.AggregateExpr)]
    return [set(it.labels) for it in found if it and "By" in str(it.type)]


def joins(expression):
    """Each operator that matches on named labels, and these."""
    found = [node for node in nodes(expression) if isinstance(node, promql.BinaryExpr) and node.modifier]
    matching = [(str(it.op), it.modifier.matching) for it in found if it.modifier.matching]
    return [(operator, set(it.labels)) for operator, it in matching if "Include" in str(it.type)]


def labels(expression):
    """Every label that a query groups, joins or selects by."""
    found = set()
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            found.update(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier:
            found.update(node.modifier.matching.labels if node.modifier.matching else [])
            found.update(node.modifier.group_labels or [])
        if isinstance(node, promql.VectorSelector):
            found.update(matchers(node))
    return found
