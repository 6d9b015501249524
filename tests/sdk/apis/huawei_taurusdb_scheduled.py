"""What HUAWEI CLOUD TaurusDB has planned."""

from huaweicloudsdkgaussdb.v3 import GaussDBClient, ListScheduleJobsRequest

from apis.huawei import Planned, scenario, words_of

STATES = {
    "Pending": "wait",
    "Unauthorized": "wait",
    "Running": "run",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("79bc540dd4d6432784894a981fdfaaaain07", STATES, ["VERSION_UPGRADE", "REBOOT_NODE"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Planned):
    client = GaussDBClient

    def page(self, offset, limit):
        request = ListScheduleJobsRequest(offset=str(offset), limit=str(limit))
        return self.client.list_schedule_jobs(request).schedules
