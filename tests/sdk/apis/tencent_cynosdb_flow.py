"""TDSQL-C (CynosDB), flows."""

from tencentcloud.cynosdb.v20190107 import models
from tencentcloud.cynosdb.v20190107.cynosdb_client import CynosdbClient

from apis.flow import COUNT, SCENARIO, WORDS, Flow


class Client(Flow):
    models = models
    client_class = CynosdbClient
