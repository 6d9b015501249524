"""TcaplusDB."""

from tencentcloud.tcaplusdb.v20190823 import models
from tencentcloud.tcaplusdb.v20190823.tcaplusdb_client import TcaplusdbClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: "5674209986", name: shop}]
tasks:
  - {id: 5674209986-1601, resource: "5674209986", kind: ModifyTables, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: 5674209986-1602, resource: "5674209986", kind: ClearTables, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {fail: {}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: "5674209986-"
    kinds: [ModifyTables]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"5674209986-1601": "progress 0 to 99", "5674209986-1602": "progress below 0"}
COUNT = 47


def word(progress):
    """What stands for the status, which there is none of."""
    if progress < 0:
        return "progress below 0"
    return "progress 100" if progress == 100 else "progress 0 to 99"


class Client(Listed):
    models = models
    client_class = TcaplusdbClient
    action = "DescribeTasks"
    rows = "TaskInfos"

    def task(self, it):
        return Task(
            id=it.TaskId,
            kind=it.TaskType,
            word=word(it.Progress),
            progress=it.Progress / 100 if it.Progress >= 0 else None,
            resource=it.ClusterId,
        )
