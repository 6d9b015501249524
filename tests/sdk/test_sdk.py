"""The official clients work against the simulated clouds, and see what the exporter shows."""

from datetime import datetime, timezone

import pytest

from clients import CLIENTS, Task

SOURCES = ["mysql", "redis", "polardb", "polardb-history", "rds", "adb", "dds"]
TEMPORARY = [f"{name}-sts" for name in SOURCES]


def by_id(tasks):
    found = {task.id: task for task in tasks}
    assert len(found) == len(tasks), "a task is listed twice"
    return found


# What is there


def test_mysql_lists_every_task_over_all_pages(clouds):
    client = clouds.client("mysql")
    tasks = by_id(client.tasks(limit=50))
    assert len(tasks) == 247
    assert tasks == by_id(client.tasks(limit=100))
    assert tasks["1001"] == Task("1001", "UPGRADE MASTER", "RUNNING", 0.42, "cdb-shop0001", "")
    assert tasks["1004"].message == 'ERROR 1064 "订单"\n  at line 12'
    assert tasks["1007"].kind == "数据导入"
    words = {id: task.word for id, task in tasks.items() if len(id) == 4}
    assert words == {
        "1001": "RUNNING",
        "1002": "PAUSED",
        "1003": "SUCCEED",
        "1004": "FAILED",
        "1005": "REMOVED",
        "1006": "WAITING",
        "1007": "FROZEN",
    }


def test_redis_lists_every_task_over_all_pages(clouds):
    client = clouds.client("redis")
    tasks = by_id(client.tasks(limit=40))
    assert len(tasks) == 244
    assert tasks["2001"] == Task("2001", "002", "running", 0.42, "crs-cart0001")
    words = {id: task.word for id, task in tasks.items() if len(id) == 4}
    assert words == {"2001": "running", "2002": "preparing", "2003": "succeed", "2004": "failed"}


def test_redis_says_why_a_task_failed(clouds):
    info = clouds.client("redis").info("2004")
    assert (info.Status, info.InstanceId) == ("failed", "crs-cart0003")
    assert info.TaskMessage == 'short read of "dump.rdb"\nat 1048576'
    # Two hours ago, at one hour after its birth, in Beijing.
    started = datetime.strptime(info.StartTime + " +0800", "%Y-%m-%d %H:%M:%S %z")
    assert 7100 < (datetime.now(timezone.utc) - started).total_seconds() < 7800


def test_polardb_lists_every_task_by_status_over_all_pages(clouds):
    tasks = by_id(clouds.client("polardb").tasks())
    assert len(tasks) == 75
    assert tasks["3001"].progress == 0.5
    assert tasks["3004"].message == 'no "node"\nleft'
    words = {id: task.word for id, task in tasks.items() if len(id) == 4}
    assert words == {
        "3001": "Running",
        "3002": "Waiting",
        "3003": "Pause",
        "3004": "Stop",
        "3005": "Closed",
    }


def test_rds_lists_every_task_of_the_task_centre_over_all_pages(clouds):
    client = clouds.client("rds")
    tasks = by_id(client.tasks(limit=10))
    assert len(tasks) == 76
    assert tasks == by_id(client.tasks(limit=100))
    assert tasks["t-83br18h5001"] == Task("t-83br18h5001", "ModifyInsSpec", "Running", 0.42, "rm-shop0001")
    words = {id.removeprefix("t-83br18h"): task.word for id, task in tasks.items() if len(id) == 13}
    assert words == {
        "5001": "Running",
        "5002": "Scheduled",
        "5003": "Waiting",
        "5004": "Failed",
        "5005": "Canceled",
        "5006": "Cancelling",
    }
    row = next(row for row in client.rows() if row.task_id == "t-83br18h5001")
    assert (row.current_step_name, row.instance_name, row.end_time) == ("exec_task", "shop-0001", "")


def test_the_task_centre_of_polardb_counts_in_texts_and_its_names_are_ids(clouds):
    client = clouds.client("polardb-history")
    tasks = by_id(client.tasks(limit=10))
    assert len(tasks) == 72
    assert isinstance(client.page(1, 10).total_count, str)
    assert {row.instance_name for row in client.rows()} == {"pc-shop"}
    assert tasks["t-0mqt8q6002"].word == "Failed"


def test_adb_reads_tasks_by_id_and_jobs_of_clusters(clouds):
    tasks = by_id(clouds.client("adb").tasks())
    assert len(tasks) == 5
    assert tasks["4001"] == Task("4001", "", "Running", 0.42, "am-house0001")
    job = next(task for task in tasks.values() if task.kind)
    assert (job.kind, job.word) == ("analyticDBFlexibleScaleOut", "RUNNING")
    words = {id: task.word for id, task in tasks.items() if len(id) == 4}
    assert words == {"4001": "Running", "4002": "Finished", "4003": "Failed", "4004": "Melting"}


def test_dds_lists_every_task_over_all_pages(clouds):
    client = clouds.client("dds")
    tasks = by_id(client.tasks(limit=40))
    assert len(tasks) == 243
    words = {task.kind: (task.word, task.progress) for id, task in tasks.items() if id.endswith("-00000000c0de")}
    assert words == {
        "Create_MongoDB": ("Running", 0.09),
        "Restore_MongoDB_库存": ("Completed", None),
        "ResizeMongoDBInstance": ("Failed", None),
    }
    job = client.info("5a3cd1f0-0003-4d2a-8f00-00000000c0de")
    assert (job.status, job.fail_reason) == ("Failed", 'no "flavor"\nleft')


@pytest.mark.parametrize(
    "source, count", [("mysql", 45), ("redis", 45), ("polardb", 35), ("adb", 36), ("dds", 45)]
)
def test_instances_are_listed_over_all_pages(clouds, source, count):
    instances = clouds.client(source).instances()
    assert len(instances) == count
    assert sum(1 for name in instances.values() if name) >= count - 1


@pytest.mark.parametrize("source", TEMPORARY)
def test_temporary_keys_work_with_their_token(clouds, source):
    assert clouds.source(source).token
    assert [task.resource for task in clouds.client(source).tasks()]


# Who may not see it


@pytest.mark.parametrize(
    "source, code",
    [
        ("mysql", "AuthFailure.SignatureFailure"),
        ("redis", "AuthFailure.SignatureFailure"),
        ("polardb", "SignatureDoesNotMatch"),
        ("rds", "SignatureDoesNotMatch"),
        ("adb", "SignatureDoesNotMatch"),
        ("dds", "APIGW.0301"),
    ],
)
def test_a_wrong_secret_is_refused_in_the_vendors_words(clouds, source, code):
    assert refusal(clouds.client(source, secret="not the secret")) == code


@pytest.mark.parametrize(
    "source, code",
    [
        ("mysql", "AuthFailure.SecretIdNotFound"),
        ("redis", "AuthFailure.SecretIdNotFound"),
        ("polardb", "InvalidAccessKeyId.NotFound"),
        ("adb", "InvalidAccessKeyId.NotFound"),
        ("dds", "APIGW.0301"),
    ],
)
def test_an_unknown_key_is_refused_in_the_vendors_words(clouds, source, code):
    assert refusal(clouds.client(source, key="nobody")) == code


@pytest.mark.parametrize(
    "source, token, code",
    [
        ("mysql-sts", "another", "AuthFailure.TokenFailure"),
        ("redis-sts", None, "AuthFailure.TokenFailure"),
        ("polardb-sts", "another", "InvalidSecurityToken"),
        ("adb-sts", None, "MissingSecurityToken"),
        ("dds-sts", "another", "APIGW.0301"),
    ],
)
def test_temporary_keys_are_refused_without_their_token(clouds, source, token, code):
    assert refusal(clouds.client(source, token=token)).startswith(code)


@pytest.mark.parametrize(
    "source, code",
    [
        ("mysql-busy", "RequestLimitExceeded"),
        ("redis-busy", "RequestLimitExceeded"),
        ("polardb-busy", "Throttling.User"),
        ("rds-busy", "Throttling.User"),
        ("adb-busy", "Throttling.User"),
        # The client keeps only the status of this one.
        ("dds-busy", "429"),
    ],
)
def test_throttling_is_told_in_the_vendors_words(clouds, source, code):
    client = clouds.client(source)
    with pytest.raises(client.error) as raised:
        for _ in range(20):
            client.any()
    assert code_of(raised.value) == code


@pytest.mark.parametrize(
    "source, code",
    [
        ("mysql-expired", "AuthFailure.TokenFailure"),
        ("polardb-expired", "InvalidSecurityToken.Expired"),
        ("dds-expired", "APIGW.0307"),
        ("mysql-skewed", "AuthFailure.SignatureExpire"),
        ("polardb-skewed", "InvalidTimeStamp.Expired"),
        ("dds-skewed", "APIGW.0301"),
        ("dds-without-list", "APIG"),
    ],
)
def test_faults_are_told_in_the_vendors_words(clouds, source, code):
    assert refusal(clouds.client(source)).startswith(code)


def test_without_its_list_dds_still_answers_by_id(clouds):
    assert clouds.client("dds-without-list").info("t1").status == "Running"


# The exporter


@pytest.mark.parametrize("source", SOURCES)
def test_the_exporter_shows_what_the_official_client_reads(clouds, exporter, source):
    read = by_id(clouds.client(source).tasks())
    shown = exporter.tasks(source)
    assert set(shown) == set(read)
    for id, task in read.items():
        assert shown[id]["vendor_status"] == task.word, id
        assert shown[id]["resource"]["id"] == task.resource, id
        if source != "redis":  # its codes are shown as the names that stand for them
            assert shown[id]["kind"] == task.kind, id
        if shown[id]["progress"] is not None and task.progress is not None:
            assert shown[id]["progress"] == pytest.approx(task.progress, abs=0.001), id
        assert (shown[id]["progress"] is None) == (task.progress is None), id


def refusal(client):
    """The vendor's code with which the client's usual exception is raised."""
    with pytest.raises(client.error) as raised:
        client.any()
    return code_of(raised.value)


def code_of(error):
    return getattr(error, "error_code", None) or getattr(error, "code", None)


def test_every_client_is_used():
    assert len(CLIENTS) == len(SOURCES)
