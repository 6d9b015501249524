"""HUAWEI CLOUD RDS."""

from huaweicloudsdkrds.v3 import ListTasksRequest, RdsClient

from apis.huawei import Service, milliseconds, ratio, scenario, words_of
from clients import Task

STATES = {"Running": "run", "Completed": "finish", "Failed": "fail"}
SCENARIO = scenario("b58e43ff268f4c0e879652d65e63d0bbin03", STATES, ["EnlargeVolume", "SingleToHa"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = RdsClient
    most = 50

    def page(self, offset, limit):
        request = ListTasksRequest(
            start_time=str(milliseconds(days=29)),
            end_time=str(milliseconds(days=-30)),
            offset=offset,
            limit=limit,
        )
        return self.client.list_tasks(request).tasks

    def task(self, row):
        progress = ratio(row.process)
        return Task(row.id, row.name, row.status, progress, row.instance_id, row.fail_reason)

    def one(self, id):
        return self.client.list_tasks(ListTasksRequest(id=id)).tasks[0].status
