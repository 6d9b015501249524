"""Planned maintenance of Alibaba Cloud: the products' models and clients differ in their names only."""

from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered


class Maintenance:
    error = ClientException
    small_page = 30
    # As the class of a product has them.
    models = None
    client_class = None
    region_field = "region"
    id_field = "id"
    instance_field = "ins_name"

    def __init__(self, source):
        self.region = source.region
        self.client = self.client_class(alibaba(source))

    def any(self):
        return self.page(1, 30)

    def page(self, number, limit, region=None):
        return self.client.describe_active_operation_tasks(
            self.models.DescribeActiveOperationTasksRequest(
                **{self.region_field: region or self.region},
                status=-1,
                page_size=limit,
                page_number=number,
            )
        ).body

    def tasks(self, limit=100):
        def page(number):
            body = self.page(number, limit)
            return body.total_record_count, body.items

        return [
            Task(
                id=str(getattr(it, self.id_field)),
                kind=it.task_type,
                word=str(it.status),
                progress=None,
                resource=getattr(it, self.instance_field),
            )
            for it in numbered(page)
        ]
