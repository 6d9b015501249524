"""What HUAWEI CLOUD GeminiDB has planned."""

import json
from types import SimpleNamespace

from huaweicloudsdkgaussdbfornosql.v3 import GaussDBforNoSQLClient, ListNosqlTaskListRequest

from apis.huawei import Planned, scenario, words_of, zoned

STATES = {
    "Pending": "wait",
    "Running": "run",
    "Completed": "finish",
    "Failed": "fail",
    "Canceled": "cancel",
}
SCENARIO = scenario("8a6117ece8a0457a90060441fa37aaaain06", STATES, ["RESIZE_FLAVOR", "REBOOT"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Planned):
    client = GaussDBforNoSQLClient

    def page(self, offset, limit):
        request = ListNosqlTaskListRequest(
            start_time=zoned(days=29), end_time=zoned(minutes=-1), offset=str(offset), limit=str(limit)
        )
        answer = self.client.list_nosql_task_list(request)
        rows = json.loads(answer.raw_content)["schedules"]
        # The model of a row has no field.
        assert [row.to_dict() for row in answer.schedules] == [{}] * len(rows)
        return [SimpleNamespace(**row) for row in rows]
