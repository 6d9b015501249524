#!/usr/bin/env bash
# Which section of Huawei's credentials file counts.
#
# A guess: one, and every way to read the file means the same.
# What is so: the provider that is asked for by hand, and the chain that is made by hand, read [basic],
# as the SDK's documentation has it. A client that is built without credentials makes its chain from
# the name of a class, looks for [basiccredentials], and does not see [basic].
# Version: huaweicloudsdkcore 3.1.219.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check huaweicloudsdkcore==3.1.219
cat >look.py <<'PY'
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.provider import ProfileCredentialProvider

section = sys.argv[1]
with open("credentials", "w") as file:
    file.write(f"[{section}]\nak = an-id\nsk = a-key\nproject_id = a-project\n")
os.environ["HUAWEICLOUD_SDK_CREDENTIALS_FILE"] = os.path.abspath("credentials")


def found(provider):
    try:
        return provider.get_credentials().ak
    except Exception as error:
        return type(error).__name__


by_hand = found(ProfileCredentialProvider.get_basic())
# What ClientBuilder.build() gives to its chain: the name of the class, in lower case or not.
of_client = found(ProfileCredentialProvider(BasicCredentials.__name__))
print(f"[{section}]: by hand {by_hand}, of a client {of_client}")
PY
lines=$(for section in basic basiccredentials; do venv/bin/python look.py $section; done)
echo "$lines"
[ "$lines" = "[basic]: by hand an-id, of a client ApiValueError
[basiccredentials]: by hand ApiValueError, of a client an-id" ]
