"""Data Transmission Service, migrations."""

from tencentcloud.dts.v20211206 import models
from tencentcloud.dts.v20211206.dts_client import DtsClient

from apis.listed import Listed
from clients import Task

SCENARIO = r"""
region: ap-guangzhou
resources: [{id: cdb-target, name: orders}]
tasks:
  - id: dts-a1301
    resource: cdb-target
    kind: migration
    at: -2h
    life: [{run: {for: 1h, to: 0.5}}, {hang: {}}]
    steps: [{name: dumper}, {name: loader}]
  - {id: dts-a1302, resource: cdb-target, kind: migration, at: -2h,
     life: [{run: {for: 1h}}, {pause: {word: readyComplete}}]}
  - {id: dts-a1303, resource: cdb-target, kind: migration, at: -2h,
     life: [{run: {for: 1h}}, {fail: {word: error, message: "Error 1146"}}]}
spawn:
  - every: 1h
    from: -120h
    until: -75h
    prefix: "dts-"
    kinds: [migration]
    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]
"""

WORDS = {"dts-a1301": "running", "dts-a1302": "readyComplete", "dts-a1303": "error"}
COUNT = 48


def progress(info):
    """What is done of the steps; there is no progress of the job."""
    if not info.StepAll:
        return None
    return sum(step.Percent for step in info.StepInfo) / 100 / info.StepAll


class Client(Listed):
    models = models
    client_class = DtsClient
    action = "DescribeMigrationJobs"
    rows = "JobList"

    def task(self, it):
        return Task(
            id=it.JobId,
            kind="migration",
            word=it.Status,
            progress=progress(it.StepInfo),
            resource=it.DstInfo.Info[0].InstanceId,
            message=it.BriefMsg,
        )
