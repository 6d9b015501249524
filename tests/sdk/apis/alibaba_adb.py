"""AnalyticDB for MySQL."""

from alibabacloud_adb20190315 import models as adb
from alibabacloud_adb20190315.client import Client as AdbClient
from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: am-house, name: house-, count: 35}, {id: amv-lake}]
tasks:
  - {id: "4001", resource: am-house0001, at: -2h, configured: true,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "4002", resource: am-house0001, at: -2h, configured: true,
     life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "4003", resource: am-house0002, at: -2h, configured: true,
     life: [{run: {for: 1h, to: 0.9}}, {fail: {}}]}
  - {id: "4004", resource: am-house0002, at: -2h, configured: true,
     life: [{run: {for: 1h, to: 0.9}}, {say: {word: Melting}}]}
  - id: job-1
    resource: amv-lake
    kind: analyticDBFlexibleScaleOut
    at: -2h
    life: [{run: {for: 1h, to: 0.6, word: RUNNING}}, {hang: {word: RUNNING}}]
    steps: [{name: PrepareNodes}, {name: MoveShards}]
"""

WORDS = {'4001': 'Running', '4002': 'Finished', '4003': 'Failed', '4004': 'Melting'}
COUNT = 5


class Client:
    error = ClientException
    small_page = 50

    def __init__(self, source):
        self.region = source.region
        self.configured = source.configured
        self.client = AdbClient(alibaba(source))

    def any(self):
        request = adb.DescribeDBClustersRequest(region_id=self.region)
        return self.client.describe_dbclusters(request)

    def tasks(self, limit=30):
        """The tasks that the configuration names, and the jobs that clusters carry."""
        listed = [self.info(it["resource"], it["id"]) for it in self.configured]
        for cluster in self.rows(limit):
            if job := cluster.task_info:
                start = job.step_list.step_list[0].start_time
                listed.append(
                    Task(
                        id=f"{cluster.dbcluster_id}/{job.name}/{start}",
                        kind=job.name,
                        word=job.status,
                        progress=float(job.progress) / 100,
                        resource=cluster.dbcluster_id,
                    )
                )
        return listed

    def info(self, cluster, task_id):
        request = adb.DescribeTaskInfoRequest(dbcluster_id=cluster, task_id=int(task_id))
        it = self.client.describe_task_info(request).body.task_info
        progress = float(it.progress) / 100
        return Task(id=str(it.task_id), kind="", word=it.status, progress=progress, resource=cluster)

    def rows(self, limit=30):
        def page(number):
            body = self.client.describe_dbclusters(
                adb.DescribeDBClustersRequest(
                    region_id=self.region,
                    dbcluster_version="All",
                    page_size=limit,
                    page_number=number,
                )
            ).body
            return body.total_count, body.items.dbcluster

        return list(numbered(page))

    def instances(self):
        return {it.dbcluster_id: it.dbcluster_description for it in self.rows()}
