"""Data Transmission Service, syncs."""

from tencentcloud.dts.v20211206 import models
from tencentcloud.dts.v20211206.dts_client import DtsClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: cdb-target, name: orders}]
tasks:
  - {id: sync-a1401, resource: cdb-target, kind: sync, at: -2h,
     life: [{run: {for: 1h, to: 0.42}}, {hang: {}}]}
  - {id: sync-a1402, resource: cdb-target, kind: sync, at: -2h, life: [{wait: {word: CheckPass}}]}
  - {id: sync-a1403, resource: cdb-target, kind: sync, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {fail: {word: ResumableErr, message: "i/o timeout"}}]}
  - {id: sync-a1404, resource: cdb-target, kind: sync, at: -2h,
     life: [{run: {for: 1h, to: 0.6}}, {cancel: {}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: "sync-"
    kinds: [sync]
    outcomes: [{life: [{run: {for: 5m}}, {cancel: {}}]}]
"""

WORDS = {"sync-a1401": "Running", "sync-a1402": "CheckPass", "sync-a1403": "ResumableErr", "sync-a1404": "Stopped"}
COUNT = 49


class Client(Listed):
    models = models
    client_class = DtsClient
    action = "DescribeSyncJobs"
    rows = "JobList"

    def task(self, it):
        return Task(
            id=it.JobId,
            kind="sync",
            word=it.Status,
            progress=it.Detail.Progress / 100,
            resource=it.DstInfo.InstanceId,
            message=it.Detail.ErrInfo.Message,
        )
