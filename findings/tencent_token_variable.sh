#!/usr/bin/env bash
# Temporary keys from the environment, in two SDKs of one vendor.
#
# A guess: the token stands in one variable, which every SDK reads.
# What is so: the SDK for Python reads an id and a key from the environment and knows no variable for
# a token, so temporary keys are sent without it, and are refused as an unknown id. The SDK for
# Node.js reads TENCENTCLOUD_SESSION_TOKEN, which is neither the name of the vendor's command line
# (TENCENTCLOUD_TOKEN) nor of its Terraform provider (TENCENTCLOUD_SECURITY_TOKEN).
# Versions: tencentcloud-sdk-python-common 3.1.194, tencentcloud-sdk-nodejs-common 4.1.220.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tencentcloud-sdk-python-common==3.1.194
npm install --silent --ignore-scripts --no-audit --no-fund tencentcloud-sdk-nodejs-common@4.1.220

export TENCENTCLOUD_SECRET_ID=an-id TENCENTCLOUD_SECRET_KEY=a-key
export TENCENTCLOUD_TOKEN=token-1 TENCENTCLOUD_SECURITY_TOKEN=token-2
export TENCENTCLOUD_SESSION_TOKEN=token-3
python=$(venv/bin/python -c '
from tencentcloud.common.credential import EnvironmentVariableCredential
print(EnvironmentVariableCredential().get_credential().token)')
node=$(node -e '
const {EnvironmentVariableCredential} =
    require("tencentcloud-sdk-nodejs-common/tencentcloud/common/credential");
new EnvironmentVariableCredential().getCredential().then((it) => console.log(it.token));')
echo "Python: $python"
echo "Node.js: $node"
[ "$python" = None ] && [ "$node" = token-3 ]
