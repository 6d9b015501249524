"""PolarDB-X."""

from datetime import datetime, timedelta, timezone

from alibabacloud_polardbx20200202 import models
from alibabacloud_polardbx20200202.client import Client as ProductClient

from apis.instances import InstanceTasks
from clients import numbered

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: pxc-shop, name: shop-, count: 35}]
tasks:
  - {id: "7001", resource: pxc-shop0001, kind: ModifyClass, at: -2h, life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "7002", resource: pxc-shop0001, kind: Restore, at: -2h, life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "7003", resource: pxc-shop0002, kind: Restore, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {code: Timeout, message: "no \"node\""}}]}
spawn:
  - every: 1h
    from: -270h
    until: -230h
    resources: [pxc-shop0001]
    kinds: [Restart]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"7001": "RUNNING", "7002": "8", "7003": "FAILED"}
COUNT = 43


class Client(InstanceTasks):
    models = models
    client_class = ProductClient

    def page_of_instances(self, number, limit):
        return self.client.describe_dbinstances(
            models.DescribeDBInstancesRequest(
                region_id=self.region, page_size=limit, page_number=number
            )
        ).body

    def instances(self, limit=30):
        def page(number):
            body = self.page_of_instances(number, limit)
            return body.total_number, body.dbinstances

        return {it.dbinstance_name: it.description for it in numbered(page)}

    def page(self, instance, number, limit):
        now = datetime.now(timezone.utc)
        return self.client.describe_tasks(
            models.DescribeTasksRequest(
                region_id=self.region,
                dbinstance_id=instance,
                start_time=f"{now - timedelta(days=30):%Y-%m-%d}",
                end_time=f"{now + timedelta(days=1):%Y-%m-%d}",
                page_size=limit,
                page_number=number,
            )
        ).body

    @staticmethod
    def rows(body):
        return body.items
