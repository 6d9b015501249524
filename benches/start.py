#!/usr/bin/env python3
"""Size of the program, time from its start to the first answer of /metrics, and resident memory
when it has nothing to do.

    cargo build --release && python3 benches/start.py target/release/dbtask-exporter
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONFIGURATION = """
sources:
  - name: mysql
    api: tencent_cdb
    region: ap-guangzhou
    endpoint: http://127.0.0.1:9
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def first_answer(port):
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            time.sleep(0.0002)
    with connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 200 OK" in connection.recv(65536)


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def run(binary, configuration, settle):
    """Milliseconds to the first answer, and kB of resident memory after `settle` seconds."""
    port = free_port()
    begun = time.perf_counter()
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={configuration}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
    )
    first_answer(port)
    took = (time.perf_counter() - begun) * 1000
    time.sleep(settle)
    resident = resident_kb(process.pid)
    process.terminate()
    assert process.wait(5) == 0
    return took, resident


def main():
    binary = sys.argv[1]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as configuration:
        configuration.write(CONFIGURATION)
        configuration.flush()
        times = [run(binary, configuration.name, 0)[0] for _ in range(15)]
        resident = run(binary, configuration.name, 8)[1]
    print(f"program {os.path.getsize(binary) / 1e6:.2f} MB")
    print(f"first answer after {statistics.median(times):.1f} ms (median of {len(times)})")
    print(f"idle {resident / 1e3:.1f} MB resident")


main()
