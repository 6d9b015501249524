"""Tasks of Alibaba Cloud that are listed instance by instance."""

from alibabacloud_tea_openapi.exceptions import ClientException

from clients import Task, alibaba, numbered


class InstanceTasks:
    error = ClientException
    small_page = 30
    # As the class of a product has them.
    models = None
    client_class = None

    def __init__(self, source):
        self.region = source.region
        self.client = self.client_class(alibaba(source))

    def any(self):
        return self.page_of_instances(1, 30)

    def tasks(self, limit=100):
        return [task for instance in self.instances() for task in self.of(instance, limit)]

    def of(self, instance, limit):
        def page(number):
            body = self.page(instance, number, limit)
            return body.total_record_count, self.rows(body)

        for it in numbered(page):
            yield Task(
                id=it.task_id,
                kind=it.task_action,
                word=it.status,
                progress=float(it.progress) / 100,
                resource=instance,
                message=it.task_error_message or None,
            )
