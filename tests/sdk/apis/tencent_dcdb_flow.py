"""TDSQL for MySQL (DCDB), flows."""

from tencentcloud.dcdb.v20180411 import models
from tencentcloud.dcdb.v20180411.dcdb_client import DcdbClient

from apis.flow import COUNT, SCENARIO, WORDS, Flow


class Client(Flow):
    models = models
    client_class = DcdbClient
