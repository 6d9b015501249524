"""What the clients of all APIs share.

`apis/` has a file for each API: `Client`, the vendor's official client behind one small interface, and
`SCENARIO`, what there is in the simulated cloud for it. Only endpoint and scheme point to the simulated
clouds. Every client has `tasks(limit)`, which lists all tasks page by page and reads each the way the SDK
reads it, and `any()`, one cheap call. Where it has `instances()`, it lists clusters or instances. `WORDS` of
the file are the words of tasks by their ids, `COUNT` says how many tasks there are.
"""

import importlib
import pathlib
from dataclasses import dataclass

import yaml
from alibabacloud_tea_openapi.models import Config
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile


class Source:
    """A source of the configuration, with its credentials."""

    def __init__(self, entry, keys):
        self.api = entry["api"]
        self.region = entry["region"]
        self.endpoint = entry["endpoint"]
        self.authority = self.endpoint.removeprefix("http://")
        self.project_id = entry.get("project_id")
        self.configured = entry.get("tasks", [])
        names = {
            "alibaba": ("access_key_id", "access_key_secret", "security_token"),
            "huawei": ("access_key", "secret_key", "security_token"),
            "tencent": ("secret_id", "secret_key", "token"),
        }[keys["cloud"]]
        self.key, self.secret, self.token = (keys.get(name) for name in names)

    def change(self, **changes):
        for name, value in changes.items():
            assert hasattr(self, name)
            setattr(self, name, value)


@dataclass(frozen=True)
class Task:
    """What an SDK says of a task; `progress` is a ratio."""

    id: str
    kind: str
    word: str
    progress: float | None
    resource: str
    message: str | None = None


def tencent(source):
    profile = HttpProfile(protocol="http", endpoint=source.authority)
    keys = Credential(source.key, source.secret, source.token)
    return keys, source.region, ClientProfile(httpProfile=profile, language="en-US")


def alibaba(source):
    return Config(
        access_key_id=source.key,
        access_key_secret=source.secret,
        security_token=source.token,
        region_id=source.region,
        endpoint=source.authority,
        protocol="HTTP",
    )


def counted(page):
    """All rows of a list whose pages are asked for by the number of rows before them."""
    rows = []
    while True:
        total, more = page(len(rows))
        rows.extend(more)
        if not more or len(rows) >= total:
            assert len(rows) == total
            return rows


def numbered(page):
    """All rows of a list whose pages have numbers."""
    rows = []
    number = 1
    while True:
        total, more = page(number)
        rows.extend(more)
        number += 1
        if not more or len(rows) >= total:
            assert len(rows) == total
            return rows


def modules():
    """The file of each API, by its name."""
    files = sorted((pathlib.Path(__file__).parent / "apis").glob("*_*.py"))
    return {file.stem: importlib.import_module(f"apis.{file.stem}") for file in files}


def scenario(common):
    """`common` with the sources of every API: what is to be seen, and a small one with temporary keys and
    one with hardly any patience."""
    sources = []
    regions = iter(f"cn-north-{number}" for number in range(100, 200))
    for api, module in sorted(MODULES.items(), key=lambda it: it[0] not in FIRST):
        source = yaml.safe_load(module.SCENARIO)
        sources.append({"name": api, "api": api, **source})
        resource = source["resources"][0]["id"]
        task = source["tasks"][0]
        one = {"id": task["id"], "resource": resource, "at": "-2h", "life": [{"hang": {}}]}
        one["configured"] = task.get("configured", False)
        small = {"api": api, "region": source["region"], "resources": [{"id": resource}]}
        # Services of one vendor may have the same paths, each at a host of its own.
        region = OTHER.get(cloud(api)) or next(regions)
        sources.append({**small, "name": f"{api}-sts", "account": "temporary", "region": region, "tasks": [one]})
        sources.append({**small, "name": f"{api}-busy", "tasks": [one], "calls_a_minute": 1})
    return {**common, "sources": sources + common["sources"]}


def cloud(api):
    """The vendor's name, as it begins that of the API."""
    return api.split("_")[0]


# A machine, which says nothing of an account, has the keys of a vendor's first.
FIRST = ["alibaba_polardb", "huawei_dds", "tencent_cdb"]

# Regions in which the sources with temporary keys are.
OTHER = {"alibaba": "cn-beijing", "tencent": "ap-beijing"}

MODULES = modules()
CLIENTS = {api: module.Client for api, module in MODULES.items()}
