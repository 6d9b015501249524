"""A task that fails in the cloud, and all that stands between it and a person, for real: the simulated
cloud, the exporter, Prometheus 2 and 3 at once with the rules as they are shipped, an Alertmanager for
each, and a webhook. Only the intervals of scrapes and evaluations are shorter than usual."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXPORTER = os.environ.get("DBTASK_EXPORTER_BIN", str(ROOT / "target" / "debug" / "dbtask-exporter"))
PROMETHEUS = {"2": "prometheus", "3": str(ROOT / ".tools" / "bin" / "prometheus")}
RUNBOOKS = "https://example.com/dbtask-exporter/docs/runbooks"
RETENTION = 75
SCENARIO = """
sources:
  - name: mysql
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{id: cdb-orders, name: orders}]
    tasks:
      - {id: "7", resource: cdb-orders, kind: UPGRADE, at: -600s, life: [{run: {for: 60s}}, {finish: {}}]}
      - id: "1001"
        resource: cdb-orders
        kind: ROLLBACK
        life: [{run: {for: 30s}}, {fail: {code: OperationDenied, message: "no <b>space</b> left"}}]
"""
TASK = {"task_id": "1001", "task_kind": "ROLLBACK", "resource_id": "cdb-orders"}
LABELS = {
    "alertname": "DbtaskTaskFailed", "severity": "critical", "job": "dbtask-exporter", "source": "mysql",
    "cloud": "tencent", "cloud_region": "ap-guangzhou", **TASK,
}


def until(what, ask, seconds):
    """The first true answer; the deadline is generous, as the machine may be busy."""
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        try:
            if answer := ask():
                return answer
        except (OSError, ValueError, KeyError, IndexError):
            pass
        time.sleep(0.1)
    pytest.fail(f"not within {seconds} s: {what}")


def get(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    return urllib.request.urlopen(request, timeout=10)


def get_json(url):
    return json.load(get(url))


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Sink(BaseHTTPRequestHandler):
    """`POST /2` and `/3` are the webhooks; `GET /2` and `/3` are targets that note how they are asked."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            self.server.pages[self.path[1:]].append((time.monotonic(), alert))
        self.answer(b"")

    def do_GET(self):
        self.server.accepts[self.path[1:]] = self.headers["Accept"]
        self.answer(b"spied 1\n")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class World:
    """Everything that runs, all of it on loopback and stopped in the end."""

    def __init__(self, folder):
        self.folder, self.running, self.watchers = folder, [], {}
        self.sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
        self.sink.pages, self.sink.accepts = {name: [] for name in PROMETHEUS}, {}
        threading.Thread(target=self.sink.serve_forever, daemon=True).start()
        names = [*(f"prometheus-{name}" for name in PROMETHEUS), *(f"alertmanager-{name}" for name in PROMETHEUS)]
        *self.exporter_ports, = free_ports(2 + len(names))
        self.ports = dict(zip(names, self.exporter_ports[2:]))
        self.exporter_ports = self.exporter_ports[:2]

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=self.folder)
        self.running.append(process)
        return process

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.sink.shutdown()
        self.sink.server_close()

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    def start_cloud(self):
        scenario = self.write("scenario.yml", SCENARIO)
        self.start("cloud", EXPORTER, "simulate", "--scenario", scenario)
        printed = until("the cloud's configuration",
                        lambda: (text := (self.folder / "cloud.log").read_text()).find("\n...\n") > 0 and text, 60)
        start = min(i for i in (printed.find("credentials:"), printed.find("sources:")) if i >= 0)
        config = yaml.safe_load(printed[start:printed.index("\n...\n")])
        for part in [config, *config["sources"]]:
            part["poll"] = {"interval": "1s", "idle_interval": "1s"}
            part["retention"] = {"failed": f"{RETENTION}s"}
        self.write("exporter.yml", config)

    def start_exporter(self, port):
        return self.start("exporter", EXPORTER, f"--config.file={self.folder}/exporter.yml",
                          f"--storage.path={self.folder}/journal", f"--web.listen-address=127.0.0.1:{port}")

    def start_watchers(self, groups=None, rules=ROOT / "rules" / "dbtask.rules.yml", flags=()):
        """`groups` are the targets of the job, both addresses of the exporter unless they are named."""
        spied = f"127.0.0.1:{self.sink.server_port}"
        targets = [f"127.0.0.1:{port}" for port in self.exporter_ports]
        for name, program in PROMETHEUS.items():
            alertmanager = f"127.0.0.1:{self.ports[f'alertmanager-{name}']}"
            jobs = [
                {"job_name": "dbtask-exporter", "static_configs": groups or [{"targets": targets}]},
                {"job_name": "spy", "metrics_path": f"/{name}", "static_configs": [{"targets": [spied]}]},
            ]
            if name == "3":
                jobs += [{
                    "job_name": protocol, "scrape_protocols": [protocol], "static_configs": [{"targets": targets}],
                    "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "dbtask_.*|process_.*", "action": "drop"}],
                } for protocol in ("PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText1.0.0")]
            config = self.write(f"prometheus-{name}.yml", {
                "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
                "rule_files": [str(rules)],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
                "scrape_configs": jobs,
            })
            routes = self.write(f"alertmanager-{name}.yml", {
                "route": {"receiver": "sink", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"},
                "receivers": [{"name": "sink", "webhook_configs": [{"url": f"http://{spied}/{name}", "send_resolved": True}]}],
            })
            self.start(f"alertmanager-{name}", "prometheus-alertmanager", f"--config.file={routes}",
                       f"--storage.path={self.folder}/alerts-{name}", f"--web.listen-address={alertmanager}", "--cluster.listen-address=")
            self.watchers[name] = (f"prometheus-{name}", program, f"--config.file={config}", f"--storage.tsdb.path={self.folder}/data-{name}",
                                   f"--web.listen-address=127.0.0.1:{self.ports[f'prometheus-{name}']}", "--log.level=warn", *flags)
        self.prometheus = {name: self.start(*command) for name, command in self.watchers.items()}

    def restart_prometheus(self):
        """Stops both in order, as an upgrade does, and starts them again with what they have stored."""
        for process in self.prometheus.values():
            process.terminate()
        for process in self.prometheus.values():
            process.wait(60)
        self.prometheus = {name: self.start(*command) for name, command in self.watchers.items()}

    def query(self, name, query):
        url = f"http://127.0.0.1:{self.ports[f'prometheus-{name}']}/api/v1/query?query={urllib.request.quote(query)}"
        return get_json(url)["data"]["result"]

    def failed_since(self, port):
        tasks = get_json(f"http://127.0.0.1:{port}/api/v1/tasks?state=failed")["tasks"]
        return any(task["id"] == TASK["task_id"] for task in tasks) and time.monotonic()

    def pages(self, name, alertname="DbtaskTaskFailed"):
        return [page for page in self.sink.pages[name] if page[1]["labels"]["alertname"] == alertname]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What happened: the tests below look at it."""
    world = World(tmp_path_factory.mktemp("alerting"))
    first, second = world.exporter_ports
    try:
        world.start_cloud()
        exporter = world.start_exporter(first)
        world.start_watchers()
        world.failed = until("the failure seen by a poll", lambda: world.failed_since(first), 120)
        for name in PROMETHEUS:
            until(f"a page from Prometheus {name}", lambda name=name: world.pages(name), 60)
            until(f"the counter's alert from {name}", lambda name=name: world.pages(name, "DbtaskTaskFailuresIncreased"), 90)
        world.protocols = {
            each["scrapePool"]: (each["health"], each["lastError"])
            for each in get_json(f"http://127.0.0.1:{world.ports['prometheus-3']}/api/v1/targets")["data"]["activeTargets"]
            if each["discoveredLabels"]["__address__"].endswith(f":{first}")
        }
        world.content_types = {
            name: get(f"http://127.0.0.1:{first}/metrics", world.sink.accepts[name]).headers["Content-Type"] for name in PROMETHEUS
        }
        exporter.kill()
        exporter.wait()
        # Down for four scrapes at least, in the eyes of both.
        for name in PROMETHEUS:
            until(f"Prometheus {name} misses it", lambda name=name: not world.query(name, "dbtask_source_up"), 60)
        time.sleep(8)
        world.start_exporter(second)
        for name in PROMETHEUS:
            until(f"Prometheus {name} has it back", lambda name=name: world.query(name, "dbtask_source_up == 1"), 60)
        for name in PROMETHEUS:
            until(f"the end of the page from {name}", lambda name=name: len(world.pages(name)) > 1, RETENTION + 120)
        world.stopped = time.monotonic()
        yield world
    except BaseException:
        for log in sorted(world.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        world.stop()


@pytest.mark.parametrize("name", PROMETHEUS)
def test_a_failure_reaches_the_webhook_within_30_s_of_the_poll(story, name):
    arrived, alert = story.pages(name)[0]
    took = arrived - story.failed
    print(f"Prometheus {name}: {took:.1f} s after the poll")
    assert took < 30
    assert alert["status"] == "firing"


@pytest.mark.parametrize("name", PROMETHEUS)
def test_the_page_says_what_failed_where_and_what_to_do(story, name):
    _, alert = story.pages(name)[0]
    assert alert["labels"] == LABELS
    annotations = alert["annotations"]
    assert annotations["summary"] == "A database task has failed."
    assert annotations["runbook_url"] == f"{RUNBOOKS}/DbtaskTaskFailed.md"
    assert annotations["description"].startswith("Task 1001 (ROLLBACK) on cdb-orders")
    assert "in tencent ap-guangzhou, source mysql, has failed" in annotations["description"]
    assert "Read the vendor's words on the exporter's status page" in annotations["description"]


@pytest.mark.parametrize("name", PROMETHEUS)
def test_a_kill_and_a_start_at_another_address_make_no_second_page(story, name):
    assert [alert["status"] for _, alert in story.pages(name)] == ["firing", "resolved"]
    counted = story.pages(name, "DbtaskTaskFailuresIncreased")
    assert [alert["status"] for _, alert in counted] == ["firing"]
    assert counted[0][1]["labels"]["task_kind"] == "ROLLBACK"


@pytest.mark.parametrize("name", PROMETHEUS)
def test_the_page_ends_with_the_retention_and_not_before(story, name):
    ended = story.pages(name)[1][0] - story.failed
    print(f"Prometheus {name}: ended {ended:.1f} s after the poll")
    assert RETENTION - 5 < ended < RETENTION + 30


@pytest.mark.parametrize("name", PROMETHEUS)
def test_nothing_else_pages(story, name):
    others = {alert["labels"]["alertname"] for _, alert in story.sink.pages[name]}
    assert others == {"DbtaskTaskFailed", "DbtaskTaskFailuresIncreased"}


def test_both_ask_for_openmetrics_and_get_it(story):
    openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert story.content_types == {name: openmetrics for name in PROMETHEUS}
    assert "escaping=" not in story.sink.accepts["2"]
    assert "escaping=allow-utf-8" in story.sink.accepts["3"]


def test_prometheus_3_takes_every_format_it_may_be_told_to_ask_for(story):
    protocols = ["dbtask-exporter", "PrometheusText0.0.4", "PrometheusText1.0.0", "OpenMetricsText1.0.0"]
    assert story.protocols == {protocol: ("up", "") for protocol in protocols}
