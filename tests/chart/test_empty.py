"""Any key of the values may be left empty or be null, as it is where a line is commented out and its key is not.

Then the chart becomes what it is without that key, or words say what is missing. Helm 3 takes a null for the
wish to have no such key at all, so that a template may find nothing where the values of the chart have something.
"""

import concurrent.futures
import copy
import json
import os

import pytest
import yaml

from chart import CHART, helm

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def merged(*names):
    """Several of the features in one, later ones over earlier ones."""
    values = {}
    for name in names:
        over(values, yaml.safe_load((CHART / f"ci/{name}-values.yaml").read_text()))
    return values


def over(values, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            over(values[key], value)
        else:
            values[key] = copy.deepcopy(value)


# Together they have all that the chart can do.
BASES = {
    "much": merged("everything-else", "credentials", "monitoring", "workload-identity")
    | {"web": {"tls": {"existingSecret": "dbtask-tls", "clientCaKey": "ca.crt"}}},
    "other": merged("existing-config", "pod-monitor") | {"config": {}, "web": {"existingSecret": "dbtask-web"}},
}
EMPTY = {dict: {}, list: [], str: "", bool: None, int: None, float: None, type(None): None}


def paths(values, schema, path=()):
    """Every key that the values or the schema have, and what is empty there."""
    properties = schema.get("properties", {})
    for key in sorted({*(values or {}), *properties}):
        value = (values or {}).get(key)
        below = properties.get(key, {})
        yield (*path, key), value
        if isinstance(value, dict):
            yield from paths(value, below, (*path, key))


def having(values, path, value):
    values = copy.deepcopy(values)
    here = values
    for key in path[:-1]:
        if not isinstance(here.get(key), dict):
            here[key] = {}
        here = here[key]
    here[path[-1]] = value
    return values


def cases(base, mine):
    """Of the second base only what is its own."""
    full = copy.deepcopy(DEFAULTS)
    over(full, base)
    for path, value in paths(full, SCHEMA):
        if path[0] not in mine:
            continue
        yield path, None
        empty = EMPTY[type(value)]
        if empty is not None and empty != value:
            yield path, empty


def trouble(major, folder, number, base, path, value):
    """What is wrong with what helm says or makes; nothing, if all is well."""
    file = folder / f"{number}.yaml"
    file.write_text(json.dumps(having(base, path, value)))
    done = helm(major, "template", "tasks", CHART, "--namespace", "dbtask", "--values", file)
    where = f"{'.'.join(path)}: {json.dumps(value)}"
    if done.returncode:
        bad = [word for word in ("nil pointer", "can't evaluate", "error calling", "wrong type", "YAML parse error") if word in done.stderr]
        # A refusal of ours, or the schema's, names the key; the schema writes `~1` for a slash.
        named = path[-1] in done.stderr.replace("~1", "/") or "config.sources" in done.stderr
        return f"{where}: {done.stderr.strip()[:400]}" if bad or not named else None
    # What is handed through as it is may say that it has nothing.
    if not known(path):
        return None
    for one in yaml.safe_load_all(done.stdout):
        if strange := list(nothings(one)):
            return f"{where}: renders nothing at {strange}"
    return None


def known(path):
    """Whether the chart has this key, and not only its user."""
    here = DEFAULTS
    for key in path:
        if not isinstance(here, dict) or key not in here:
            return False
        here = here[key]
    return True


def nothings(value, path=""):
    """Places where a template has printed what it did not find."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is None and path:
                yield f"{path}.{key}"
            yield from nothings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from nothings(inner, f"{path}[{number}]")
    elif isinstance(value, str) and ("<nil>" in value or "%!" in value):
        yield path


@pytest.mark.parametrize("major, name", [(3, "much"), (3, "other"), (4, "other")])
def test_an_empty_key_is_as_good_as_none_or_refused_in_words(tmp_path, major, name):
    base = BASES[name]
    assert trouble(major, tmp_path, "base", base, ("replicas",), 1) is None
    tried = list(cases(base, base if name == "other" else DEFAULTS))
    assert len(tried) >= 100
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda it: trouble(major, tmp_path, it[0], base, *it[1]), enumerate(tried))
    found = [it for it in found if it]
    assert found == [], f"{len(found)} of {len(tried)}\n" + "\n".join(found)
