"""The official SDKs' credential packages get sessions from the simulated clouds, which then take
what is signed with them. Only those that can be pointed at another address are here."""

from alibabacloud_credentials.provider import URLCredentialsProvider
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkdds.v3 import DdsClient
from tencentcloud.common.credential import CVMRoleCredential


def test_alibaba_takes_the_metadata_for_a_credentials_uri(clouds):
    endpoint = clouds.source("alibaba_polardb").endpoint
    uri = f"{endpoint}/latest/meta-data/ram/security-credentials/any"
    keys = URLCredentialsProvider(uri=uri).get_credentials()
    clouds.client(
        "alibaba_polardb",
        key=keys.get_access_key_id(),
        secret=keys.get_access_key_secret(),
        token=keys.get_security_token(),
    ).any()


def test_tencent_takes_the_role_of_a_machine(clouds):
    class Machine(CVMRoleCredential):
        _role_endpoint = (
            f"{clouds.source('tencent_cdb').endpoint}/latest/meta-data/cam/security-credentials/"
        )

    keys = Machine()
    clouds.client("tencent_cdb", key=keys.secret_id, secret=keys.secret_key, token=keys.token).any()


def test_huawei_takes_keys_for_the_token_of_an_identity_provider(clouds, tmp_path):
    source = clouds.source("huawei_dds")
    token = tmp_path / "token"
    token.write_text("a-token-of-the-pod")
    keys = (
        BasicCredentials()
        .with_project_id(source.project_id)
        .with_idp_id("cce")
        .with_id_token_file(str(token))
        .with_iam_endpoint(source.endpoint)
    )
    dds = clouds.client("huawei_dds")
    dds.client = (
        DdsClient.new_builder().with_credentials(keys).with_endpoint(source.endpoint).build()
    )
    dds.any()
