"""HUAWEI CLOUD GeminiDB."""

from huaweicloudsdkgaussdbfornosql.v3 import GaussDBforNoSQLClient, ListJobsRequest

from apis.huawei import Service, ratio, scenario, words_of
from clients import Task

STATES = {"Running": "run", "Completed": "finish", "Failed": "fail"}
SCENARIO = scenario("27a045b6bf9e46f691f81366d398ddddin06", STATES, ["CreateInstance", "BackupInstance"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = GaussDBforNoSQLClient
    most = 50

    def page(self, offset, limit):
        return self.client.list_jobs(ListJobsRequest(offset=offset, limit=limit)).jobs

    def task(self, row):
        progress = ratio(row.progress)
        return Task(row.id, row.name, row.status, progress, row.instance.id, row.fail_reason)

    def one(self, id):
        return self.client.list_jobs(ListJobsRequest(id=id)).jobs[0].status
