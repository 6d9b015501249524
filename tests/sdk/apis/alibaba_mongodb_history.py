"""ApsaraDB for MongoDB, task centre."""

from alibabacloud_dds20151201 import models
from alibabacloud_dds20151201.client import Client as ProductClient

from apis.history import History

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: dds-shop, name: shop-, count: 2}]
tasks:
  - {id: t-0mqdds81, resource: dds-shop0001, kind: CreateIns, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: t-0mqdds82, resource: dds-shop0002, kind: HaSwitch, at: -2h,
     life: [{wait: {}}]}
  - {id: t-0mqdds83, resource: dds-shop0001, kind: CreateIns, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {pause: {}}]}
  - {id: t-0mqdds84, resource: dds-shop0002, kind: HaSwitch, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {}}]}
spawn:
  - every: 1h
    from: -270h
    until: -240h
    prefix: t-0mqdds8
    kinds: [CreateIns]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'t-0mqdds81': 'Running', 't-0mqdds82': 'Scheduled', 't-0mqdds83': 'Waiting', 't-0mqdds84': 'Failed'}
COUNT = 34


class Client(History):
    models = models
    client_class = ProductClient
