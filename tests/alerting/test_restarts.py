"""Every alert fires; then both Prometheus are restarted, and later the exporter comes back at another address.
Nobody is called a second time, and nothing ends that still holds.

The rules are those that are shipped, with every duration a tenth: what is ten minutes there is one here. So
are Prometheus' own durations that count here. Waits of more than ten minutes are restored as those of ten are,
and are cut to that. The exporter is a page that tells all the troubles at once."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from test_alerting import PROMETHEUS, ROOT, World, free_ports, get_json, until

RULES = (ROOT / "rules" / "dbtask.rules.yml").read_text()
ALERTS = {rule["alert"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"] if "alert" in rule}
SCALE = 10
# Prometheus says of an alert that it lasts for four times as long as it waits before it says so again.
RESEND = 60 / SCALE
KEPT = 4 * RESEND
FLAGS = ("--rules.alert.for-grace-period=60s", f"--rules.alert.resend-delay={RESEND:.0f}s", "--query.lookback-delta=30s")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def scaled(rules):
    def tenth(found):
        return f"{int(found[1]) * SECONDS[found[2]] * 1000 // SCALE}ms"

    rules = re.sub(r"(?<=for: )(?:1h|20m|15m)$", "10m", rules, flags=re.M)
    return re.sub(r"(?<=for: )(\d+)([smhd])$|(?<=[\[:])(\d+)([smhd])(?=[\]:])",
                  lambda found: tenth(re.fullmatch(r"(\d+)([smhd])", found[0])), rules, flags=re.M)


class Troubles(BaseHTTPRequestHandler):
    """An exporter to which everything happens, and that forgets nothing when it moves."""

    def do_GET(self):
        begun, now = self.server.begun, time.time()
        old, counted = begun - 90_000, int(now - begun)
        lines = [
            "dbtask_exporter_config_last_reload_successful 0",
            "dbtask_exporter_journal_last_write_successful 0",
        ]
        for source, up, last in (("good", 1, now), ("bad", 0, old)):
            of = f'source="{source}"'
            lines += [
                f'dbtask_source_info{{{of},cloud="tencent",api="tencent_cdb",cloud_region="ap-guangzhou",account="prod"}} 1',
                f"dbtask_source_up{{{of}}} {up}",
                f"dbtask_source_last_success_timestamp_seconds{{{of}}} {last}",
                f"dbtask_source_poll_interval_seconds{{{of}}} 30",
                f"dbtask_source_polls_total{{{of}}} {counted}",
                f'dbtask_api_requests_total{{{of},operation="DescribeTasks"}} {counted}',
            ]
        lines += [
            f'dbtask_source_poll_failures_total{{source="bad",reason="auth"}} {counted}',
            f'dbtask_source_credentials_expiry_timestamp_seconds{{source="bad"}} {old}',
            'dbtask_api_budget_remaining{source="good"} 0',
            'dbtask_source_tasks_truncated{source="good"} 9',
            'dbtask_source_resources_failing{source="good",reason="auth"} 1',
            'dbtask_source_discovery_failing{source="good",reason="auth"} 1',
            f'dbtask_source_coverage_gaps_total{{source="good"}} {counted}',
            f'dbtask_api_request_failures_total{{source="good",operation="DescribeTasks",reason="throttled"}} {counted}',
            f'dbtask_task_failures_total{{source="good",task_kind="UPGRADE"}} {counted}',
            f'dbtask_task_scheduled_timestamp_seconds{{source="good",task_id="4"}} {begun + 3600}',
        ]
        for task, state in (("1", "failed"), ("2", "running"), ("3", "pending"), ("4", "pending")):
            of = f'source="good",task_id="{task}"'
            lines += [
                f'dbtask_task_info{{{of},task_kind="UPGRADE",resource_id="cdb-1",resource_name="orders",origin="listed"}} 1',
                f'dbtask_task_state{{{of},state="{state}"}} 1',
                f"dbtask_task_start_timestamp_seconds{{{of}}} {old}",
                f"dbtask_task_progress_changed_timestamp_seconds{{{of}}} {old}",
                f"dbtask_task_progress_ratio{{{of}}} 0.5",
            ]
        body = "".join(line + "\n" for line in lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def exporter(port, begun):
    server = ThreadingHTTPServer(("127.0.0.1", port), Troubles)
    server.begun = begun
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()


def called(world, name):
    return {alert["labels"]["alertname"] for _, alert in world.sink.pages[name]}


def firing(world, name):
    """By Prometheus' own memory, which begins empty; what it has stored goes back to before its start."""
    alerts = get_json(f"http://127.0.0.1:{world.ports[f'prometheus-{name}']}/api/v1/alerts")["data"]["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def quiet_for(world, seconds):
    """What is said within this time: nothing, if all is well."""
    before = {name: len(pages) for name, pages in world.sink.pages.items()}
    time.sleep(seconds)
    return {name: [(alert["labels"]["alertname"], alert["status"]) for _, alert in pages[before[name]:]]
            for name, pages in world.sink.pages.items()}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What happened: the tests below look at it."""
    world = World(tmp_path_factory.mktemp("restarts"))
    first, second = world.exporter_ports
    servers, begun = [], time.time()
    try:
        servers.append(exporter(first, begun))
        # A release that is down stands for DbtaskExporterDown, beside the one that has all other troubles.
        [nobody] = free_ports(1)
        groups = [
            {"targets": [f"127.0.0.1:{first}"], "labels": {"namespace": "db", "pod": "dbtask-1"}},
            {"targets": [f"127.0.0.1:{second}"], "labels": {"namespace": "db", "pod": "dbtask-2"}},
            {"targets": [f"127.0.0.1:{nobody}"], "labels": {"namespace": "down", "pod": "dbtask-1"}},
        ]
        world.start_watchers(groups, world.write("rules.yml", scaled(RULES)), FLAGS)
        for name in PROMETHEUS:
            until(f"every alert from Prometheus {name}", lambda name=name: called(world, name) == ALERTS, 240)
        world.first = {name: list(pages) for name, pages in world.sink.pages.items()}
        stopped = time.monotonic()
        world.restart_prometheus()
        for name in PROMETHEUS:
            until(f"alerts of Prometheus {name} after its start", lambda name=name: firing(world, name) == ALERTS, 60)
        world.away = time.monotonic() - stopped
        world.after_prometheus = quiet_for(world, 2 * KEPT)
        world.firing = {name: firing(world, name) for name in PROMETHEUS}
        stop(servers.pop())
        time.sleep(60 / SCALE)
        servers.append(exporter(second, begun))
        # Longer than any memory but that of DbtaskTaskFailed, and than what Alertmanager keeps.
        world.after_exporter = quiet_for(world, 300 / SCALE + 2 * KEPT)
        yield world
    except BaseException:
        for log in sorted(world.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        for server in servers:
            stop(server)
        world.stop()


def test_every_duration_is_a_tenth():
    assert scaled("last_over_time((x)[5m:1m]) and y[1d]\n        for: 1h\n") == (
        "last_over_time((x)[30000ms:6000ms]) and y[8640000ms]\n        for: 60000ms\n")
    left = re.findall(r"\[\d+[mhd][:\]]|for: \d+[mhd]\b", scaled(RULES))
    assert left == []


@pytest.mark.parametrize("name", PROMETHEUS)
def test_every_alert_calls_once(story, name):
    assert sorted(alert["status"] for _, alert in story.first[name]) == ["firing"] * len(story.first[name])
    names = [alert["labels"]["alertname"] for _, alert in story.first[name]]
    # The source that is good and the one that is not share a key, and the budget of it.
    assert sorted(set(names)) == sorted(ALERTS)
    assert len(names) == len({tuple(sorted(alert["labels"].items())) for _, alert in story.first[name]})


@pytest.mark.parametrize("name", PROMETHEUS)
def test_a_restart_of_prometheus_calls_nobody_again_and_ends_nothing(story, name):
    print(f"all alerts fired again {story.away:.1f} s after the stop; Alertmanager keeps them for {KEPT:.0f} s")
    assert story.away < KEPT
    assert story.after_prometheus[name] == []
    assert story.firing[name] == ALERTS


@pytest.mark.parametrize("name", PROMETHEUS)
def test_an_exporter_that_comes_back_at_another_address_calls_nobody_again_and_ends_nothing(story, name):
    assert story.after_exporter[name] == []
