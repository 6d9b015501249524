"""Tencent Cloud's lists of a region: clients differ in their names and in how they read a row."""

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from clients import counted, tencent


class Listed:
    error = TencentCloudSDKException
    small_page = 20

    # The product's, as the class of a product has them.
    models = None
    client_class = None
    action = None
    rows = None

    def __init__(self, source):
        self.client = self.client_class(*tencent(source))

    def any(self):
        return self.page(0, 1)

    def page(self, offset, limit):
        request = getattr(self.models, f"{self.action}Request")()
        request.Offset, request.Limit = offset, limit
        answer = getattr(self.client, self.action)(request)
        return answer.TotalCount, getattr(answer, self.rows)

    def tasks(self, limit=100):
        return [self.task(row) for row in counted(lambda offset: self.page(offset, limit))]
