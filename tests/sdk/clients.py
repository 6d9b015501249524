"""The vendors' official clients, behind one small interface.

They are used as anybody would use them: only endpoint and scheme point to the simulated clouds.
Every client has `tasks()`, which lists all tasks page by page and reads each the way the SDK reads
it, `instances()`, the same for clusters or instances, and `any()`, one cheap call.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from alibabacloud_adb20190315 import models as adb
from alibabacloud_adb20190315.client import Client as AdbClient
from alibabacloud_polardb20170801 import models as polardb
from alibabacloud_polardb20170801.client import Client as PolarDbClient
from alibabacloud_rds20140815 import models as rds
from alibabacloud_rds20140815.client import Client as RdsClient
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkdds.v3 import (
    DdsClient,
    ListInstancesRequest,
    ListTasksRequest,
    ShowJobDetailRequest,
)
from tencentcloud.cdb.v20170320 import cdb_client
from tencentcloud.cdb.v20170320 import models as cdb
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.redis.v20180412 import models as redis
from tencentcloud.redis.v20180412 import redis_client


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


class Cdb:
    """TencentDB for MySQL."""

    error = TencentCloudSDKException

    def __init__(self, source):
        self.client = cdb_client.CdbClient(*tencent(source))

    def any(self):
        return self.client.DescribeTasks(cdb.DescribeTasksRequest())

    def tasks(self, limit=100):
        def page(offset):
            request = cdb.DescribeTasksRequest()
            request.Offset, request.Limit = offset, limit
            answer = self.client.DescribeTasks(request)
            return answer.TotalCount, answer.Items

        return [
            Task(
                id=str(it.JobId),
                kind=it.TaskType,
                word=it.TaskStatus,
                progress=it.Progress / 100,
                resource=it.InstanceIds[0],
                message=it.Message,
            )
            for it in counted(page)
        ]

    def instances(self, limit=20):
        def page(offset):
            request = cdb.DescribeDBInstancesRequest()
            request.Offset, request.Limit = offset, limit
            answer = self.client.DescribeDBInstances(request)
            return answer.TotalCount, answer.Items

        return {it.InstanceId: it.InstanceName for it in counted(page)}


class Redis:
    """TencentDB for Redis."""

    error = TencentCloudSDKException
    WORDS = {0: "preparing", 1: "running", 2: "succeed", 4: "failed"}

    def __init__(self, source):
        self.client = redis_client.RedisClient(*tencent(source))

    def any(self):
        return self.client.DescribeTaskList(redis.DescribeTaskListRequest())

    def tasks(self, limit=100):
        def page(offset):
            request = redis.DescribeTaskListRequest()
            request.Offset, request.Limit = offset, limit
            answer = self.client.DescribeTaskList(request)
            return answer.TotalCount, answer.Tasks

        return [
            Task(
                id=str(it.TaskId),
                kind=it.TaskType,
                word=self.WORDS[it.Result],
                progress=it.Progress,
                resource=it.InstanceId,
            )
            for it in counted(page)
        ]

    def info(self, task_id):
        request = redis.DescribeTaskInfoRequest()
        request.TaskId = int(task_id)
        return self.client.DescribeTaskInfo(request)

    def instances(self, limit=20):
        def page(offset):
            request = redis.DescribeInstancesRequest()
            request.Offset, request.Limit = offset, limit
            answer = self.client.DescribeInstances(request)
            return answer.TotalCount, answer.InstanceSet

        return {it.InstanceId: it.InstanceName for it in counted(page)}


class PolarDb:
    """PolarDB."""

    error = ClientException
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


class History:
    """The task centre of a product: models and client differ in their names only."""

    error = ClientException

    def __init__(self, source, models, client):
        self.region = source.region
        self.models = models
        self.client = client(alibaba(source))

    def any(self):
        return self.page(1, 10)

    def page(self, number, limit):
        now = datetime.now(timezone.utc)
        return self.client.describe_history_tasks(
            self.models.DescribeHistoryTasksRequest(
                region_id=self.region,
                from_start_time=f"{now - timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}",
                to_start_time=f"{now + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
                page_size=limit,
                page_number=number,
            )
        ).body

    def rows(self, limit=30):
        def page(number):
            body = self.page(number, limit)
            return int(body.total_count), body.items

        return list(numbered(page))

    def tasks(self, limit=30):
        return [
            Task(
                id=it.task_id,
                kind=it.task_type,
                word=it.status,
                progress=it.progress / 100,
                resource=it.instance_id,
            )
            for it in self.rows(limit)
        ]


class Rds(History):
    """ApsaraDB RDS."""

    def __init__(self, source):
        super().__init__(source, rds, RdsClient)


class PolarDbHistory(History):
    """PolarDB."""

    def __init__(self, source):
        super().__init__(source, polardb, PolarDbClient)


class Adb:
    """AnalyticDB for MySQL."""

    error = ClientException

    def __init__(self, source):
        self.region = source.region
        self.configured = source.configured
        self.client = AdbClient(alibaba(source))

    def any(self):
        request = adb.DescribeDBClustersRequest(region_id=self.region)
        return self.client.describe_dbclusters(request)

    def tasks(self):
        """The tasks that the configuration names, and the jobs that clusters carry."""
        listed = [self.info(it["resource"], it["id"]) for it in self.configured]
        for cluster in self.rows():
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


class Dds:
    """HUAWEI CLOUD DDS."""

    error = ClientRequestException

    def __init__(self, source):
        keys = BasicCredentials(source.key, source.secret, source.project_id)
        if source.token:
            keys = keys.with_security_token(source.token)
        self.client = (
            DdsClient.new_builder().with_credentials(keys).with_endpoint(source.endpoint).build()
        )

    def any(self):
        return self.page(0, 100)

    def page(self, offset, limit):
        now = datetime.now(timezone.utc)
        return self.client.list_tasks(
            ListTasksRequest(
                start_time=f"{now - timedelta(days=29):%Y-%m-%dT%H:%M:%S}+0000",
                end_time=f"{now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}+0000",
                offset=offset,
                limit=limit,
            )
        ).jobs

    def tasks(self, limit=100):
        listed = []
        while rows := self.page(len(listed), limit):
            listed.extend(rows)
            if len(rows) < limit:
                break
        return [
            Task(
                id=it.id,
                kind=it.name,
                word=it.status,
                progress=float(it.progress.rstrip("%")) / 100 if it.progress else None,
                resource=it.instance_id,
                message=it.fail_reason,
            )
            for it in listed
        ]

    def info(self, task_id):
        return self.client.show_job_detail(ShowJobDetailRequest(id=task_id)).job

    def instances(self, limit=20):
        def page(offset):
            answer = self.client.list_instances(ListInstancesRequest(offset=offset, limit=limit))
            return answer.total_count, answer.instances

        return {it.id: it.name for it in counted(page)}


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


CLIENTS = {
    "alibaba_adb": Adb,
    "alibaba_polardb": PolarDb,
    "alibaba_rds_history": Rds,
    "alibaba_polardb_history": PolarDbHistory,
    "huawei_dds": Dds,
    "tencent_cdb": Cdb,
    "tencent_redis": Redis,
}
