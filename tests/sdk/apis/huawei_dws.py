"""HUAWEI CLOUD DWS."""

from huaweicloudsdkdws.v2 import DwsClient, ListClustersRequest, ListJobDetailsRequest

from apis.huawei import Service, ratio
from clients import Task

SCENARIO = """
region: cn-north-4
resources:
  - {id: 7d85f602-0000-4a30-afd4-e84f47470001, name: dws-1}
  - {id: 7d85f602-0000-4a30-afd4-e84f47470002, name: dws-2}
  - {id: 7d85f602-0000-4a30-afd4-e84f47470003}
tasks:
  - {id: 7d85f602-0000-4a30-afd4-e84f47470001/SNAPSHOTTING, resource: 7d85f602-0000-4a30-afd4-e84f47470001,
     kind: SNAPSHOTTING, at: -2h,
     life: [{run: {for: 1h, to: 0.42, word: SNAPSHOTTING}}, {hang: {word: SNAPSHOTTING}}]}
  - {id: 7d85f602-0000-4a30-afd4-e84f47470002/REDISTRIBUTING, resource: 7d85f602-0000-4a30-afd4-e84f47470002,
     kind: REDISTRIBUTING, at: -2h,
     life: [{run: {for: 1h, to: 0.5}}, {pause: {word: REDISTRIBUTION_PAUSED}}]}
  - {id: 2c9080e88459fa44018459fbeb600001, resource: 7d85f602-0000-4a30-afd4-e84f47470003, configured: true,
     kind: ecfClusterElbCreateJob, at: -2h,
     life: [{run: {for: 1h, to: 0.09}}, {fail: {code: DWS.0114, message: no IP}}]}
"""
WORDS = {
    "7d85f602-0000-4a30-afd4-e84f47470001/SNAPSHOTTING": "SNAPSHOTTING",
    "7d85f602-0000-4a30-afd4-e84f47470002/REDISTRIBUTING": "REDISTRIBUTION_PAUSED",
    "2c9080e88459fa44018459fbeb600001": "FAIL",
}
COUNT = 3


class Client(Service):
    client = DwsClient

    def __init__(self, source):
        super().__init__(source)
        self.configured = source.configured

    def any(self):
        return self.clusters()

    def clusters(self):
        return self.client.list_clusters(ListClustersRequest()).clusters

    def tasks(self, limit=None):
        """What clusters do, and the jobs that the configuration names."""
        listed = []
        for cluster in self.clusters():
            for action, progress in (cluster.action_progress or {}).items():
                word = cluster.task_status
                listed.append(Task(f"{cluster.id}/{action}", action, word, ratio(progress), cluster.id))
        for it in self.configured:
            # What a cluster does cannot be asked for by an id.
            if "/" not in it["id"]:
                job = self.client.list_job_details(ListJobDetailsRequest(job_id=it["id"]))
                listed.append(Task(job.job_id, job.job_name, job.status, ratio(job.progress), ""))
        return listed
