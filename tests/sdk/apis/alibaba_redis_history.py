"""Tair and Redis, task centre."""

from alibabacloud_r_kvstore20150101 import models
from alibabacloud_r_kvstore20150101.client import Client as ProductClient

from apis.history import History

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: r-shop, name: shop-, count: 2}]
tasks:
  - {id: t-0mqkv91, resource: r-shop0001, kind: ModifyInsSpec, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: t-0mqkv92, resource: r-shop0002, kind: AddInsNode, at: -2h,
     life: [{wait: {}}]}
  - {id: t-0mqkv93, resource: r-shop0001, kind: ModifyInsSpec, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {pause: {}}]}
  - {id: t-0mqkv94, resource: r-shop0002, kind: AddInsNode, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {}}]}
spawn:
  - every: 1h
    from: -270h
    until: -240h
    prefix: t-0mqkv9
    kinds: [ModifyInsSpec]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'t-0mqkv91': 'Running', 't-0mqkv92': 'Scheduled', 't-0mqkv93': 'Waiting', 't-0mqkv94': 'Failed'}
COUNT = 34


class Client(History):
    models = models
    client_class = ProductClient
