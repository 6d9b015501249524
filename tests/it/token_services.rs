//! Which service a pod's token, a role's keys and a user's password are sent to, and what the
//! profiles of the vendors' command lines hold.

use std::fs;
use std::sync::Mutex;

use bytes::Bytes;
use dbtask_clouds::api::Target;
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::huawei::signature as huawei;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::transport::{Sending, Transport, TransportError};
use dbtask_exporter::config::Config;
use dbtask_exporter::credentials::CredentialsError;
use dbtask_exporter::platform::environment::Environment;
use http::Request;

use crate::golden::target;
use crate::support::{Around, issued};

const NOW: i64 = 1_790_000_000;

/// Notes the hosts that are asked, and never answers.
#[derive(Debug, Default)]
struct Hosts(Mutex<Vec<String>>);

impl Transport for Hosts {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        self.0.lock().unwrap().push(request.uri().host().unwrap().to_owned());
        Box::pin(async { Err(TransportError::Timeout) })
    }
}

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// The hosts that the sources of a configuration ask for keys, and why there are none.
async fn asked(config: &str, variables: Variables<'_>) -> (Vec<String>, Vec<CredentialsError>) {
    let environment: Environment = variables.iter().copied().collect();
    let config = Config::parse(config, "test.yml", &environment).unwrap();
    let (cloud, machine) = (Hosts::default(), Hosts::default());
    let mut errors = Vec::new();
    for source in &config.sources {
        let around = Around::default();
        let outside = around.outside(&cloud, &machine);
        errors.extend(issued(&source.credentials, &outside).await.err());
    }
    let mut hosts = cloud.0.into_inner().unwrap();
    hosts.extend(machine.0.into_inner().unwrap().into_iter().map(|host| format!("direct {host}")));
    (hosts, errors)
}

fn token_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "a.b.c").unwrap();
    file
}

#[tokio::test]
async fn a_pods_token_goes_to_the_service_that_its_sources_can_reach() {
    let token = token_file();
    let token = token.path().to_str().unwrap();
    let rrsa = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token),
    ];
    let older = [
        ("ALICLOUD_ROLE_ARN", "acs:ram::1:role/r"),
        ("ALICLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p"),
        ("ALICLOUD_OIDC_TOKEN_FILE_PATH", token),
    ];
    let tke = |file| {
        [
            ("TKE_REGION", "ap-guangzhou"),
            ("TKE_PROVIDER_ID", "cls-x"),
            ("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/r"),
            (file, token),
        ]
    };
    let (tke, tke_older) = (tke("TKE_WEB_IDENTITY_TOKEN_FILE"), tke("TKE_IDENTITY_TOKEN_FILE"));
    let huawei = [
        ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::1:oidc-provider:p"),
        ("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::1:agency:a"),
        ("HUAWEICLOUD_OIDC_TOKEN_FILE", token),
    ];
    let provider = [("HUAWEICLOUD_SDK_IDP_ID", "p"), ("HUAWEICLOUD_SDK_ID_TOKEN_FILE", token)];
    let alibaba = "api: alibaba_polardb, region: cn-hangzhou";
    let tencent = "api: tencent_cdb, region: ap-guangzhou";
    let dds = |region| format!("api: huawei_dds, region: {region}");
    let (main, otc, europe) = (dds("cn-north-4"), dds("eu-de"), dds("eu-west-101"));
    let vpc = |source: &str| format!("{source}, endpoint: vpc");
    let cases: &[(&str, Variables<'_>, Variables<'_>, &str)] = &[
        (alibaba, &rrsa, &[], "sts.aliyuncs.com"),
        (&vpc(alibaba), &rrsa, &[], "sts-vpc.cn-hangzhou.aliyuncs.com"),
        (
            &vpc(alibaba),
            &rrsa,
            &[("ALIBABA_CLOUD_STS_REGION", "cn-shanghai")],
            "sts-vpc.cn-shanghai.aliyuncs.com",
        ),
        (
            alibaba,
            &rrsa,
            &[("ALIBABA_CLOUD_STS_REGION", "cn-shanghai")],
            "sts.cn-shanghai.aliyuncs.com",
        ),
        (
            alibaba,
            &rrsa,
            &[("ALIBABA_CLOUD_ENDPOINT_TYPE", "vpc")],
            "sts-vpc.cn-hangzhou.aliyuncs.com",
        ),
        (
            alibaba,
            &rrsa,
            &[("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")],
            "sts-vpc.cn-hangzhou.aliyuncs.com",
        ),
        (
            &vpc(alibaba),
            &rrsa,
            &[("ALIBABA_CLOUD_STS_ENDPOINT", "sts.private.example")],
            "sts.private.example",
        ),
        (
            alibaba,
            &rrsa,
            &[("ALIBABA_CLOUD_STS_ENDPOINT", "https://sts.private.example/")],
            "sts.private.example",
        ),
        (&vpc(alibaba), &older, &[], "sts-vpc.cn-hangzhou.aliyuncs.com"),
        (tencent, &tke, &[], "sts.tencentcloudapi.com"),
        (&vpc(tencent), &tke, &[], "sts.internal.tencentcloudapi.com"),
        (tencent, &tke_older, &[], "sts.tencentcloudapi.com"),
        (&main, &huawei, &[], "sts.cn-north-4.myhuaweicloud.com"),
        (
            &otc,
            &huawei,
            &[("HUAWEICLOUD_SDK_STS_ENDPOINT", "https://sts.otc.example")],
            "sts.otc.example",
        ),
        (&main, &provider, &[], "iam.myhuaweicloud.com"),
        (&otc, &provider, &[], "iam.eu-de.otc.t-systems.com"),
        (&europe, &provider, &[], "iam.eu-west-101.myhuaweicloud.eu"),
        (
            &europe,
            &provider,
            &[("HUAWEICLOUD_SDK_IAM_ENDPOINT", "https://iam.private.example")],
            "iam.private.example",
        ),
    ];
    for (source, variables, more, host) in cases {
        let config = format!("sources: [{{name: s, {source}}}]\n");
        let (hosts, _) = asked(&config, &[*variables, *more].concat()).await;
        assert_eq!(hosts, [*host], "{source} with {more:?}");
    }
}

#[tokio::test]
async fn an_entry_with_nothing_but_a_token_service_is_the_default_chain_that_asks_there() {
    let token = token_file();
    let tke = [
        ("TKE_REGION", "ap-guangzhou"),
        ("TKE_PROVIDER_ID", "cls-x"),
        ("TKE_ROLE_ARN", "qcs::cam::uin/1:roleName/r"),
        ("TKE_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
    ];
    let config = "credentials: [{name: c, cloud: tencent, sts_endpoint: 'https://sts.example'}]\n\
                  sources: [{name: s, api: tencent_cdb, region: ap-guangzhou, credentials: c}]\n";
    assert_eq!(asked(config, &tke).await.0, ["sts.example"]);
}

#[tokio::test]
async fn a_role_is_assumed_in_the_cloud_of_the_source() {
    let roles = [
        (
            "cloud: huawei, access_key: A, secret_key: B, agency_name: g, agency_domain: d",
            [
                ("api: huawei_dds, region: cn-north-4", "iam.myhuaweicloud.com"),
                ("api: huawei_dds, region: eu-de", "iam.eu-de.otc.t-systems.com"),
                ("api: huawei_dds, region: eu-west-101", "iam.eu-west-101.myhuaweicloud.eu"),
            ],
        ),
        (
            "cloud: alibaba, access_key_id: A, access_key_secret: B, role_arn: r",
            [
                ("api: alibaba_adb, region: cn-hangzhou", "sts.aliyuncs.com"),
                (
                    "api: alibaba_polardb, region: cn-hangzhou, endpoint: vpc",
                    "sts-vpc.cn-hangzhou.aliyuncs.com",
                ),
                ("api: alibaba_polardb, region: cn-beijing", "sts.aliyuncs.com"),
            ],
        ),
    ];
    for (entry, sources) in roles {
        for (source, host) in sources {
            let config = format!(
                "credentials: [{{name: c, {entry}}}]\n\
                 sources: [{{name: s, {source}, credentials: c}}]\n"
            );
            assert_eq!(asked(&config, &[]).await.0, [host], "{source}");
        }
    }
}

#[tokio::test]
async fn a_password_goes_to_iam_of_the_projects_region() {
    for (region, host) in [
        ("cn-north-4", "iam.cn-north-4.myhuaweicloud.com"),
        ("eu-de", "iam.eu-de.otc.t-systems.com"),
        ("eu-west-101", "iam.eu-west-101.myhuaweicloud.eu"),
    ] {
        let config = format!(
            "credentials: [{{name: c, cloud: huawei, user_name: u, password: p, domain_name: d, \
             project_name: {region}_orders}}]\n\
             sources: [{{name: s, api: huawei_dds, region: {region}, credentials: c}}]\n"
        );
        assert_eq!(asked(&config, &[]).await.0, [host], "{region}");
    }
}

#[test]
fn keys_tokens_and_passwords_of_one_operator_are_not_used_in_the_cloud_of_another() {
    let user = "user_name: u, password: p, domain_name: d, project_name: eu-de";
    let sources = |regions: &[&str]| {
        let of = |region| {
            format!("{{name: {region}, api: huawei_dds, region: {region}, credentials: c}}")
        };
        regions.iter().copied().map(of).collect::<Vec<_>>().join(", ")
    };
    let problem = |keys: &str, regions: &[&str]| {
        let text = format!(
            "credentials: [{{name: c, cloud: huawei, {keys}}}]\nsources: [{}]\n",
            sources(regions)
        );
        Config::parse(&text, "t.yml", &Environment::default()).err().map(|error| error.to_string())
    };
    for (keys, regions) in [
        (user, &["cn-north-4"][..]),
        ("auth_token: t", &["eu-de", "cn-north-4"]),
        ("access_key: A, secret_key: B", &["eu-west-101", "eu-de"]),
        ("access_key: A, secret_key: B, agency_name: g, agency_domain: d", &["eu-nl", "cn-east-3"]),
    ] {
        let error = problem(keys, regions).unwrap();
        assert!(error.contains("another operator's cloud"), "{keys}: {error}");
    }
    assert_eq!(problem(user, &["eu-de", "eu-nl"]), None);
    assert_eq!(problem("access_key: A, secret_key: B", &["cn-east-3", "cn-north-4"]), None);
    let chains = "sources: [{name: a, api: huawei_dds, region: eu-de}, \
                  {name: b, api: huawei_dds, region: cn-north-4}]\n";
    let error = Config::parse(chains, "t.yml", &Environment::default()).unwrap_err().to_string();
    assert!(error.contains("another operator's cloud"), "{error}");
}

#[tokio::test]
async fn a_pods_token_is_not_sent_where_no_service_of_the_operator_is_known() {
    let token = token_file();
    let variables = [
        ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::1:oidc-provider:p"),
        ("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::1:agency:a"),
        ("HUAWEICLOUD_OIDC_TOKEN_FILE", token.path().to_str().unwrap()),
    ];
    let config = "sources: [{name: s, api: huawei_dds, region: eu-de}]\n";
    let (hosts, errors) = asked(config, &variables).await;
    assert!(hosts.iter().all(|host| host == "direct 169.254.169.254"), "{hosts:?}");
    assert!(errors[0].to_string().contains("HUAWEICLOUD_SDK_STS_ENDPOINT"), "{errors:?}");
}

#[test]
fn iam_of_a_region_is_asked_for_the_project_beside_every_service() {
    let apis = || catalog::APIS.iter().filter(|api| api.facts.cloud == Cloud::Huawei);
    let asked = |endpoint: &str, region: &str| {
        let api = catalog::named("huawei_dds").unwrap();
        let query = (api.facts.project.unwrap().query)();
        let target = Target { endpoint: endpoint.to_owned(), ..target(api, region, 0) };
        let uri = Cloud::Huawei.request(&target, &query).uri().to_string();
        uri.strip_suffix(&format!("/v3/projects?name={region}")).unwrap().to_owned()
    };
    for api in apis() {
        let endpoints = api.facts.endpoints;
        let of_its_own = endpoints.by_region.iter().flat_map(|(regions, _)| regions.iter());
        for region in endpoints.confirmed.iter().chain(of_its_own) {
            assert_eq!(asked(&api.endpoint(region), region), huawei::iam(region), "{region}");
        }
        // Under a domain of an operator's own, IAM stands beside the service.
        let host = api.endpoint("cn-north-4").replace("myhuaweicloud.com", "cloud.example");
        assert_eq!(asked(&host, "cn-north-4"), "https://iam.cn-north-4.cloud.example");
    }
    // One address for everything.
    for endpoint in ["http://127.0.0.1:8080", "https://gateway.example"] {
        assert_eq!(asked(endpoint, "cn-north-4"), endpoint);
    }
}

/// A home with one profile of Alibaba's command line.
fn profile(mode: &str, fields: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aliyun")).unwrap();
    let text =
        format!(r#"{{"current": "p", "profiles": [{{"name": "p", "mode": "{mode}", {fields}}}]}}"#);
    fs::write(home.path().join(".aliyun/config.json"), text).unwrap();
    home
}

const ALIBABA: &str = "sources: [{name: s, api: alibaba_polardb, region: cn-hangzhou}]\n";

#[tokio::test]
async fn the_session_of_a_login_with_the_command_line_is_used_until_it_ends() {
    let keys = r#""access_key_id": "STS.A", "access_key_secret": "B", "sts_token": "C""#;
    for mode in ["CloudSSO", "OAuth"] {
        for (life, problem) in [(60, None), (0, Some("log in again")), (-60, Some("log in again"))]
        {
            let end = NOW + life;
            let home = profile(mode, &format!(r#"{keys}, "sts_expiration": {end}"#));
            let variables = [("HOME", home.path().to_str().unwrap())];
            let (hosts, errors) = asked(ALIBABA, &variables).await;
            assert_eq!(hosts, [] as [String; 0], "{mode}");
            let error = errors.first().map(ToString::to_string);
            let as_expected = match (&error, problem) {
                (Some(error), Some(problem)) => error.contains(problem),
                (error, problem) => error.is_none() && problem.is_none(),
            };
            assert!(as_expected, "{mode}, {life} s: {error:?}");
        }
        let home = profile(mode, keys);
        let variables = [("HOME", home.path().to_str().unwrap())];
        let (_, errors) = asked(ALIBABA, &variables).await;
        assert!(errors[0].to_string().contains("sts_expiration"), "{errors:?}");
    }
}

#[tokio::test]
async fn when_the_session_of_a_login_ends_is_known() {
    let end = NOW + 60;
    let home = profile(
        "CloudSSO",
        &format!(
            r#""access_key_id": "STS.A", "access_key_secret": "B", "sts_token": "C",
               "sts_expiration": {end}"#
        ),
    );
    let environment: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
    let config = Config::parse(ALIBABA, "test.yml", &environment).unwrap();
    let hosts = Hosts::default();
    let around = Around::default();
    let outside = around.outside(&hosts, &hosts);
    let credentials = &config.sources[0].credentials;
    let first = issued(credentials, &outside).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &issued(credentials, &outside).await.unwrap()));
    assert_eq!(credentials.ends(), Timestamp::from_second(end));
}

#[tokio::test]
async fn a_profile_may_name_an_address_that_hands_out_keys() {
    let home = profile("CredentialsURI", r#""credentials_uri": "http://127.0.0.2:1/x""#);
    let variables = [("HOME", home.path().to_str().unwrap())];
    assert_eq!(asked(ALIBABA, &variables).await.0, ["direct 127.0.0.2"]);
}

#[tokio::test]
async fn a_profile_that_runs_a_program_is_refused_in_words() {
    let home = profile("External", r#""process_command": "/bin/true""#);
    let variables = [("HOME", home.path().to_str().unwrap())];
    let (_, errors) = asked(ALIBABA, &variables).await;
    assert!(errors[0].to_string().contains("runs a program"), "{errors:?}");
}

#[tokio::test]
async fn the_profiles_own_token_service_comes_before_all_others() {
    let role = r#""access_key_id": "A", "access_key_secret": "B", "ram_role_arn": "r""#;
    for (more, host) in [
        (
            r#""sts_endpoint": "sts.private.example", "sts_region": "cn-beijing""#,
            "sts.private.example",
        ),
        (r#""sts_region": "cn-beijing""#, "sts.cn-beijing.aliyuncs.com"),
        (r#""sts_region": "cn-beijing", "enable_vpc": true"#, "sts-vpc.cn-beijing.aliyuncs.com"),
    ] {
        let home = profile("RamRoleArn", &format!("{role}, {more}"));
        let variables = [("HOME", home.path().to_str().unwrap())];
        assert_eq!(asked(ALIBABA, &variables).await.0, [host], "{more}");
    }
}

#[tokio::test]
async fn every_variable_that_a_tool_of_tencent_reads_for_the_token_counts() {
    for name in ["TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN", "TENCENTCLOUD_SESSION_TOKEN"]
    {
        let environment: Environment =
            [("TENCENTCLOUD_SECRET_ID", "A"), ("TENCENTCLOUD_SECRET_KEY", "B"), (name, "C")]
                .into_iter()
                .collect();
        let text = "sources: [{name: s, api: tencent_cdb, region: ap-guangzhou}]\n";
        let config = Config::parse(text, "test.yml", &environment).unwrap();
        let hosts = Hosts::default();
        let around = Around::default();
        let outside = around.outside(&hosts, &hosts);
        let keys = issued(&config.sources[0].credentials, &outside).await.unwrap();
        let dbtask_clouds::cloud::Credentials::Keys(keys) = &*keys else { panic!("{keys:?}") };
        assert!(keys.security_token.is_some(), "{name}");
    }
}
