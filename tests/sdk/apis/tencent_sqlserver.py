"""TencentDB for SQL Server."""

from tencentcloud.sqlserver.v20180328 import models
from tencentcloud.sqlserver.v20180328.sqlserver_client import SqlserverClient

from apis.listed import Listed
from clients import Task, counted, numbered

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: mssql-shop, name: shop-, count: 5}]
tasks:
  - {id: "1801", resource: mssql-shop0001, kind: "62", at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "1802", resource: mssql-shop0002, kind: "21", at: -2h,
     life: [{run: {for: 1h, to: 0.1}}, {fail: {code: "1205", message: "out of space"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    kinds: ["62"]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1801": "1", "1802": "3"}
COUNT = 47


class Client(Listed):
    models = models
    client_class = SqlserverClient
    small_page = 7

    def any(self):
        return self.client.DescribeDBInstances(models.DescribeDBInstancesRequest())

    def instances(self, limit=2):
        def page(number):
            request = models.DescribeDBInstancesRequest()
            # Pages are counted from 0.
            request.Offset, request.Limit = number - 1, limit
            answer = self.client.DescribeDBInstances(request)
            return answer.TotalCount, answer.DBInstances

        return {it.InstanceId: it.Name for it in numbered(page)}

    def tasks(self, limit=100):
        return [task for instance in self.instances() for task in self.of(instance, limit)]

    def of(self, instance, limit):
        def page(offset):
            request = models.DescribeInstanceTasksRequest()
            request.InstanceId, request.Offset, request.Limit = instance, offset, limit
            answer = self.client.DescribeInstanceTasks(request)
            return answer.TotalCount, answer.InstanceTaskSet

        return [
            Task(
                id=str(it.Id),
                kind=str(it.Type),
                word=str(it.Status),
                progress=it.Progress / 100,
                resource=instance,
                message=it.Message,
            )
            for it in counted(page)
        ]
