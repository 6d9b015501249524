"""The official clients work against the simulated clouds, and see what the exporter shows."""

from datetime import datetime, timedelta, timezone

import pytest

from clients import CLIENTS, MODULES, Task, cloud

SOURCES = list(CLIENTS)
DISCOVERED = {
    "tencent_cdb": 45,
    "tencent_redis": 45,
    "tencent_sqlserver": 5,
    "alibaba_polardb": 35,
    "alibaba_adb": 36,
    "alibaba_polardbx": 35,
    "alibaba_rds": 35,
    "huawei_dds": 45,
}


def by_id(tasks):
    found = {task.id: task for task in tasks}
    assert len(found) == len(tasks), "a task is listed twice"
    return found


# What is there


@pytest.mark.parametrize("source", SOURCES)
def test_every_task_is_listed_over_all_pages(clouds, source):
    client, module = clouds.client(source), MODULES[source]
    tasks = by_id(client.tasks())
    assert len(tasks) == module.COUNT
    assert tasks == by_id(client.tasks(limit=client.small_page))
    assert {id: tasks[id].word for id in module.WORDS} == module.WORDS


def test_mysql_says_what_a_task_is_and_why_it_failed(clouds):
    tasks = by_id(clouds.client("tencent_cdb").tasks())
    assert tasks["1001"] == Task("1001", "UPGRADE MASTER", "RUNNING", 0.42, "cdb-shop0001", "")
    assert tasks["1004"].message == 'ERROR 1064 "订单"\n  at line 12'
    assert tasks["1007"].kind == "数据导入"


def test_redis_lists_codes_for_kinds(clouds):
    tasks = by_id(clouds.client("tencent_redis").tasks())
    assert tasks["2001"] == Task("2001", "002", "running", 0.42, "crs-cart0001")


def test_redis_says_why_a_task_failed(clouds):
    info = clouds.client("tencent_redis").info("2004")
    assert (info.Status, info.InstanceId) == ("failed", "crs-cart0003")
    assert info.TaskMessage == 'short read of "dump.rdb"\nat 1048576'
    # Two hours ago, at one hour after its birth, in Beijing.
    started = datetime.strptime(info.StartTime + " +0800", "%Y-%m-%d %H:%M:%S %z")
    assert 7100 < (datetime.now(timezone.utc) - started).total_seconds() < 7800


def test_polardb_says_why_a_task_failed(clouds):
    tasks = by_id(clouds.client("alibaba_polardb").tasks())
    assert tasks["3001"].progress == 0.5
    assert tasks["3004"].message == 'no "node"\nleft'


def test_the_task_centre_shows_the_step_and_no_end_of_a_running_task(clouds):
    client = clouds.client("alibaba_rds_history")
    tasks = by_id(client.tasks())
    assert tasks["t-83br18h5001"] == Task("t-83br18h5001", "ModifyInsSpec", "Running", 0.42, "rm-shop0001")
    row = next(row for row in client.rows() if row.task_id == "t-83br18h5001")
    assert (row.current_step_name, row.instance_name, row.end_time) == ("exec_task", "shop-0001", "")


def test_the_task_centre_of_polardb_counts_in_texts_and_its_names_are_ids(clouds):
    client = clouds.client("alibaba_polardb_history")
    assert isinstance(client.page(1, 10).total_count, str)
    assert {row.instance_name for row in client.rows()} == {"pc-shop"}


def test_the_task_centre_of_adb_says_that_it_succeeded(clouds):
    assert clouds.client("alibaba_adb_history").page(1, 10).success is True


def test_dts_refuses_with_a_good_status_of_which_its_client_says_nothing(clouds):
    body = clouds.client("alibaba_dts").page("MIGRATION", 1, 30, type="x")
    assert (body.success, body.err_code) == (False, "InvalidParameter")
    assert not body.dts_job_list


def test_dts_gives_fewer_rows_than_are_asked_for(clouds):
    body = clouds.client("alibaba_dts").page("MIGRATION", 1, 100)
    assert (len(body.dts_job_list), body.total_record_count) == (30, 41)


def test_oceanbase_refuses_with_a_good_status_of_which_its_client_says_nothing(clouds):
    body = clouds.client("alibaba_oceanbase").page("VERIFY", 1, 10)
    assert (body.success, body.error_detail.code, body.data) == (False, "INVALID_PARAMETER", [])


def test_maintenance_is_listed_for_all_regions_at_once(clouds):
    client = clouds.client("alibaba_rds_maintenance")
    body = client.page(1, 100, region="all")
    assert body.total_record_count == 43
    planned = next(row for row in body.items if row.id == 1001)
    assert planned.switch_time > f"{datetime.now(timezone.utc) + timedelta(hours=60):%Y-%m-%dT%H}"


def test_adb_reads_tasks_by_id_and_jobs_of_clusters(clouds):
    tasks = by_id(clouds.client("alibaba_adb").tasks())
    assert tasks["4001"] == Task("4001", "", "Running", 0.42, "am-house0001")
    job = next(task for task in tasks.values() if task.kind)
    assert (job.kind, job.word) == ("analyticDBFlexibleScaleOut", "RUNNING")


def test_dds_tells_kinds_and_progress(clouds):
    client = clouds.client("huawei_dds")
    tasks = by_id(client.tasks())
    words = {task.kind: (task.word, task.progress) for id, task in tasks.items() if id.endswith("-00000000c0de")}
    assert words == {
        "Create_MongoDB": ("Running", 0.09),
        "Restore_MongoDB_库存": ("Completed", None),
        "ResizeMongoDBInstance": ("Failed", None),
    }
    job = client.info("5a3cd1f0-0003-4d2a-8f00-00000000c0de")
    assert (job.status, job.fail_reason) == ("Failed", 'no "flavor"\nleft')


@pytest.mark.parametrize("source", [name for name in SOURCES if hasattr(CLIENTS[name], "one")])
def test_one_job_is_found_by_its_id_and_a_refusal_has_the_id_of_its_request(clouds, source):
    client, words = clouds.client(source), MODULES[source].WORDS
    assert {id: client.one(id) for id in words} == words
    with pytest.raises(client.error) as raised:
        clouds.client(source, secret="not the secret").any()
    assert raised.value.request_id.startswith("51A1D000-")


@pytest.mark.parametrize("source, count", DISCOVERED.items())
def test_instances_are_listed_over_all_pages(clouds, source, count):
    instances = clouds.client(source).instances()
    assert len(instances) == count
    assert sum(1 for name in instances.values() if name) >= count - 1


@pytest.mark.parametrize("source", SOURCES)
def test_temporary_keys_work_with_their_token(clouds, source):
    source = f"{source}-sts"
    assert clouds.source(source).token
    assert [task.resource for task in clouds.client(source).tasks()]


# Who may not see it


@pytest.mark.parametrize("source", SOURCES)
def test_a_wrong_secret_is_refused_in_the_vendors_words(clouds, source):
    code = {
        "alibaba": "SignatureDoesNotMatch",
        "huawei": "APIGW.0301",
        "tencent": "AuthFailure.SignatureFailure",
    }[cloud(source)]
    assert refusal(clouds.client(source, secret="not the secret")) == code


@pytest.mark.parametrize("source", SOURCES)
def test_an_unknown_key_is_refused_in_the_vendors_words(clouds, source):
    code = {
        "alibaba": "InvalidAccessKeyId.NotFound",
        "huawei": "APIGW.0301",
        "tencent": "AuthFailure.SecretIdNotFound",
    }[cloud(source)]
    assert refusal(clouds.client(source, key="nobody")) == code


@pytest.mark.parametrize(
    "source, token, code",
    [
        ("tencent_cdb-sts", "another", "AuthFailure.TokenFailure"),
        ("tencent_redis-sts", None, "AuthFailure.TokenFailure"),
        ("alibaba_polardb-sts", "another", "InvalidSecurityToken"),
        ("alibaba_adb-sts", None, "MissingSecurityToken"),
        ("huawei_dds-sts", "another", "APIGW.0301"),
    ],
)
def test_temporary_keys_are_refused_without_their_token(clouds, source, token, code):
    assert refusal(clouds.client(source, token=token)).startswith(code)


@pytest.mark.parametrize("source", SOURCES)
def test_throttling_is_told_in_the_vendors_words(clouds, source):
    # Huawei's clients keep only the status, but for what is asked with a body.
    code = {"alibaba": "Throttling.User", "huawei": "429", "tencent": "RequestLimitExceeded"}
    client = clouds.client(f"{source}-busy")
    with pytest.raises(client.error) as raised:
        for _ in range(20):
            client.any()
    assert code_of(raised.value) == getattr(client, "throttled", code[cloud(source)])


@pytest.mark.parametrize(
    "source, code",
    [
        ("tencent_cdb-expired", "AuthFailure.TokenFailure"),
        ("alibaba_polardb-expired", "InvalidSecurityToken.Expired"),
        ("huawei_dds-expired", "APIGW.0307"),
        ("tencent_cdb-skewed", "AuthFailure.SignatureExpire"),
        ("alibaba_polardb-skewed", "InvalidTimeStamp.Expired"),
        ("huawei_dds-skewed", "APIGW.0301"),
        ("huawei_dds-without-list", "APIG"),
    ],
)
def test_faults_are_told_in_the_vendors_words(clouds, source, code):
    assert refusal(clouds.client(source)).startswith(code)


def test_without_its_list_dds_still_answers_by_id(clouds):
    assert clouds.client("huawei_dds-without-list").info("t1").status == "Running"


# The exporter


@pytest.mark.parametrize("source", SOURCES)
def test_the_exporter_shows_what_the_official_client_reads(clouds, exporter, source):
    read = by_id(clouds.client(source).tasks())
    shown = exporter.tasks(source)
    assert set(shown) == set(read)
    for id, task in read.items():
        assert shown[id]["vendor_status"] == task.word, id
        assert shown[id]["resource"]["id"] == task.resource, id
        if getattr(clouds.client(source), "same_kinds", True):
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
