"""TencentDB for Redis."""

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.redis.v20180412 import models as redis
from tencentcloud.redis.v20180412 import redis_client

from clients import Task, counted, tencent

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: crs-cart, name: cart-, count: 45}]
tasks:
  - {id: "2001", resource: crs-cart0001, kind: FLOW_RESIZE, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "2002", resource: crs-cart0002, kind: FLOW_EXPORTBACKUP, at: -2h, life: [{wait: {}}]}
  - {id: "2003", resource: crs-cart0002, kind: FLOW_UpgradeVersion, at: -2h,
     life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "2004", resource: crs-cart0003, kind: FLOW_RESTOREBACKUP, at: -2h,
     life: [{run: {for: 1h, to: 0.35}}, {fail: {message: "short read of \"dump.rdb\"\nat 1048576"}}]}
spawn:
  - every: 1h
    from: -270h
    until: -30h
    kinds: [FLOW_AUTOBACKUP]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'2001': 'running', '2002': 'preparing', '2003': 'succeed', '2004': 'failed'}
COUNT = 244


class Client:
    error = TencentCloudSDKException
    small_page = 40
    # The list has codes, which are shown as the names that stand for them.
    same_kinds = False
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
