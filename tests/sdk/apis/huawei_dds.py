"""HUAWEI CLOUD DDS."""

from datetime import datetime, timedelta, timezone

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkdds.v3 import (
    DdsClient,
    ListInstancesRequest,
    ListTasksRequest,
    ShowJobDetailRequest,
)

from clients import Task, counted

SCENARIO = r"""
region: cn-north-4
resources: [{id: 3f1d6a7c5b8e4d0f9a2b1c0d0e0fin02, name: dds-, count: 45}]
tasks:
  - {id: 5a3cd1f0-0001-4d2a-8f00-00000000c0de, resource: 3f1d6a7c5b8e4d0f9a2b1c0d0e0fin020001,
     kind: Create_MongoDB, at: -2h, life: [{run: {for: 1h, to: 0.09}}, {hang: {}}]}
  - {id: 5a3cd1f0-0002-4d2a-8f00-00000000c0de, resource: 3f1d6a7c5b8e4d0f9a2b1c0d0e0fin020001,
     kind: Restore_MongoDB_库存, at: -2h, life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: 5a3cd1f0-0003-4d2a-8f00-00000000c0de, resource: 3f1d6a7c5b8e4d0f9a2b1c0d0e0fin020002,
     kind: ResizeMongoDBInstance, at: -2h,
     life: [{run: {for: 1h, to: 0.5}}, {fail: {message: "no \"flavor\"\nleft"}}]}
spawn:
  - every: 1h
    from: -270h
    until: -30h
    kinds: [RestartInstance]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""
WORDS = {"5a3cd1f0-0001-4d2a-8f00-00000000c0de": "Running"}
COUNT = 243


class Client:
    error = ClientRequestException
    small_page = 40

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
