"""TDSQL-C (CynosDB)."""

from tencentcloud.cynosdb.v20190107 import models
from tencentcloud.cynosdb.v20190107.cynosdb_client import CynosdbClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: cynosdbmysql-shop, name: shop}]
tasks:
  - id: "1201"
    resource: cynosdbmysql-shop
    kind: taskUpgradeStorage
    at: -2h
    life: [{run: {for: 1h, to: 0.42, word: processing}}, {hang: {word: processing}}]
    steps: [{name: CopyData}]
  - {id: "1202", resource: cynosdbmysql-shop, kind: taskSwitchVpc, at: -2h, life: [{wait: {}}]}
  - {id: "1203", resource: cynosdbmysql-shop, kind: taskAutoBackup, at: -2h,
     life: [{run: {for: 1h, to: 0.2}}, {fail: {message: "quota exceeded"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: ""
    kinds: [taskAutoBackup]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1201": "processing", "1202": "waiting", "1203": "failed"}
COUNT = 48


class Client(Listed):
    models = models
    client_class = CynosdbClient
    action = "DescribeTasks"
    rows = "TaskList"

    def task(self, it):
        return Task(
            id=str(it.ID),
            kind=it.TaskType,
            word=it.Status,
            progress=it.Process / 100,
            resource=it.ClusterId,
            message=it.ErrMsg,
        )
