"""TDSQL for MySQL (DCDB)."""

from tencentcloud.dcdb.v20180411 import models
from tencentcloud.dcdb.v20180411.dcdb_client import DcdbClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: tdsqlshard-shop, name: shop}]
tasks:
  - {id: "1501", resource: tdsqlshard-shop, kind: expand, at: -2h, life: [{hang: {}}]}
  - {id: "1502", resource: tdsqlshard-shop, kind: create, at: -2h, life: [{wait: {}}]}
  - {id: "1503", resource: tdsqlshard-shop, kind: rollback, at: -2h,
     life: [{run: {for: 1h}}, {fail: {message: "pickValidBinlog error"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: ""
    kinds: [restart]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1501": "1", "1502": "0", "1503": "3"}
COUNT = 48
KINDS = {0: "rollback", 1: "create", 2: "expand", 5: "restart"}


class Client(Listed):
    models = models
    client_class = DcdbClient
    action = "DescribeUserTasks"
    rows = "FlowSet"

    def task(self, it):
        return Task(
            id=str(it.Id),
            kind=KINDS.get(it.UserTaskType, ""),
            word=str(it.Status),
            progress=None,
            resource=it.InstanceId,
            message=it.ErrMsg,
        )
