"""What HUAWEI CLOUD DDS has planned."""

from huaweicloudsdkdds.v3 import DdsClient, ListScheduledTasksRequest

from apis.huawei import Planned, scenario, words_of, zoned

STATES = {
    "Pending": "wait",
    "Running": "run",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("2d6a1f7b8c9e4d3a8f4b6c8d0e2f3a02in02", STATES, ["RESIZE_FLAVOR", "REBOOT"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Planned):
    client = DdsClient

    def page(self, offset, limit):
        request = ListScheduledTasksRequest(
            start_time=zoned(days=29), end_time=zoned(minutes=-1), offset=offset, limit=limit
        )
        return self.client.list_scheduled_tasks(request).schedules
