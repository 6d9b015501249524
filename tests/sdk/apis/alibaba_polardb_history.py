"""PolarDB, task centre."""

from alibabacloud_polardb20170801 import models
from alibabacloud_polardb20170801.client import Client as ProductClient

from apis.history import History

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: pc-shop, name: shop}]
tasks:
  - {id: t-0mqt8q6001, resource: pc-shop, kind: ChangeVariable, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: t-0mqt8q6002, resource: pc-shop, kind: RestartIns, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {}}]}
spawn:
  - every: 1h
    from: -270h
    until: -200h
    prefix: t-0mqt8q
    kinds: [ChangeVariable]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'t-0mqt8q6001': 'Running', 't-0mqt8q6002': 'Failed'}
COUNT = 72


class Client(History):
    models = models
    client_class = ProductClient
