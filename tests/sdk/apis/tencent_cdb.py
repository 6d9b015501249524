"""TencentDB for MySQL."""

from tencentcloud.cdb.v20170320 import cdb_client
from tencentcloud.cdb.v20170320 import models as cdb
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from clients import Task, counted, tencent

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: cdb-shop, name: shop-, count: 45}]
tasks:
  - {id: "1001", resource: cdb-shop0001, kind: UPGRADE MASTER, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: "1002", resource: cdb-shop0002, kind: ROLLBACK, at: -2h,
     life: [{run: {for: 1h, to: 0.5}}, {pause: {}}]}
  - {id: "1003", resource: cdb-shop0002, kind: IMPORT DATA, at: -2h,
     life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "1004", resource: cdb-shop0003, kind: IMPORT DATA, at: -2h,
     life: [{run: {for: 1h, to: 0.1}},
            {fail: {code: "9013", message: "ERROR 1064 \"订单\"\n  at line 12"}}]}
  - {id: "1005", resource: cdb-shop0003, kind: DROP TABLES, at: -2h,
     life: [{wait: {for: 1h}}, {cancel: {word: REMOVED}}]}
  - {id: "1006", resource: cdb-shop0004, kind: OPEN GTID, at: -2h, life: [{wait: {word: WAITING}}]}
  - {id: "1007", resource: cdb-shop0004, kind: 数据导入, at: -2h,
     life: [{run: {for: 1h, to: 0.3}}, {say: {word: FROZEN}}]}
spawn:
  - every: 1h
    from: -270h
    until: -30h
    kinds: [MODIFY PARAM, REBOOT]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'1001': 'RUNNING', '1002': 'PAUSED', '1003': 'SUCCEED', '1004': 'FAILED', '1005': 'REMOVED', '1006': 'WAITING', '1007': 'FROZEN'}
COUNT = 247


class Client:
    error = TencentCloudSDKException
    small_page = 50

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
