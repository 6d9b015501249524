"""HUAWEI CLOUD DCS, migrations of data."""

from huaweicloudsdkdcs.v2 import (
    DcsClient,
    ListMigrationTaskRequest,
    ShowMigrationTaskStatsRequest,
)

from apis.huawei import Service, ratio, scenario, words_of
from clients import Task

STATES = {
    "MIGRATING": "run",
    "INCRMIGEATING": "run",
    "SUCCESS": "finish",
    "FAILED": "fail",
    "TERMINATED": "cancel",
}
SCENARIO = scenario("eb1a8d1c-0000-4fcd-ac43-c3d3c2490001", STATES, ["online_migration", "backupfile_import"])
WORDS = words_of(STATES)
COUNT = 40 + len(STATES)


class Client(Service):
    client = DcsClient

    def page(self, offset, limit):
        request = ListMigrationTaskRequest(offset=offset, limit=limit)
        return self.client.list_migration_task(request).migration_tasks

    def task(self, row):
        progress = self.progress(row.task_id) if row.status == "MIGRATING" else None
        return Task(row.task_id, row.migration_type, row.status, progress, row.target_instance_id)

    def progress(self, id):
        request = ShowMigrationTaskStatsRequest(task_id=id)
        return ratio(self.client.show_migration_task_stats(request).full_migration_progress)
