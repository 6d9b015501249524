#!/usr/bin/env bash
# When Alibaba's credentials library for Python looks at the environment.
#
# A guess: when a client is made, so that a program may set the variables first.
# What is so: once, when the module is imported. Variables that are set later do not exist for its
# default chain, and those that have been taken away still do.
# Version: alibabacloud-credentials 1.0.12.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check alibabacloud-credentials==1.0.12
cat >look.py <<'PY'
import os
import sys

when = sys.argv[1]
keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "an-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "a-key"}
if when == "before":
    os.environ.update(keys)
# No other link of the chain may answer.
os.environ.update(HOME="/nonexistent", ALIBABA_CLOUD_ECS_METADATA_DISABLED="true")
from alibabacloud_credentials.client import Client

if when == "before":
    for name in keys:
        del os.environ[name]
else:
    os.environ.update(keys)
try:
    print(Client().get_credential().access_key_id)
except Exception as error:
    print(f"none ({type(error).__name__})")
PY
before=$(venv/bin/python look.py before 2>&1 | tail -n 1)
after=$(venv/bin/python look.py after 2>&1 | tail -n 1)
echo "set before the import, taken away after it: $before"
echo "set after the import: $after"
[ "$before" = an-id ] && [[ "$after" == none* ]]
