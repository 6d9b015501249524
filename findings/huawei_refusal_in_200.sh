#!/usr/bin/env bash
# What Huawei's Python client makes of a refusal that comes with HTTP status 200.
#
# A guess: it raises, as it does for the same body with status 400, or says that the answer is no list.
# What is so: the fields that it looks for are not there, so it returns an answer whose list and total are
# None. A caller that loops over `tasks or []` sees a region without tasks.
# Version: huaweicloudsdkrds 3.1.219. The product takes a code beside no list for an error, whatever the status.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check huaweicloudsdkcore==3.1.219 huaweicloudsdkrds==3.1.219
cat >look.py <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkrds.v3 import ListTasksRequest, RdsClient

BODY = b'{"error_code": "DBS.200011", "error_msg": "The request frequency is too high."}'


class Vendor(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(Vendor.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
threading.Thread(target=server.serve_forever, daemon=True).start()
keys = BasicCredentials("an-id", "a-key", "0123456789abcdef0123456789abcdef")
address = f"http://127.0.0.1:{server.server_port}"
client = RdsClient.new_builder().with_credentials(keys).with_endpoints([address]).build()
for Vendor.status in (400, 200):
    try:
        answer = client.list_tasks(ListTasksRequest(start_time="1764460800000"))
        print(f"{Vendor.status}: an answer, tasks {answer.tasks}")
    except ServiceResponseException as error:
        print(f"{Vendor.status}: raises {error.error_code}")
server.shutdown()
PY
lines=$(venv/bin/python look.py)
echo "$lines"
[ "$lines" = "400: raises DBS.200011
200: an answer, tasks None" ]
