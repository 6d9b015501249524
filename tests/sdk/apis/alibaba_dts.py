"""Data Transmission Service."""

from alibabacloud_dts20200101 import models as dts
from alibabacloud_dts20200101.client import Client as DtsClient
from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: dtsshop, name: shop-, count: 2}]
tasks:
  - {id: k2gm0001, resource: dtsshop0001, kind: MIGRATION, at: -2h,
     life: [{run: {for: 1h, to: 0.42, word: Migrating}}, {hang: {word: Migrating}}]}
  - {id: k2gm0002, resource: dtsshop0001, kind: SYNC, at: -2h,
     life: [{run: {for: 1h, to: 0.6, word: Initializing}}, {pause: {word: Suspending}}]}
  - {id: k2gm0003, resource: dtsshop0002, kind: SYNC, at: -2h,
     life: [{run: {for: 1h, to: 0.1}},
            {fail: {word: InitializeFailed, code: DTS-070211, message: "DTS-070211: no grant"}}]}
  - {id: k2gm0004, resource: dtsshop0002, kind: SUBSCRIBE, at: -2h, life: [{hang: {word: Normal}}]}
spawn:
  - every: 1h
    from: -270h
    until: -230h
    kinds: [MIGRATION]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {
    "k2gm0001": "Migrating",
    "k2gm0002": "Suspending",
    "k2gm0003": "InitializeFailed",
    "k2gm0004": "Normal",
}
COUNT = 44


class Client:
    error = ClientException
    small_page = 10

    def __init__(self, source):
        self.region = source.region
        self.client = DtsClient(alibaba(source))

    def any(self):
        return self.page("MIGRATION", 1, 10)

    def page(self, sort, number, limit, **more):
        return self.client.describe_dts_jobs(
            dts.DescribeDtsJobsRequest(
                region_id=self.region, job_type=sort, page_number=number, page_size=limit, **more
            )
        ).body

    def tasks(self, limit=100):
        return [task for sort in ("MIGRATION", "SYNC", "SUBSCRIBE") for task in self.of(sort, limit)]

    def of(self, sort, limit):
        def page(number):
            body = self.page(sort, number, limit)
            assert body.success
            return body.total_record_count, body.dts_job_list

        for it in numbered(page):
            percent = it.data_initialization_status.percent
            yield Task(
                id=it.dts_job_id,
                kind=sort,
                word=it.status,
                progress=float(percent) / 100 if percent else None,
                resource=it.dts_instance_id,
                message=it.error_message or None,
            )
