"""HUAWEI CLOUD DRS."""

from huaweicloudsdkdrs.v3 import (
    BatchListProgressesRequest,
    BatchQueryProgressReq,
    DrsClient,
    QueryJobsReq,
    ShowJobListRequest,
)

from apis.huawei import Service, ratio, scenario, words_of
from clients import Task

STATES = {
    "FULL_TRANSFER_STARTED": "run",
    "INCRE_TRANSFER_STARTED": "run",
    "CONFIGURATION": "wait",
    "PAUSING": "pause",
    "RELEASE_RESOURCE_COMPLETE": "finish",
    "FULL_TRANSFER_FAILED": "fail",
}
SCENARIO = scenario("DRS", STATES, ["migration mysql", "sync oracle", "cloudDataGuard mysql"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = DrsClient
    throttled = "APIGW.0308"

    def any(self):
        return self.page("migration", 0, 10)

    def page(self, sort, offset, limit):
        body = QueryJobsReq(db_use_type=sort, cur_page=offset // limit + 1, per_page=limit)
        return self.client.show_job_list(ShowJobListRequest(body=body)).jobs

    def rows(self, limit):
        rows = []
        for sort in ("migration", "sync", "cloudDataGuard"):
            listed = []
            while more := self.page(sort, len(listed), limit):
                listed.extend(more)
                if len(more) < limit:
                    break
            rows.extend(listed)
        return rows

    def task(self, row):
        # That of a full transfer says how far it is; the phase after it has no end.
        progress = None
        if row.status.startswith("FULL_TRANSFER_"):
            progress = ratio(self.progress(row.id).progress)
        return Task(row.id, f"{row.db_use_type} {row.engine_type}", row.status, progress, "")

    def progress(self, id):
        body = BatchQueryProgressReq(jobs=[id])
        return self.client.batch_list_progresses(BatchListProgressesRequest(body=body)).results[0]

    def one(self, id):
        return self.progress(id).transfer_status
