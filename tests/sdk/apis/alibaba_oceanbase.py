"""ApsaraDB for OceanBase: data migration and synchronisation."""

from alibabacloud_oceanbasepro20190901 import models
from alibabacloud_oceanbasepro20190901.client import Client as ProductClient
from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered

# The vendor's projects are what their tasks work on, so each has a resource of its own.
SCENARIO = r"""
region: cn-hangzhou
resources: [{id: np_0001, name: orders}, {id: np_0002, name: ledger}]
tasks:
  - {id: np_0001, resource: np_0001, kind: MIGRATION, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: np_0002, resource: np_0002, kind: SYNC, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {code: OMS-1, message: "no grant"}}]}
"""

WORDS = {"np_0001": "RUNNING", "np_0002": "FAILED"}
COUNT = 2


class Client:
    error = ClientException
    small_page = 10

    def __init__(self, source):
        self.client = ProductClient(alibaba(source))

    def any(self):
        return self.page("MIGRATION", 1, 10)

    def page(self, of, number, limit):
        return self.client.list_projects(
            models.ListProjectsRequest(type=of, page_number=number, page_size=limit)
        ).body

    def tasks(self, limit=100):
        return [task for of in ("MIGRATION", "SYNC") for task in self.of(of, limit)]

    def of(self, of, limit):
        def page(number):
            body = self.page(of, number, limit)
            assert body.success
            return body.total_count, body.data

        for it in numbered(page):
            yield Task(
                id=it.id,
                kind=it.type,
                word=it.status,
                progress=it.extra_info.running_progress / 100,
                resource=it.id,
            )
