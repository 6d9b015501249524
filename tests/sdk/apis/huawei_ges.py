"""HUAWEI CLOUD GES."""

from huaweicloudsdkges.v2 import GesClient, ListJobs2Request

from apis.huawei import Service, scenario, words_of
from clients import Task

STATES = {
    "running": "run",
    "pending": "wait",
    "success": "finish",
    "failed": "fail",
}
SCENARIO = scenario("social", STATES, ["ImportGraph", "CreateBackup"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = GesClient

    def page(self, offset, limit):
        return self.client.list_jobs2(ListJobs2Request(offset=str(offset), limit=str(limit))).job_list

    def task(self, row):
        return Task(row.job_id, row.job_type, row.status, None, "")
