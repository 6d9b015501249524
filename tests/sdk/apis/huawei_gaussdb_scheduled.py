"""What HUAWEI CLOUD GaussDB has planned."""

from huaweicloudsdkgaussdbforopengauss.v3 import GaussDBforopenGaussClient, ListScheduleTaskRequest

from apis.huawei import Planned, scenario, words_of
from clients import Task

STATES = {
    "Pending": "wait",
    "Running": "run",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("27d88813dc544177b6777671edebaaaain14", STATES, ["Hot patch upgrade"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Planned):
    client = GaussDBforopenGaussClient

    def page(self, offset, limit):
        return self.client.list_schedule_task(ListScheduleTaskRequest(offset=offset, limit=limit)).tasks

    def task(self, row):
        return Task(row.task_id, row.task_name, row.status, None, row.instance_id)
