"""HUAWEI CLOUD GaussDB."""

from huaweicloudsdkgaussdbforopengauss.v3 import (
    GaussDBforopenGaussClient,
    ListTasksRequest,
    ShowJobDetailRequest,
)

from apis.huawei import Service, ratio, scenario, words_of
from clients import Task

STATES = {"Running": "run", "Completed": "finish", "Failed": "fail"}
SCENARIO = scenario("20ba433bd7ee40da9cf35064f04fffffin14", STATES, ["EnlargeGaussDBV5Volume", "CreateGaussDBV5Instance"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = GaussDBforopenGaussClient

    def page(self, offset, limit):
        return self.client.list_tasks(ListTasksRequest(offset=offset, limit=limit)).tasks

    def task(self, row):
        instance = row.instance_info.instance_id
        return Task(row.job_id, row.name, row.status, ratio(row.process), instance, row.fail_reason)

    def one(self, id):
        return self.client.show_job_detail(ShowJobDetailRequest(id=id)).job.status
