"""TencentDB for SQL Server, flows."""

from tencentcloud.sqlserver.v20180328 import models
from tencentcloud.sqlserver.v20180328.sqlserver_client import SqlserverClient

from apis.flow import COUNT, SCENARIO, WORDS, Flow


class Client(Flow):
    models = models
    client_class = SqlserverClient
    action = "DescribeFlowStatus"
