"""A Kubernetes control plane: its own programs on loopback, with simulated nodes."""

import json
import pathlib
import secrets
import socket
import subprocess
import time

import requests
import urllib3
import yaml

HERE = pathlib.Path(__file__).parent
TOOLS = HERE.parent.parent / ".tools"
# The machine may be busy.
DEADLINE = 180


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(what, found, deadline=DEADLINE):
    """Asks again and again; returns the first answer that is something."""
    end = time.monotonic() + deadline
    while not (answer := found()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.2)
    return answer


class ControlPlane:
    """Starts it; `stop` ends every process, by its id."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}
        self.kubeconfig = folder / "kubeconfig"
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        clients, peers, api = free_ports(3)
        etcd = f"http://127.0.0.1:{clients}"
        peer = f"http://127.0.0.1:{peers}"
        self._run(
            "etcd", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )  # fmt: skip
        token = secrets.token_hex(16)
        (self.folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
        key = self.folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        self._run(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={api}",
            # Nobody is told of this address; that of loopback is refused.
            "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
            f"--cert-dir={self.folder / 'certificates'}", f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
        )  # fmt: skip
        server = f"https://127.0.0.1:{api}"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "here", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
                }
            )
        )
        urllib3.disable_warnings()
        until("the API server", lambda: self._answers(f"{server}/readyz", token))
        self._run(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0",
            f"--service-account-private-key-file={key}", "--kube-api-qps=500", "--kube-api-burst=1000",
            f"--root-ca-file={self.folder / 'certificates/apiserver.crt'}",
        )  # fmt: skip
        self._run("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
        self._run(
            "kwok", f"--kubeconfig={self.kubeconfig}", f"--config={HERE / 'pods.yaml'}", "--manage-all-nodes=true",
            # Without a lease that is renewed, the node is taken for dead after 50 seconds.
            "--node-lease-duration-seconds=40",
        )  # fmt: skip
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "simulated", "labels": {"kubernetes.io/os": "linux"}}})
        until("the node", lambda: '"Ready"' in self.kubectl("get", "node", "simulated", "--output=jsonpath={.status.conditions}"))

    def _answers(self, url, token):
        self.check()
        try:
            return requests.get(url, headers={"Authorization": f"Bearer {token}"}, verify=False, timeout=5).ok
        except requests.RequestException:
            return False

    def _run(self, name, *arguments):
        with open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(
                [TOOLS / "bin" / name, *arguments], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def check(self):
        """Every process runs."""
        for name, process in self.processes.items():
            assert process.poll() is None, (self.folder / f"{name}.log").read_text()[-3000:]

    def stop(self):
        """The last that was started first."""
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def command(self, program, *arguments, **options):
        """Runs a client of this control plane to its end."""
        return subprocess.run(
            [str(TOOLS / "bin" / program), *map(str, arguments)],
            capture_output=True, text=True, timeout=2 * DEADLINE,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "PATH": "/usr/bin:/bin"}, **options,
        )  # fmt: skip

    def kubectl(self, *arguments, **options):
        """What kubectl prints; it must go well."""
        done = self.command("kubectl", *arguments, **options)
        assert done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    def apply(self, *objects):
        """Creates or changes objects."""
        return self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))

    def get(self, kind, namespace):
        """The objects of a kind."""
        return json.loads(self.kubectl("get", kind, f"--namespace={namespace}", "--output=json"))["items"]
