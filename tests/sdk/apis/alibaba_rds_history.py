"""ApsaraDB RDS, task centre."""

from alibabacloud_rds20140815 import models
from alibabacloud_rds20140815.client import Client as ProductClient

from apis.history import History

SCENARIO = r"""
region: cn-hangzhou
resources: [{id: rm-shop, name: shop-, count: 35}]
tasks:
  - id: t-83br18h5001
    resource: rm-shop0001
    kind: ModifyInsSpec
    at: -2h
    life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]
    steps: [{name: init_task}, {name: exec_task, share: 3}]
  - {id: t-83br18h5002, resource: rm-shop0001, kind: CreateIns, at: -2h, life: [{wait: {}}]}
  - {id: t-83br18h5003, resource: rm-shop0002, kind: KernelVersionUpgrade, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {pause: {}}]}
  - {id: t-83br18h5004, resource: rm-shop0002, kind: RestartIns, at: -2h,
     life: [{run: {for: 1h, to: 0.7}}, {fail: {}}]}
  - {id: t-83br18h5005, resource: rm-shop0003, kind: ModifyInsConfig, at: -2h,
     life: [{run: {for: 1h, to: 0.1}}, {cancel: {}}]}
  - {id: t-83br18h5006, resource: rm-shop0003, kind: ModifyInsConfig, at: -2h,
     life: [{run: {for: 1h, to: 0.2}}, {hang: {word: Cancelling}}]}
spawn:
  - every: 1h
    from: -270h
    until: -200h
    prefix: t-83br18h
    kinds: [ManualBackupIns]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {'t-83br18h5001': 'Running', 't-83br18h5002': 'Scheduled', 't-83br18h5003': 'Waiting', 't-83br18h5004': 'Failed', 't-83br18h5005': 'Canceled', 't-83br18h5006': 'Cancelling'}
COUNT = 76


class Client(History):
    models = models
    client_class = ProductClient
