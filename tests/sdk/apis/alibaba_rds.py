"""ApsaraDB RDS for SQL Server."""

from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client as ProductClient

from apis.instances import InstanceTasks
from clients import numbered

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: rm-mssql, name: shop-, count: 35}]
tasks:
  - {id: "7001", resource: rm-mssql0001, kind: ModifyClass, at: -2h, life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "7002", resource: rm-mssql0001, kind: Restore, at: -2h, life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "7003", resource: rm-mssql0002, kind: Restore, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {code: Timeout, message: "no \"node\""}}]}
spawn:
  - every: 1h
    from: -270h
    until: -230h
    resources: [rm-mssql0001]
    kinds: [Restart]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"7001": "Processing", "7002": "2", "7003": "Failed"}
COUNT = 43


class Client(InstanceTasks):
    models = models
    client_class = ProductClient

    def page_of_instances(self, number, limit):
        return self.client.describe_dbinstances(
            models.DescribeDBInstancesRequest(
                region_id=self.region, engine="SQLServer", page_size=limit, page_number=number
            )
        ).body

    def instances(self, limit=30):
        def page(number):
            body = self.page_of_instances(number, limit)
            return body.total_record_count, body.items.dbinstance

        return {it.dbinstance_id: it.dbinstance_description for it in numbered(page)}

    def page(self, instance, number, limit):
        return self.client.describe_tasks(
            models.DescribeTasksRequest(
                dbinstance_id=instance, page_size=limit, page_number=number
            )
        ).body

    @staticmethod
    def rows(body):
        return body.items.task_progress_info
