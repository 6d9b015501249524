"""KeeWiDB."""

from tencentcloud.keewidb.v20220308 import models
from tencentcloud.keewidb.v20220308.keewidb_client import KeewidbClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: kee-cart, name: cart}]
tasks:
  - {id: "1701", resource: kee-cart, kind: FLOW_RESIZE, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "1702", resource: kee-cart, kind: FLOW_EXPORTBACKUP, at: -2h, life: [{wait: {}}]}
  - {id: "1703", resource: kee-cart, kind: FLOW_RESTOREBACKUP, at: -2h,
     life: [{run: {for: 1h, to: 0.35}}, {fail: {message: "short read"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: ""
    kinds: [FLOW_AUTOBACKUP]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1701": "running", "1702": "preparing", "1703": "failed"}
COUNT = 48
RESULTS = {0: "preparing", 1: "running", 2: "succeed", 4: "failed"}


class Client(Listed):
    models = models
    client_class = KeewidbClient
    action = "DescribeTaskList"
    rows = "Tasks"
    # Codes are shown as the names that stand for them.
    same_kinds = False

    def task(self, it):
        return Task(
            id=str(it.TaskId),
            kind=it.TaskType,
            word=RESULTS[it.Result],
            progress=it.Progress,
            resource=it.InstanceId,
        )
