"""PolarDB."""

from datetime import datetime, timedelta, timezone

from alibabacloud_polardb20170801 import models as polardb
from alibabacloud_polardb20170801.client import Client as PolarDbClient
from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered

SCENARIO = r"""
region: cn-hangzhou
rate_limits: {DescribeTasks: 1000}
resources: [{id: pc-ledger, name: ledger-, count: 35}]
tasks:
  - id: "3001"
    resource: pc-ledger0001
    kind: CreateDBInstance
    at: -2h
    life: [{run: {for: 1h, to: 0.5}}, {hang: {}}]
    steps: [{name: init_ins}, {name: restore_backup, share: 3}]
  - {id: "3002", resource: pc-ledger0001, kind: CreateDBInstance, at: -2h, life: [{wait: {}}]}
  - {id: "3003", resource: pc-ledger0001, kind: CreateDBInstance, at: -2h,
     life: [{run: {for: 1h, to: 0.2}}, {pause: {}}]}
  - {id: "3004", resource: pc-ledger0001, kind: CreateDBInstance, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {code: OperationDenied, message: "no \"node\"\nleft"}}]}
  - {id: "3005", resource: pc-ledger0001, kind: CreateDBInstance, at: -2h,
     life: [{wait: {for: 1h}}, {cancel: {}}]}
spawn:
  - every: 1h
    from: -270h
    until: -200h
    resources: [pc-ledger0001]
    kinds: [CreateDBInstance]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'3001': 'Running', '3002': 'Waiting', '3003': 'Pause', '3004': 'Stop', '3005': 'Closed'}
COUNT = 75


class Client:
    error = ClientException
    small_page = 50
    WORDS = ["Waiting", "Running", "Pause", "Stop", "Closed", "Finished"]

    def __init__(self, source):
        self.region = source.region
        self.client = PolarDbClient(alibaba(source))

    def any(self):
        request = polardb.DescribeDBClustersRequest(region_id=self.region)
        return self.client.describe_dbclusters(request)

    def tasks(self, limit=30):
        return [task for cluster in self.instances() for task in self.of(cluster, limit)]

    def of(self, cluster, limit):
        """The tasks of a cluster. A row does not say its status, so each is asked for."""
        now = datetime.now(timezone.utc)
        for word in self.WORDS:

            def page(number):
                body = self.client.describe_tasks(
                    polardb.DescribeTasksRequest(
                        dbcluster_id=cluster,
                        start_time=f"{now - timedelta(days=30):%Y-%m-%dT%H:%MZ}",
                        end_time=f"{now + timedelta(minutes=1):%Y-%m-%dT%H:%MZ}",
                        status=word,
                        page_size=limit,
                        page_number=number,
                    )
                ).body
                return body.total_record_count, body.tasks.task

            for it in numbered(page):
                yield Task(
                    id=it.task_id,
                    kind=it.task_action,
                    word=word,
                    progress=it.progress / 100,
                    resource=cluster,
                    message=it.task_error_message,
                )

    def instances(self, limit=30):
        def page(number):
            body = self.client.describe_dbclusters(
                polardb.DescribeDBClustersRequest(
                    region_id=self.region, page_size=limit, page_number=number
                )
            ).body
            return body.total_record_count, body.items.dbcluster

        return {it.dbcluster_id: it.dbcluster_description for it in numbered(page)}
