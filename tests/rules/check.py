"""What promtool lets pass in a file of rules: comparisons, windows, joins, labels, annotations, runbooks."""

import re
from pathlib import Path

import promql_parser as promql
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules" / "dbtask.rules.yml"
RUNBOOKS = "https://example.com/dbtask-exporter/docs/runbooks/"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
# What Prometheus adds to every series; `severity` is what an operator may add (docs/alerts.md). These
# stand for all labels of a target: what is true of them is true of those that nobody here knows.
TARGET = {"job", "instance"}
# What tells the replicas of one release apart, or two Prometheus that scrape the same.
REPLICA = {"instance", "pod", "container", "endpoint", "node", "replica", "prometheus_replica"}
# Labels of targets that annotations speak of where they are there.
PLACE = {"cluster", "namespace"}
# Labels that may change while an alert lasts: each change would be a new alert.
CHANGING = {"instance", "resource_name", "origin", "status", "code", "reason"}
ADDED = {"dbtask_task_info": {"severity"}}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def metrics():
    """The labels of every metric, by docs/metrics.md, which is written from the code."""
    known = {"up": set(TARGET)}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        if row := re.fullmatch(r"\| `(\w+)` \| (\w+) \| (.*?) \| .* \|", line):
            name, kind, labels = row.groups()
            labels = set(re.findall(r"`(\w+)`", labels)) | TARGET | ADDED.get(name, set())
            if kind == "histogram":
                known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                known[name] = labels
    return known


def seconds(text):
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text or "0s"))


def children(node):
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return list(node.args)
        case promql.AggregateExpr() | promql.SubqueryExpr() | promql.ParenExpr() | promql.UnaryExpr():
            return [node.expr]
        case promql.MatrixSelector():
            return [node.vector_selector]
        case _:
            return []


def walk(node):
    yield node
    for child in children(node):
        yield from walk(child)


def labels_of(node, known):
    """The labels that a result may have; None for a number."""
    match node:
        case promql.VectorSelector():
            return known.get(node.name, set())
        case promql.AggregateExpr():
            below = labels_of(node.expr, known) or set()
            modifier = node.modifier
            if modifier is None:
                return set()
            named = set(modifier.labels)
            return named if "By" in str(modifier.type) else below - named
        case promql.BinaryExpr():
            left, right = labels_of(node.lhs, known), labels_of(node.rhs, known)
            if left is None or right is None:
                return left if right is None else right
            matching = node.modifier.matching if node.modifier else None
            card = str(node.modifier.card) if node.modifier else ""
            copied = set(node.modifier.group_labels or []) if "ManyToOne" in card else set()
            if str(node.op) == "or":
                return left | right
            if str(node.op) in ("and", "unless") or matching is None or "ManyToOne" in card:
                return left | copied
            return left - set(matching.labels)
        case promql.NumberLiteral() | promql.StringLiteral():
            return None
        case promql.Call() if node.func.name in ("time", "vector", "scalar"):
            return None
        case promql.Call() if node.func.name.startswith("absent"):
            selected = [m for n in walk(node) if isinstance(n, promql.VectorSelector) for m in n.matchers.matchers]
            return {m.name for m in selected if str(m.op).endswith(".Equal")}
        case promql.Call() if node.func.name == "histogram_quantile":
            return labels_of(node.args[1], known) - {"le"}
    found = [labels_of(child, known) for child in children(node)]
    return next((labels for labels in found if labels is not None), None)


def problems(text, runbooks=ROOT / "docs" / "runbooks"):
    """Everything that is wrong, one line each."""
    known, found = metrics(), []
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    trees = {}
    for rule in rules:
        name = rule.get("alert") or rule["record"]
        try:
            trees[name] = promql.parse(rule["expr"])
        except ValueError as error:
            found.append(f"{name}: does not parse: {error}")
            continue
        if "record" in rule:
            # It may read itself, so the labels are known after a first round.
            for _ in range(2):
                known[name] = labels_of(trees[name], known)
    for rule in rules:
        name = rule.get("alert") or rule["record"]
        if name in trees:
            found += [f"{name}: {problem}" for problem in query_problems(trees[name], known)]
            if "alert" in rule:
                found += [f"{name}: {problem}" for problem in alert_problems(rule, trees[name], runbooks)]
                found += [f"{name}: {problem}" for problem in template_problems(rule, trees[name], labels_of(trees[name], known))]
    return found


def query_problems(tree, known):
    for node in walk(tree):
        match node:
            case promql.VectorSelector():
                if node.name not in known:
                    yield f"{node.name} is not exported"
                    continue
                for matcher in node.matchers.matchers:
                    if matcher.name not in known[node.name]:
                        yield f"{node.name} has no label {matcher.name}"
            case promql.MatrixSelector() | promql.SubqueryExpr() if node.range.total_seconds() < 240:
                yield f"a window of {node.range}, shorter than 4 minutes"
            case promql.AggregateExpr():
                named = set(node.modifier.labels if node.modifier else [])
                if node.modifier is None or "By" in str(node.modifier.type):
                    yield "aggregates by labels: what the user adds to targets would be lost"
                if named & REPLICA and not REPLICA <= named:
                    yield f"leaves out {', '.join(sorted(named & REPLICA))} but not all that tells replicas apart"
                for label in sorted(named - REPLICA - (labels_of(node.expr, known) or set())):
                    yield f"aggregates without {label}, which is not there"
                if str(node.op) in ("topk", "bottomk"):
                    yield f"{node.op} makes alerts come and go"
            case promql.BinaryExpr():
                yield from join_problems(node, known)


def join_problems(node, known):
    sides = [labels_of(side, known) for side in (node.lhs, node.rhs)]
    if None in sides:
        return
    modifier = node.modifier
    matching = modifier.matching if modifier else None
    ignored = set(matching.labels if matching else [])
    if matching is not None and "Include" in str(matching.type):
        # Whether any target is there is asked of what a release is known by, whatever else it is called.
        if {n.name for n in walk(node) if isinstance(n, promql.VectorSelector)} != {"up"}:
            yield "joins on labels: what the user adds to targets would not be looked at"
        return
    for label in sorted(ignored & (TARGET | REPLICA | PLACE)):
        yield f"a join that ignores {label}: replicas break it"
    for label in sorted(ignored - set.union(*sides)):
        yield f"a join that ignores {label}, which no side has"
    absent = str(node.op) == "or" and any(isinstance(n, promql.Call) and n.func.name.startswith("absent") for n in walk(node))
    for label in sorted((sides[0] ^ sides[1]) - ignored if not absent else []):
        yield f"a join that never matches: only one side has {label}"
    if modifier and "ManyToOne" in str(modifier.card):
        for label in modifier.group_labels or []:
            if label not in sides[1]:
                yield f"takes {label} from a side that does not have it"


def alert_problems(rule, tree, runbooks):
    name, labels, annotations = rule["alert"], rule.get("labels", {}), rule.get("annotations", {})
    if not re.fullmatch(r"Dbtask([A-Z][a-z]+)+", name):
        yield "is not named as an alert of ours"
    if not any(isinstance(node, promql.BinaryExpr) and str(node.op) in COMPARISONS for node in walk(tree)):
        yield "compares nothing"
    # Prometheus restores shorter ones after a restart no more than what keep_firing_for kept.
    if "for" in rule and seconds(rule["for"]) < 600:
        yield "`for` is shorter than 10 minutes: a restart of Prometheus begins it anew"
    if "for" not in rule and not any(isinstance(node, promql.MatrixSelector) for node in walk(tree)):
        yield "has neither `for` nor a memory"
    if "keep_firing_for" in rule:
        yield "relies on keep_firing_for, which a restart of Prometheus forgets"
    severities = re.sub(r"\{\{.*?\}\}", " ", labels.get("severity", "")).split()
    if not severities or not set(severities) <= {"critical", "warning", "info"}:
        yield "has no severity"
    if any("$value" in value or ".Value" in value for value in labels.values()):
        yield "has its value in a label: each change would be a new alert"
    summary = annotations.get("summary", "")
    if not re.fullmatch(r"[A-Z][^{}]*\.", summary):
        yield "its summary is not one static sentence"
    if "$labels." not in annotations.get("description", ""):
        yield "its description names nothing"
    if annotations.get("runbook_url") != f"{RUNBOOKS}{name}.md":
        yield "its runbook_url does not lead to its runbook"
    yield from runbook_problems(runbooks / f"{name}.md")


def template_problems(rule, tree, labels):
    chosen = {m.name for node in walk(tree) if isinstance(node, promql.VectorSelector) for m in node.matchers.matchers
              if str(m.op).endswith(".Equal")}
    for label in sorted(labels & CHANGING - chosen):
        yield f"has the label {label}, which may change: each change would be a new alert"
    used = set(re.findall(r"\$labels\.(\w+)", " ".join([*rule.get("annotations", {}).values(), *rule.get("labels", {}).values()])))
    for label in sorted(used - labels - PLACE):
        yield f"speaks of the label {label}, which it does not have"
    wanted = {"task_id", "task_kind", "resource_id", "cloud"} if "task_id" in labels else {"source"} & labels
    description = set(re.findall(r"\$labels\.(\w+)", rule.get("annotations", {}).get("description", "")))
    for label in sorted(wanted - description):
        yield f"its description does not name {label}"


def runbook_problems(page):
    if not page.exists():
        yield "has no runbook"
        return
    parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    if parts[0].strip() != f"# {page.stem}" or parts[1::2] != SECTIONS:
        yield f"its runbook has other sections than {', '.join(SECTIONS)}"
    for section, body in zip(parts[1::2], parts[2::2]):
        if len(body.split()) < 5 or "TODO" in body:
            yield f"its runbook says nothing under {section}"
    if "`" not in (parts[6] if len(parts) > 6 else ""):
        yield "its runbook has no query under Diagnosis"
