"""TencentDB for MongoDB."""

from tencentcloud.mongodb.v20190725 import models
from tencentcloud.mongodb.v20190725.mongodb_client import MongodbClient

from apis.flow import COUNT, SCENARIO, Flow

WORDS = {"7101": "running", "7102": "success", "7103": "failed"}


class Client(Flow):
    models = models
    client_class = MongodbClient
    action = "DescribeAsyncRequestInfo"
    parameter = "AsyncRequestId"
    id = str
