"""ApsaraDB for MongoDB, planned maintenance."""

from alibabacloud_dds20151201 import models
from alibabacloud_dds20151201.client import Client as ProductClient

from apis.maintenance import Maintenance

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: dds-shop, name: shop}]
tasks:
  - {id: "1001", resource: dds-shop, kind: rds_apsaradb_ha, at: -2h, life: [{wait: {for: 70h}}, {hang: {}}]}
  - {id: "1002", resource: dds-shop, kind: rds_apsaradb_upgrade, at: -2h,
     life: [{wait: {for: 1h}}, {hang: {}}]}
  - {id: "1003", resource: dds-shop, kind: rds_apsaradb_ha, at: -2h, life: [{run: {for: 1h}}, {cancel: {}}]}
spawn:
  - every: 5h
    from: -270h
    until: -70h
    kinds: [rds_apsaradb_transfer]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"1001": "3", "1002": "4", "1003": "7"}
COUNT = 43


class Client(Maintenance):
    models = models
    client_class = ProductClient
