"""Starts the simulated clouds, and the exporter that watches them.

The binary is `DBTASK_EXPORTER_BIN`, by default `target/debug/dbtask-exporter`. To run:

    python3 -m venv venv && venv/bin/pip install -r tests/requirements.txt
    cargo build && venv/bin/pytest tests/sdk
"""

import os
import pathlib
import re
import subprocess
import threading
import time

import pytest
import requests
import yaml

from clients import CLIENTS, Source, scenario

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BINARY = os.environ.get("DBTASK_EXPORTER_BIN", str(ROOT / "target/debug/dbtask-exporter"))


class Simulation:
    """A running `dbtask-exporter simulate` and the configuration that it printed."""

    def __init__(self, *arguments):
        command = [BINARY, "simulate", "--web.listen-address=127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )
        lines = []
        # The document has an explicit end, since standard output stays open.
        for line in self.process.stdout:
            lines.append(line)
            if line.rstrip() == "...":
                break
        self.text = "".join(lines)
        assert lines and lines[-1].rstrip() == "...", f"no whole document from {command}"
        self.configuration = yaml.safe_load(self.text)

    def source(self, name):
        """The entry of a source, with its credentials, as a client needs them."""
        entry = next(it for it in self.configuration["sources"] if it["name"] == name)
        keys = next(
            it for it in self.configuration["credentials"] if it["name"] == entry["credentials"]
        )
        return Source(entry, keys)

    def client(self, name, **changes):
        """The official client for a source. `changes` replaces parts of its credentials."""
        source = self.source(name)
        source.change(**changes)
        return CLIENTS[source.api](source)

    def stop(self):
        assert self.process.poll() is None, "the simulation ended by itself"
        self.process.terminate()
        assert self.process.wait(timeout=10) is not None


class Exporter:
    """A running exporter."""

    def __init__(self, configuration):
        command = [BINARY, f"--config.file={configuration}", "--web.listen-address=127.0.0.1:0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        self.address = None
        for line in self.process.stdout:
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                self.address = f"http://{found.group()}"
                break
        assert self.address, "the exporter said no address"
        # It must never wait for somebody to read its log.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def wait_until_ready(self):
        for _ in range(300):
            if requests.get(f"{self.address}/-/ready", timeout=5).status_code == 200:
                return
            time.sleep(0.1)
        raise AssertionError("the exporter is not ready after 30 s")

    def tasks(self, source):
        """The tasks of a source, by id."""
        answer = requests.get(
            f"{self.address}/api/v1/tasks", params={"source": source}, timeout=5
        ).json()
        tasks = answer if isinstance(answer, list) else answer["tasks"]
        return {task["id"]: task for task in tasks}

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture(scope="session")
def clouds(tmp_path_factory):
    common = yaml.safe_load((HERE / "scenario.yml").read_text(encoding="utf-8"))
    path = tmp_path_factory.mktemp("clouds") / "scenario.yml"
    path.write_text(yaml.safe_dump(scenario(common), allow_unicode=True), encoding="utf-8")
    simulation = Simulation("--scenario", str(path))
    yield simulation
    simulation.stop()


@pytest.fixture(scope="session")
def exporter(clouds, tmp_path_factory):
    path = tmp_path_factory.mktemp("exporter") / "config.yml"
    configuration = dict(clouds.configuration)
    # The others are about what goes wrong. A month back, so that nothing is too old.
    configuration["sources"] = [
        it for it in configuration["sources"] if it["name"] in CLIENTS
    ]
    configuration["poll"] = {**configuration["poll"], "lookback": "29d"}
    path.write_text(yaml.safe_dump(configuration, allow_unicode=True), encoding="utf-8")
    exporter = Exporter(path)
    exporter.wait_until_ready()
    yield exporter
    exporter.stop()

