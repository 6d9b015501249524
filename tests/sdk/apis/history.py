"""The task centre of Alibaba Cloud: the products' models and clients differ in their names only."""

from datetime import datetime, timedelta, timezone

from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered


class History:
    error = ClientException
    small_page = 10

    # The product's, as the class of a product has them.
    models = None
    client_class = None

    def __init__(self, source):
        self.region = source.region
        self.client = self.client_class(alibaba(source))

    def any(self):
        return self.page(1, 10)

    def page(self, number, limit):
        now = datetime.now(timezone.utc)
        return self.client.describe_history_tasks(
            self.models.DescribeHistoryTasksRequest(
                region_id=self.region,
                from_start_time=f"{now - timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}",
                to_start_time=f"{now + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
                page_size=limit,
                page_number=number,
            )
        ).body

    def rows(self, limit=30):
        def page(number):
            body = self.page(number, limit)
            return int(body.total_count), body.items

        return list(numbered(page))

    def tasks(self, limit=30):
        return [
            Task(
                id=it.task_id,
                kind=it.task_type,
                word=it.status,
                progress=it.progress / 100,
                resource=it.instance_id,
            )
            for it in self.rows(limit)
        ]
