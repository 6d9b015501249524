"""AnalyticDB for MySQL, task centre."""

from alibabacloud_adb20211201 import models
from alibabacloud_adb20211201.client import Client as ProductClient

from apis.history import History

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: amv-shop, name: shop-, count: 2}]
tasks:
  - {id: t-0mqadb71, resource: amv-shop0001, kind: ModifyClusterConfig, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: t-0mqadb72, resource: amv-shop0002, kind: RestartCluster, at: -2h,
     life: [{wait: {}}]}
  - {id: t-0mqadb73, resource: amv-shop0001, kind: ModifyClusterConfig, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {pause: {}}]}
  - {id: t-0mqadb74, resource: amv-shop0002, kind: RestartCluster, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {}}]}
spawn:
  - every: 1h
    from: -270h
    until: -240h
    prefix: t-0mqadb7
    kinds: [ModifyClusterConfig]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'t-0mqadb71': 'Running', 't-0mqadb72': 'Scheduled', 't-0mqadb73': 'Waiting', 't-0mqadb74': 'Failed'}
COUNT = 34


class Client(History):
    models = models
    client_class = ProductClient
