"""HUAWEI CLOUD TaurusDB."""

from huaweicloudsdkgaussdb.v3 import (
    GaussDBClient,
    ListImmediateJobsRequest,
    ShowGaussMySqlJobInfoRequest,
)

from apis.huawei import Service, ratio, scenario, words_of, zoned
from clients import Task

STATES = {
    "Running": "run",
    "Pending": "wait",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("c60e43ff268f4c0e879652d65e63d0ccin07", STATES, ["AddGaussDBforMySQLNodes", "RebootGaussDBforMySQLInstance"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = GaussDBClient
    most = 50

    def page(self, offset, limit):
        request = ListImmediateJobsRequest(
            start_time=zoned(days=29), end_time=zoned(minutes=-1), offset=str(offset), limit=str(limit)
        )
        return self.client.list_immediate_jobs(request).jobs

    def task(self, row):
        progress = ratio(row.process)
        return Task(row.job_id, row.job_name, row.status, progress, row.instance_id, row.fail_reason)

    def one(self, id):
        return self.client.show_gauss_my_sql_job_info(ShowGaussMySqlJobInfoRequest(id=id)).job.status
