"""Real parts for the checks that need them: two demos, and a Prometheus that scrapes both."""

import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest
import requests

from grafana import FILES, ROOT, read

BINARY = os.environ.get("DBTASK_EXPORTER_BIN", str(ROOT / "target/debug/dbtask-exporter"))

# A world in which all is well: nothing to do, and nothing fails.
QUIET = """
sources:
  - {name: quiet, api: tencent_cdb, region: ap-guangzhou, resources: [{id: cdb-1}]}
"""


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def dashboard(request):
    """Each of the dashboards."""
    return read(request.param)


class Running:
    """A process that is stopped at the end, and must not have ended before."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, text=True, encoding="utf-8", **options)

    def stop(self):
        ended = self.process.poll()
        self.process.terminate()
        self.process.wait(timeout=20)
        assert ended is None, f"{self.process.args[0]} ended by itself with {ended}"


class Demo(Running):
    """A running `dbtask-exporter demo`."""

    def __init__(self, *arguments):
        command = [BINARY, "demo", "--web.listen-address=127.0.0.1:0", *arguments]
        super().__init__(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.started = time.monotonic()
        for line in self.process.stdout:
            if found := re.search(r"Metrics:\s+http://localhost:(\d+)/metrics", line):
                self.address = f"127.0.0.1:{found[1]}"
                break
        # It must never wait for somebody to read on.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()


class Prometheus(Running):
    """A real Prometheus that scrapes each target every second, under the name of its job and with
    labels if it has some."""

    def __init__(self, folder, targets):
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [address], "labels": labels} for labels in several]}
            for job, (address, *several) in targets.items()
        ]
        config = folder / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api/v1"
        super().__init__(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )
        deadline = time.monotonic() + 60
        while not self.is_ready():
            assert time.monotonic() < deadline, "Prometheus does not get ready"
            time.sleep(0.2)

    def is_ready(self):
        try:
            return requests.get(f"{self.url}/query?query=1", timeout=5).ok
        except requests.ConnectionError:
            return False

    def get(self, path, **parameters):
        """What the API answers."""
        answer = requests.get(f"{self.url}/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def ask(self, expression, over_time):
        """The series that a query has, as labels and values: now, or in the last two minutes."""
        if not over_time:
            found = self.get("query", query=expression)["result"]
            return [(it["metric"], [float(it["value"][1])]) for it in found]
        now = time.time()
        found = self.get("query_range", query=expression, start=now - 120, end=now, step=2)
        return [
            (it["metric"], [float(value) for _, value in it["values"]]) for it in found["result"]
        ]


class World:
    """The demo as it is without flags, a quiet one, and the Prometheus that watches them."""

    def __init__(self, folder):
        scenario = folder / "quiet.yml"
        scenario.write_text(QUIET)
        self.running = []
        try:
            self.demo = self.run(Demo())
            self.quiet = self.run(Demo(f"--scenario={scenario}"))
            # Of the job `two` one store has the same twice: two clusters in which all is called the same.
            jobs = {
                "demo": (self.demo.address, {}),
                "quiet": (self.quiet.address, {}),
                "two": (
                    self.demo.address,
                    {"instance": "10.1.1.1:10118", "namespace": "db", "cluster": "east"},
                    {"instance": "10.1.1.1:10118", "namespace": "db", "cluster": "west"},
                ),
            }
            self.prometheus = self.run(Prometheus(folder, jobs))
        except BaseException:
            self.stop()
            raise

    def run(self, it):
        self.running.append(it)
        return it

    def stop(self):
        for it in reversed(self.running):
            it.stop()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Started once, for all checks."""
    it = World(tmp_path_factory.mktemp("world"))
    yield it
    it.stop()
