"""What HUAWEI CLOUD RDS has planned."""

from huaweicloudsdkrds.v3 import ListScheduleTasksRequest, RdsClient

from apis.huawei import Planned, scenario, words_of
from clients import Task

STATES = {
    "Pending": "wait",
    "Unauthorized": "wait",
    "Running": "run",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("3d2929b2c7ea4fe9bd27f21061d0aaaain01", STATES, ["RESIZE_FLAVOR", "REBOOT"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Planned):
    client = RdsClient
    most = 50

    def page(self, offset, limit):
        request = ListScheduleTasksRequest(offset=offset, limit=limit)
        return self.client.list_schedule_tasks(request).schedule_tasks

    def task(self, row):
        return Task(row.id, row.name, row.status, None, row.instance_id)
