"""HUAWEI CLOUD DDM."""

from huaweicloudsdkddm.v1 import DdmClient, ListTasksRequest, ShowDdmJobResultRequest

from apis.huawei import Service, milliseconds, ratio, scenario, words_of
from clients import Task

STATES = {
    "Running": "run",
    "Expanding": "run",
    "ToBeSwitched": "pause",
    "Completed": "finish",
    "Failed": "fail",
    "CancelSuccess": "cancel",
}
SCENARIO = scenario("733c7e8d73a54c27b8308ec784a8aaaain09", STATES, ["migrateLogicDb", "EnlargeNode"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = DdmClient
    most = 128

    def page(self, offset, limit):
        # Given as floats, as the client declares them, they would be sent with a point.
        start, end = milliseconds(days=29), milliseconds(minutes=-1)
        request = ListTasksRequest(start_time=start, end_time=end, offset=offset, limit=limit)
        return self.client.list_tasks(request).jobs

    def task(self, row):
        progress = ratio(row.process)
        return Task(row.id, row.name, row.status, progress, row.instance_id, row.fail_reason)

    def one(self, id):
        return self.client.show_ddm_job_result(ShowDdmJobResultRequest(job_id=id)).job.status
