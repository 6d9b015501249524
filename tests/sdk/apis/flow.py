"""Tencent Cloud's flows, which are asked for by their ids."""

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from clients import Task, tencent

# A flow of each sort; the words are those of most products.
SCENARIO = r"""
region: ap-guangzhou
resources: [{id: db-flow}]
tasks:
  - {id: "7101", resource: db-flow, at: -2h, configured: true, life: [{hang: {}}]}
  - {id: "7102", resource: db-flow, at: -2h, configured: true, life: [{run: {for: 1h}}, {finish: {}}]}
  - {id: "7103", resource: db-flow, at: -2h, configured: true, life: [{run: {for: 1h}}, {fail: {}}]}
"""

WORDS = {"7101": "2", "7102": "0", "7103": "1"}
COUNT = 3


class Flow:
    error = TencentCloudSDKException
    small_page = 1

    # The product's, as the class of a product has them.
    models = None
    client_class = None
    action = "DescribeFlow"
    parameter = "FlowId"
    id = int

    def __init__(self, source):
        self.configured = source.configured
        self.client = self.client_class(*tencent(source))

    def any(self):
        return self.info("7101")

    def info(self, task_id):
        request = getattr(self.models, f"{self.action}Request")()
        setattr(request, self.parameter, self.id(task_id))
        return getattr(self.client, self.action)(request)

    def tasks(self, limit=1):
        return [
            Task(it["id"], "", str(self.info(it["id"]).Status), None, it["resource"])
            for it in self.configured
        ]
