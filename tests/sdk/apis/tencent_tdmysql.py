"""TDSQL boundless."""

from tencentcloud.tdmysql.v20211122 import models
from tencentcloud.tdmysql.v20211122.tdmysql_client import TdmysqlClient

from apis.flow import COUNT, SCENARIO, Flow

WORDS = {"7101": "running", "7102": "success", "7103": "failed"}


class Client(Flow):
    models = models
    client_class = TdmysqlClient
