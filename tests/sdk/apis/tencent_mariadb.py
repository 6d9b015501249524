"""TencentDB for MariaDB."""

from tencentcloud.mariadb.v20170312 import models
from tencentcloud.mariadb.v20170312.mariadb_client import MariadbClient

from apis.flow import COUNT, SCENARIO, WORDS, Flow


class Client(Flow):
    models = models
    client_class = MariadbClient
