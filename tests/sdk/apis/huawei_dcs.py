"""HUAWEI CLOUD DCS, its task centre."""

from huaweicloudsdkdcs.v2 import DcsClient, ListCenterTaskRequest

from apis.huawei import Service, scenario, words_of
from clients import Task

STATES = {
    "EXECUTING": "run",
    "CREATED": "wait",
    "SUCCESS": "finish",
    "FAILED": "fail",
    "CANCELLED": "cancel",
}
SCENARIO = scenario("redis-1", STATES, ["EXTEND", "ChangeInstanceSpec"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = DcsClient
    most = 1000

    def page(self, offset, limit):
        answer = self.client.list_center_task(ListCenterTaskRequest(offset=offset, limit=limit))
        assert isinstance(answer.task_count, str)
        return answer.tasks

    def task(self, row):
        return Task(row.id, row.name, row.status, None, "")
