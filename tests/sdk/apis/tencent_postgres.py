"""TencentDB for PostgreSQL."""

from tencentcloud.postgres.v20170312 import models
from tencentcloud.postgres.v20170312.postgres_client import PostgresClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: postgres-shop, name: shop}]
tasks:
  - id: "1101"
    resource: postgres-shop
    kind: CloneInstance
    at: -2h
    life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]
    steps: [{name: Pre-check}, {name: Copy, share: 3}]
  - {id: "1102", resource: postgres-shop, kind: ModifyDBInstanceSpec, at: -2h,
     life: [{run: {for: 1h, to: 0.9}}, {pause: {}}]}
  - {id: "1103", resource: postgres-shop, kind: RestoreDatabase, at: -2h,
     life: [{run: {for: 1h, to: 0.4}}, {fail: {message: "object already exists"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: ""
    kinds: [RestartInstance]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1101": "Running", "1102": "WaitSwitch", "1103": "Fail"}
COUNT = 48


class Client(Listed):
    models = models
    client_class = PostgresClient
    action = "DescribeTasks"
    rows = "TaskSet"

    def task(self, it):
        return Task(
            id=str(it.TaskId),
            kind=it.TaskType,
            word=it.Status,
            progress=it.Progress / 100,
            resource=it.DBInstanceId,
            message=it.TaskDetail.Message,
        )
