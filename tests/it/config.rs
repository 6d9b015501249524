//! What an operator may write, and what is said about the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::document::Format;
use dbtask_exporter::cli;
use dbtask_exporter::config::{Config, LimitsConfig, PollConfig, RetentionConfig, SourceConfig};
use dbtask_exporter::platform::environment::Environment;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use crate::support::credentials;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config")
}

/// The files of a folder whose names end so, in order.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(end))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn environment<const N: usize>(variables: [(&str, &str); N]) -> Environment {
    variables.into_iter().collect()
}

fn parse(text: &str) -> Config {
    Config::parse(text, "test.yml", &Environment::default()).unwrap()
}

fn problems(text: &str) -> String {
    Config::parse(text, "test.yml", &Environment::default()).unwrap_err().to_string()
}

fn source(config: &Config, name: &str) -> SourceConfig {
    config.sources.iter().find(|source| source.name == name).unwrap().clone()
}

async fn keys(source: &SourceConfig) -> Result<(String, String, Option<String>), String> {
    let credentials = credentials(&source.credentials).await.map_err(|error| error.to_string())?;
    let Credentials::Keys(AccessKeys { access_key_id, secret_access_key, security_token }) =
        &*credentials
    else {
        panic!("a token");
    };
    let token = security_token.as_ref().map(|token| token.expose_secret().to_owned());
    Ok((access_key_id.clone(), secret_access_key.expose_secret().to_owned(), token))
}

#[test]
fn good_files_are_good() {
    for path in files(&fixtures(), ".ok.yml") {
        if let Err(error) = Config::load(&path, &Environment::default()) {
            panic!("{error}");
        }
    }
}

#[test]
fn examples_are_good() {
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"), ".yml") {
        // A list of tasks, which another example names.
        if path.to_str().unwrap().ends_with("-tasks.yml") {
            continue;
        }
        if let Err(error) = Config::load(&path, &Environment::default()) {
            panic!("{error}");
        }
    }
}

/// Beside each bad file are its messages, without the folder. `UPDATE=1` writes them.
#[test]
fn bad_files_get_their_messages() {
    let folder = format!("{}/", fixtures().display());
    for path in files(&fixtures(), ".bad.yml") {
        let error = Config::load(&path, &Environment::default()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let messages = error.replace(&folder, "") + "\n";
        let expected = path.with_extension("txt");
        if Environment::of_process().get("UPDATE").is_some() {
            fs::write(&expected, &messages).unwrap();
        }
        assert_eq!(messages, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
}

#[test]
fn the_design_s_example_means_what_it_says() {
    let config = Config::load(&fixtures().join("design.ok.yml"), &Environment::default()).unwrap();
    let mysql = source(&config, "mysql-guangzhou");
    assert_eq!(
        (mysql.api.facts.name, mysql.target.region.as_str()),
        ("tencent_cdb", "ap-guangzhou")
    );
    assert_eq!(mysql.account, "tencent-prod");
    assert_eq!(mysql.resources.iter().map(|r| &*r.id).collect::<Vec<_>>(), ["cdb-qlfpnobr"]);
    assert_eq!(mysql.target.utc_offset.seconds(), 8 * 3600);
    assert!(mysql.per_task_metrics && mysql.tasks.is_empty() && mysql.proxy_url.is_none());
    let adb = source(&config, "adb-hangzhou");
    assert_eq!((adb.account.as_str(), adb.target.format), ("default", Format::Xml));
    let tasks: Vec<_> =
        adb.all_tasks().map(|t| (&*t.id, &*t.resource.as_ref().unwrap().id)).collect();
    let cluster = "am-bp1xxxxxxxx47";
    assert_eq!(tasks, [("225685759", cluster), ("225685760", cluster), ("123", cluster)]);
    let registration = config.registration.unwrap();
    assert_eq!(registration.token_file, Path::new("/run/secrets/registration-token"));
    assert_eq!((registration.max_tasks, registration.ttl), (10_000, Duration::from_hours(7 * 24)));
}

#[test]
fn anchors_and_merge_keys_work() {
    let config = Config::load(&fixtures().join("anchors.ok.yml"), &Environment::default()).unwrap();
    let two = source(&config, "dds-eu-two");
    assert_eq!((two.account.as_str(), two.api.facts.name), ("two", "huawei_dds"));
    assert_eq!(two.poll.interval, Duration::from_mins(10));
    assert_eq!(two.poll.stale_after, Duration::from_hours(1));
    assert_eq!(two.target.endpoint, "https://dds.eu-de.otc.t-systems.com");
    assert_eq!(config.disabled, ["local"]);
    assert_eq!(config.sources.len(), 2);
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = parse("sources: [{name: a, api: tencent_cdb, region: ap-guangzhou}]");
    let a = source(&config, "a");
    let minutes = Duration::from_mins;
    let seconds = Duration::from_secs;
    assert_eq!(
        a.poll,
        PollConfig {
            interval: seconds(30),
            idle_interval: minutes(2),
            timeout: seconds(20),
            lookback: minutes(24 * 60),
            stale_after: minutes(15),
        }
    );
    assert_eq!(a.retention, RetentionConfig { finished: minutes(60), failed: minutes(24 * 60) });
    assert_eq!(a.limits, LimitsConfig { tasks_per_source: 500 });
    assert_eq!(a.target.format, Format::Json);
    assert_eq!(a.target.endpoint, a.api.endpoint("ap-guangzhou"));
    assert_eq!(a.target.project_id, "");
    assert_eq!(a.account, "default");
}

#[test]
fn a_source_overrides_key_by_key() {
    let config = parse(
        "
poll: {interval: 1m, lookback: 48h}
retention: {failed: 7d}
limits: {tasks_per_source: 10}
sources:
  - name: a
    api: tencent_cdb
    region: ap-guangzhou
    poll: {interval: 10m}
    retention: {finished: 5m}
  - {name: b, api: tencent_cdb, region: ap-guangzhou, limits: {tasks_per_source: 20}}
",
    );
    let (a, b) = (source(&config, "a"), source(&config, "b"));
    let hours = Duration::from_hours;
    assert_eq!((a.poll.interval, a.poll.lookback), (Duration::from_mins(10), hours(48)));
    assert_eq!((a.retention.finished, a.retention.failed), (Duration::from_mins(5), hours(7 * 24)));
    assert_eq!(a.limits.tasks_per_source, 10);
    assert_eq!((b.poll.interval, b.limits.tasks_per_source), (Duration::from_mins(1), 20));
    // Defaults that depend on the interval follow it.
    assert_eq!(
        (a.poll.idle_interval, a.poll.stale_after),
        (Duration::from_mins(10), Duration::from_mins(30))
    );
    assert_eq!(
        (b.poll.idle_interval, b.poll.stale_after),
        (Duration::from_mins(2), Duration::from_mins(15))
    );
}

#[test]
fn every_api_can_be_configured_by_its_name() {
    for api in APIS {
        let text = format!("sources: [{{name: a, api: {}, region: cn-north-1}}]", api.facts.name);
        assert_eq!(source(&parse(&text), "a").api.facts.name, api.facts.name);
    }
}

#[test]
fn plain_http_is_for_loopback_unless_allowed() {
    let text = |endpoint: &str, rest: &str| {
        format!(
            "sources: [{{name: a, api: tencent_cdb, region: ap-x, endpoint: '{endpoint}'{rest}}}]"
        )
    };
    assert_eq!(
        source(&parse(&text("http://[::1]:80/", "")), "a").target.endpoint,
        "http://[::1]:80"
    );
    assert!(problems(&text("http://10.0.0.1", "")).contains("allow_plain_http"));
    parse(&text("http://10.0.0.1", ", allow_plain_http: true"));
}

#[test]
fn an_endpoint_may_be_a_word_for_one_of_the_vendors() {
    let text = |api: &str, region: &str, word: &str| {
        format!("sources: [{{name: a, api: {api}, region: {region}, endpoint: {word}}}]")
    };
    for (api, region, word, endpoint) in [
        ("alibaba_adb", "cn-hangzhou", "vpc", "https://adb-vpc.cn-hangzhou.aliyuncs.com"),
        ("alibaba_polardb", "eu-central-1", "vpc", "https://polardb-vpc.eu-central-1.aliyuncs.com"),
        ("tencent_cdb", "ap-guangzhou", "vpc", "https://cdb.internal.tencentcloudapi.com"),
        ("tencent_redis", "ap-singapore", "intl", "https://redis.intl.tencentcloudapi.com"),
        (
            "tencent_cdb",
            "ap-shanghai-fsi",
            "vpc",
            "https://cdb.internal.ap-shanghai-fsi.tencentcloudapi.com",
        ),
    ] {
        assert_eq!(source(&parse(&text(api, region, word)), "a").target.endpoint, endpoint);
    }
    for (api, region, word) in [
        ("huawei_dds", "cn-north-4", "vpc"),
        ("alibaba_adb", "cn-hangzhou", "intl"),
        ("tencent_cdb", "ap-shanghai-fsi", "intl"),
    ] {
        let problems = problems(&text(api, region, word));
        assert!(problems.contains(&format!("no {word} endpoint for {region}")), "{problems}");
    }
}

#[test]
fn sources_share_the_provider_of_their_credentials() {
    let config = parse(
        "
credentials: [{name: k, cloud: tencent, secret_id: x, secret_key: y}]
sources:
  - {name: a, api: tencent_cdb, region: ap-guangzhou, credentials: k}
  - {name: b, api: tencent_redis, region: ap-guangzhou, credentials: k}
  - {name: c, api: tencent_cdb, region: ap-guangzhou}
  - {name: d, api: tencent_redis, region: ap-guangzhou}
",
    );
    let provider = |name| source(&config, name).credentials;
    assert!(Arc::ptr_eq(&provider("a"), &provider("b")));
    assert!(Arc::ptr_eq(&provider("c"), &provider("d")));
    assert!(!Arc::ptr_eq(&provider("a"), &provider("c")));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let error = Config::load(&folder.path().join(name), &Environment::default()).unwrap_err();
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(load("x.yml"), "x.yml: cannot be read: No such file or directory (os error 2)");
    fs::write(folder.path().join("y.yml"), b"a: \xff").unwrap();
    assert_eq!(load("y.yml"), "y.yml: is not UTF-8 from byte 3 on");
    fs::write(folder.path().join("z.yml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(load("z.yml"), "z.yml: cannot be read: it is larger than 1024 KiB");
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = Config::parse(
        "sources: [{name: a, api: tencent_cdb, region: ap-x, ca_file: ca.pem}]",
        "/etc/dbtask-exporter/config.yml",
        &Environment::default(),
    );
    let ca_file = config.unwrap().sources[0].ca_file.clone();
    assert_eq!(ca_file.as_deref(), Some(Path::new("/etc/dbtask-exporter/ca.pem")));
}

#[test]
fn the_environment_alone_makes_one_source() {
    let config = Config::from_environment(&environment([
        ("DBTASK_API", "huawei_dds"),
        ("DBTASK_REGION", "cn-north-4"),
        ("DBTASK_PROJECT_ID", "4f1c8a0b9d2e4f5c8a7b6c5d4e3f2a1b"),
        ("DBTASK_RESOURCES", "a, b"),
        ("DBTASK_ENDPOINT", "https://dds.example.com"),
        ("DBTASK_POLL_INTERVAL", "1m"),
        ("DBTASK_RETENTION_FAILED", "48h"),
        ("DBTASK_LIMITS_TASKS_PER_SOURCE", "9"),
        ("DBTASK_PER_TASK_METRICS", "false"),
        ("DBTASK_FORMAT", ""),
        ("DBTASK_EXPORTER_SERVICE_HOST", "10.0.0.1"),
        ("DBTASK_EXPORTER_PORT_10118_TCP_ADDR", "10.0.0.1"),
        ("HOME", "/root"),
    ]))
    .unwrap();
    let [source] = config.sources.as_slice() else { panic!() };
    assert_eq!((source.name.as_str(), source.api.facts.name), ("huawei_dds", "huawei_dds"));
    assert_eq!(source.target.endpoint, "https://dds.example.com");
    assert_eq!(source.target.project_id, "4f1c8a0b9d2e4f5c8a7b6c5d4e3f2a1b");
    assert_eq!(source.resources.iter().map(|r| &*r.id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(source.poll.interval, Duration::from_mins(1));
    assert_eq!(source.retention.failed, Duration::from_hours(48));
    assert_eq!(source.limits.tasks_per_source, 9);
    assert!(!source.per_task_metrics);
}

#[test]
fn tasks_in_the_environment_may_name_their_resource() {
    let config = Config::from_environment(&environment([
        ("DBTASK_NAME", "adb"),
        ("DBTASK_API", "alibaba_adb"),
        ("DBTASK_REGION", "cn-hangzhou"),
        ("DBTASK_TASKS", "am-1/225685759, am-1/225685760"),
    ]))
    .unwrap();
    let adb = source(&config, "adb");
    let tasks: Vec<_> =
        adb.tasks.iter().map(|t| (&*t.id, &*t.resource.as_ref().unwrap().id)).collect();
    assert_eq!(tasks, [("225685759", "am-1"), ("225685760", "am-1")]);
}

#[test]
fn a_wrong_variable_is_named() {
    let error = |variables| Config::from_environment(&variables).unwrap_err().to_string();
    assert_eq!(
        error(Environment::default()),
        "environment: there is no configuration: give --config.file, or set DBTASK_API and \
         DBTASK_REGION"
    );
    assert_eq!(
        error(environment([
            ("DBTASK_API", "tencent_cbd"),
            ("DBTASK_POLL_INTERVALL", "30s"),
            ("DBTASK_POLL_TIMEOUT", "30"),
            ("DBTASK_RESOURCES", "cdb-1,../x"),
        ])),
        "environment: DBTASK_POLL_INTERVALL: unknown variable; did you mean DBTASK_POLL_INTERVAL?
environment: DBTASK_POLL_TIMEOUT: \"30\" has no unit; write \"30s\" for seconds, or m, h, d
environment: DBTASK_REGION: is required
environment: DBTASK_API: unknown API \"tencent_cbd\"; did you mean \"tencent_cdb\"?"
    );
    assert_eq!(
        error(environment([
            ("DBTASK_API", "tencent_cdb"),
            ("DBTASK_REGION", "ap-guangzhou"),
            ("DBTASK_RESOURCES", "cdb-1,../x"),
        ])),
        "environment: DBTASK_RESOURCES: \"../x\" is not an id: letters, digits, \"_\", \".\", \"-\" or \
         \":\", at most 128"
    );
}

#[tokio::test]
async fn keys_come_from_the_file_a_variable_or_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "from-file\r\n").unwrap();
    let text = "
credentials:
  - {name: k, cloud: alibaba, access_key_id: inline, access_key_secret_file: key, security_token_env: TOKEN}
sources: [{name: a, api: alibaba_adb, region: cn-hangzhou, credentials: k}]
";
    let path = folder.path().join("config.yml");
    let config = Config::parse(text, path.to_str().unwrap(), &environment([("TOKEN", "from-env")]));
    let a = source(&config.unwrap(), "a");
    let expected = |secret: &str| Ok(("inline".into(), secret.to_owned(), Some("from-env".into())));
    assert_eq!(keys(&a).await, expected("from-file"));

    // As long as nothing changes, they are the same.
    let first = credentials(&a.credentials).await.unwrap();
    assert!(Arc::ptr_eq(&first, &credentials(&a.credentials).await.unwrap()));
    fs::write(&file, "changed").unwrap();
    assert_eq!(keys(&a).await, expected("changed"));

    for (bad, problem) in [("", "is empty"), ("two words", "holds a blank or a line break")] {
        fs::write(&file, bad).unwrap();
        assert_eq!(keys(&a).await, Err(format!("{} {problem}", file.display())));
    }
    fs::remove_file(&file).unwrap();
    assert!(keys(&a).await.unwrap_err().contains("(access_key_secret_file) cannot be read"));
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_an_error_only_when_it_is_needed() {
    let config = parse(
        "
credentials: [{name: k, cloud: tencent, secret_id_env: PROD_ID, secret_key_env: PROD_KEY}]
sources: [{name: a, api: tencent_cdb, region: ap-guangzhou, credentials: k}]
",
    );
    assert_eq!(
        keys(&source(&config, "a")).await.unwrap_err(),
        "the environment variable PROD_ID (secret_id_env) is not set"
    );
}

#[tokio::test]
async fn without_credentials_the_vendor_s_variables_count() {
    let text = "
sources:
  - {name: alibaba, api: alibaba_adb, region: cn-hangzhou}
  - {name: huawei, api: huawei_dds, region: cn-north-4}
  - {name: tencent, api: tencent_cdb, region: ap-guangzhou}
";
    let config = Config::parse(
        text,
        "test.yml",
        &environment([
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ali-id"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ali-secret"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "ali-token"),
            ("HUAWEICLOUD_SDK_AK", "hw-id"),
            ("HUAWEICLOUD_SDK_SK", "hw-secret"),
            ("HUAWEICLOUD_SDK_PROJECT_ID", "4f1c8a0b9d2e4f5c8a7b6c5d4e3f2a1b"),
            ("TENCENTCLOUD_SECRET_ID", "tc-id"),
            ("TENCENTCLOUD_SECRET_KEY", "tc-secret"),
            ("TENCENTCLOUD_SECURITY_TOKEN", "tc-token"),
        ]),
    )
    .unwrap();
    let expected = |id: &str, secret: &str, token: Option<&str>| {
        Ok((id.to_owned(), secret.to_owned(), token.map(str::to_owned)))
    };
    let found = async |name| keys(&source(&config, name)).await;
    assert_eq!(found("alibaba").await, expected("ali-id", "ali-secret", Some("ali-token")));
    assert_eq!(found("huawei").await, expected("hw-id", "hw-secret", None));
    assert_eq!(found("tencent").await, expected("tc-id", "tc-secret", Some("tc-token")));
    assert_eq!(source(&config, "huawei").target.project_id, "4f1c8a0b9d2e4f5c8a7b6c5d4e3f2a1b");

    let config =
        Config::parse(text, "test.yml", &environment([("TENCENTCLOUD_SECRET_ID", "x")])).unwrap();
    for (name, message) in [
        (
            "alibaba",
            "no credentials for alibaba: the environment variables ALIBABA_CLOUD_ACCESS_KEY_ID and \
             ALIBABA_CLOUD_ACCESS_KEY_SECRET are not set",
        ),
        (
            "tencent",
            "no credentials for tencent: the environment variable TENCENTCLOUD_SECRET_KEY is not set",
        ),
    ] {
        let error = keys(&source(&config, name)).await.unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
}

#[tokio::test]
async fn huawei_takes_a_token_in_place_of_keys() {
    let config = parse(
        "
credentials: [{name: k, cloud: huawei, auth_token: abc}]
sources: [{name: a, api: huawei_dds, region: eu-de, credentials: k}]
",
    );
    let credentials = credentials(&source(&config, "a").credentials).await.unwrap();
    let Credentials::Token(token) = &*credentials else { panic!() };
    assert_eq!(token.expose_secret(), "abc");
}

#[tokio::test]
async fn secrets_are_never_shown() {
    let variables = environment([("TENCENTCLOUD_SECRET_ID", "hunter2"), ("TOKEN", "hunter2")]);
    let config = Config::parse(
        "
credentials:
  - {name: k, cloud: tencent, secret_id: hunter2, secret_key: hunter2, token_env: TOKEN}
  - {name: l, cloud: huawei, auth_token: hunter2}
sources:
  - {name: a, api: tencent_cdb, region: ap-x, credentials: k, proxy_url: 'http://u:hunter2@proxy'}
  - {name: b, api: huawei_dds, region: cn-x, credentials: l}
  - {name: c, api: tencent_cdb, region: ap-x}
",
        "test.yml",
        &variables,
    )
    .unwrap();
    let mut shown = vec![format!("{variables:?} {config:?} {config:#?}")];
    for source in &config.sources {
        shown.push(match credentials(&source.credentials).await {
            Ok(credentials) => match &*credentials {
                Credentials::Keys(keys) => format!("{:?}", keys.secret_access_key),
                Credentials::Token(token) => format!("{token:?}"),
            },
            Err(error) => format!("{error} {error:?}"),
        });
    }
    let shown = shown.concat();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_hostile_key_cannot_forge_a_message() {
    assert_eq!(
        problems("\"x\\n\\u001b[2Jtest.yml: fine\": 1\nsources: [{}]").lines().next().unwrap(),
        r"test.yml:1:1: x\n\u{1b}[2Jtest.yml: fine: unknown key; there are poll, retention, limits, credentials, sources, registration"
    );
}

#[test]
fn no_file_makes_a_thousand_lines_of_messages() {
    let text = "sources: [".to_owned() + &"x,".repeat(1000) + "]";
    assert_eq!(problems(&text).lines().count(), 101);
    assert!(problems(&text).ends_with("\nand 900 more"));
}

#[test]
fn check_prints_the_sources_or_the_problems() {
    let file = fixtures().join("anchors.ok.yml");
    assert_eq!(
        cli::check(Some(&file), &Environment::default()).unwrap(),
        "\
SOURCE      API         CLOUD   REGION  ENDPOINT                             ACCOUNT
dds-eu      huawei_dds  huawei  eu-de   https://dds.eu-de.otc.t-systems.com  one
dds-eu-two  huawei_dds  huawei  eu-de   https://dds.eu-de.otc.t-systems.com  two
local: disabled
"
    );
    let error = cli::check(None, &environment([("DBTASK_API", "tencent_cdb")])).unwrap_err();
    assert_eq!(error.to_string(), "environment: DBTASK_REGION: is required");
}

#[test]
fn check_names_a_budget_that_does_not_suffice_even_while_nothing_runs() {
    let file = fixtures().join("budgets.ok.yml");
    let printed = cli::check(Some(&file), &Environment::default()).unwrap();
    let (_, after) = printed.split_once("d: disabled\n").unwrap();
    assert_eq!(
        after,
        "warning: small: daily_budget 1000 is too small: polls at the idle interval alone make at least 1488 calls a day\n"
    );
}

#[test]
fn check_warns_of_two_sources_that_show_the_same_operations_and_of_no_others() {
    let warnings = |sources: &str| {
        let text = format!("sources:\n{sources}");
        let config = Config::parse(&text, "f.yml", &Environment::default()).unwrap();
        config.warnings()
    };
    let source = |name: &str, api: &str, region: &str, more: &str| {
        format!("  - {{name: {name}, api: {api}, region: {region}{more}}}\n")
    };
    let beside = |region: &str, one: &str, two: &str| {
        source("a", "alibaba_polardb", "cn-hangzhou", one)
            + &source("b", "alibaba_polardb_history", region, two)
            + &source("c", "alibaba_rds_history", "cn-hangzhou", "")
    };
    let warned = warnings(&beside("cn-hangzhou", "", ""));
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].starts_with(
            "b and a show the same operations of cn-hangzhou, which are counted twice: keep "
        ),
        "{warned:?}"
    );
    let resources = |id: &str| format!(", resources: [{id}]");
    assert_eq!(warnings(&beside("cn-hangzhou", "", &resources("pc-1"))).len(), 1);
    assert_eq!(warnings(&beside("cn-hangzhou", &resources("pc-1"), &resources("pc-1"))).len(), 1);
    for apart in [
        beside("cn-beijing", "", ""),
        beside("cn-hangzhou", &resources("pc-1"), &resources("pc-2")),
    ] {
        assert!(warnings(&apart).is_empty(), "{apart}");
    }
    for api in APIS {
        for same in api.facts.same_tasks_as {
            let other = dbtask_clouds::catalog::named(same.api).unwrap();
            assert_eq!(other.facts.cloud, api.facts.cloud, "{}", same.api);
        }
    }
}

/// Name, API and region of each source.
fn expanded(config: &Config) -> Vec<String> {
    let sources = config.sources.iter();
    sources.map(|it| format!("{} {} {}", it.name, it.api.facts.name, it.target.region)).collect()
}

#[test]
fn lists_of_apis_and_regions_stand_for_every_combination() {
    let config = parse(
        "sources:
  - name: prod
    api: [tencent_cdb, tencent_redis]
    region: [ap-guangzhou, ap-shanghai]
    poll: {interval: 1m}
  - {name: one, api: [tencent_cdb], region: ap-guangzhou, resources: [cdb-1]}
  - {name: as-it-is, api: tencent_cdb, region: ap-guangzhou}
",
    );
    assert_eq!(
        expanded(&config),
        [
            "prod-tencent_cdb-ap-guangzhou tencent_cdb ap-guangzhou",
            "prod-tencent_cdb-ap-shanghai tencent_cdb ap-shanghai",
            "prod-tencent_redis-ap-guangzhou tencent_redis ap-guangzhou",
            "prod-tencent_redis-ap-shanghai tencent_redis ap-shanghai",
            "one-tencent_cdb-ap-guangzhou tencent_cdb ap-guangzhou",
            "as-it-is tencent_cdb ap-guangzhou",
        ]
    );
    let intervals: Vec<u64> = config.sources.iter().map(|it| it.poll.interval.as_secs()).collect();
    assert_eq!(intervals, [60, 60, 60, 60, 30, 30]);
    assert_eq!(config.sources[4].resources.len(), 1);
}

#[test]
fn a_pattern_stands_for_every_api_that_it_matches_and_that_lists_tasks() {
    let config = parse("sources:\n  - {name: a, api: huawei_*, region: cn-north-4}\n");
    let names: Vec<&str> = config.sources.iter().map(|it| it.api.facts.name).collect();
    let now = jiff::Timestamp::UNIX_EPOCH.into();
    let scope = dbtask_clouds::api::Scope { now, since: now, resources: &[], tags: &[] };
    let lists = |api: &&&dbtask_clouds::api::TaskApi| {
        api.facts.name.starts_with("huawei_") && !api.list(&scope).is_empty()
    };
    let expected: Vec<&str> = APIS.iter().filter(lists).map(|api| api.facts.name).collect();
    assert_eq!(names, expected);
    assert!(names.len() > 3);
    let twice =
        parse("sources:\n  - {name: a, api: [huawei_dds, huawei_d*s], region: [cn-north-4]}\n");
    assert!(
        expanded(&twice).starts_with(&["a-huawei_dds-cn-north-4 huawei_dds cn-north-4".into()])
    );
    assert_eq!(expanded(&twice).iter().filter(|it| it.contains(" huawei_dds ")).count(), 1);
}

#[test]
fn three_accounts_with_thirteen_apis_in_ten_regions_take_less_than_thirty_lines() {
    let text = "credentials:
  - {name: one, cloud: alibaba, access_key_id: a, access_key_secret: b}
  - {name: two, cloud: alibaba, access_key_id: c, access_key_secret: d}
  - {name: three, cloud: alibaba, access_key_id: e, access_key_secret: f}
sources:
  - &all
    name: one
    api: [alibaba_adb, alibaba_polardb, alibaba_dts, '*_history', alibaba_rds_maintenance,
          alibaba_mongodb_maintenance, alibaba_redis_maintenance, alibaba_polardb_maintenance]
    region: [cn-hangzhou, cn-shanghai, cn-beijing, cn-shenzhen, cn-zhangjiakou, cn-hongkong,
             ap-southeast-1, us-west-1, us-east-1, eu-central-1]
    credentials: one
  - {<<: *all, name: two, credentials: two}
  - {<<: *all, name: three, credentials: three}
";
    assert!(text.lines().count() < 30);
    let config = parse(text);
    let apis: std::collections::BTreeSet<&str> =
        config.sources.iter().map(|it| it.api.facts.name).collect();
    assert!(apis.len() >= 12, "{apis:?}");
    assert_eq!(config.sources.len(), 3 * 10 * apis.len());
    let names: std::collections::BTreeSet<&str> =
        config.sources.iter().map(|it| &*it.name).collect();
    assert_eq!(names.len(), config.sources.len());
    assert!(names.contains("two-alibaba_redis_history-eu-central-1"));
}

#[test]
fn a_changed_template_leaves_the_sources_that_it_still_stands_for_as_they_were() {
    let template = |regions: &str| {
        parse(&format!(
            "sources:\n  - {{name: a, api: [tencent_cdb, tencent_redis], region: [{regions}]}}\n"
        ))
    };
    let before = template("ap-guangzhou, ap-shanghai");
    let after = template("ap-tokyo, ap-shanghai");
    let kept = before.sources.iter().filter(|old| after.sources.iter().any(|new| new.is_same(old)));
    let kept: Vec<&str> = kept.map(|it| &*it.name).collect();
    assert_eq!(kept, ["a-tencent_cdb-ap-shanghai", "a-tencent_redis-ap-shanghai"]);
}

#[test]
fn check_warns_of_a_region_that_no_table_of_its_cloud_names() {
    let warnings = |source: &str| parse(&format!("sources:\n  - {source}\n")).warnings();
    let wrong = "{name: a, api: [tencent_cdb, tencent_redis], region: [ap-guangzou, ap-shanghai]}";
    assert_eq!(
        warnings(wrong),
        [
            "a-tencent_cdb-ap-guangzou, a-tencent_redis-ap-guangzou: \"ap-guangzou\" is no region of \
          tencent that is known; did you mean \"ap-guangzhou\"?"
        ]
    );
    for fine in [
        "{name: a, api: tencent_cdb, region: ap-shanghai-fsi}",
        "{name: a, api: huawei_dds, region: eu-de}",
        "{name: a, api: alibaba_polardb, region: cn-hangzhou}",
        "{name: a, api: tencent_cdb, region: my-own, endpoint: 'https://private.example'}",
    ] {
        assert_eq!(warnings(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_budget_belongs_to_the_credentials_and_so_to_all_their_sources() {
    let config = Config::load(&fixtures().join("budgets.ok.yml"), &Environment::default()).unwrap();
    let budgets: Vec<_> = config.sources.iter().map(|source| source.daily_budget).collect();
    assert_eq!(budgets, [Some(100_000), Some(1000), Some(1000), None]);
}

#[test]
fn every_problem_is_a_line_that_begins_with_its_place() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
        .args(["check", "tests/fixtures/config/tasks.bad.yml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8(output.stderr).unwrap();
    let is_placed = |line: &str| {
        let (file, rest) = line.split_once(".yml:").unwrap_or_default();
        file.starts_with("tests/fixtures/config/") && rest.starts_with(|c: char| c.is_ascii_digit())
    };
    assert!(printed.lines().count() > 5 && printed.lines().all(is_placed), "{printed}");
}

#[test]
fn what_check_accepts_can_be_served() {
    let environment = environment([
        ("DBTASK_API", "tencent_cdb"),
        ("DBTASK_REGION", "ap-guangzhou"),
        ("DBTASK_CA_FILE", "/no/such/file.pem"),
    ]);
    let error = cli::check(None, &environment).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "source tencent_cdb: ca_file /no/such/file.pem: No such file or directory (os error 2)"
    );
}

#[test]
fn every_key_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let docs = fs::read_to_string(docs).unwrap();
    // A wrong key makes the reader list the right ones.
    let listed = |text: &str| {
        let messages = problems(text);
        let (_, keys) = messages.split_once("there are ").unwrap();
        keys.lines().next().unwrap().split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let mut keys = listed("zzz: 1\nsources: []");
    for section in ["poll", "retention", "limits"] {
        keys.extend(listed(&format!("{section}: {{zzz: 1}}\nsources: []")));
    }
    keys.extend(listed("sources: [{zzz: 1}]"));
    for cloud in Cloud::ALL {
        keys.extend(listed(&format!("credentials: [{{cloud: {cloud}, zzz: 1}}]\nsources: []")));
    }
    let variables = Config::from_environment(&environment([("DBTASK_ZZZ", "1")])).unwrap_err();
    let (_, variables) = variables.problems[0].message.split_once("there are ").unwrap();
    keys.extend(variables.split(", ").map(str::to_owned));
    for key in &keys {
        // Credentials come in three spellings, of which the documentation names one.
        let word = key.trim_end_matches("_env").trim_end_matches("_file");
        let documented = [format!("`{key}`"), format!(".{key}`"), format!("`{word}`")];
        assert!(documented.iter().any(|name| docs.contains(name)), "{key} is not documented");
    }
}

/// Text that looks like configuration, more or less.
fn almost_yaml() -> impl Strategy<Value = String> {
    let words = [
        "sources:",
        "credentials:",
        "poll:",
        "tasks:",
        "tags:",
        "name:",
        "api:",
        "region:",
        "cloud:",
        "\n",
        "\n  ",
        "\n  - ",
        "- ",
        " ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "&a ",
        "*a",
        "<<: *a",
        "|\n",
        ">",
        "'",
        "\"",
        "#",
        "~",
        "---\n",
        "!!str ",
        "!x ",
        "? ",
        "%YAML 1.2\n",
        "30s",
        "1e999",
        "0x",
        "é",
        "tencent",
        "tencent_cdb",
        "ap-guangzhou",
        "interval: ",
        "secret_id: ",
        "\u{0}",
        "\t",
        "\u{feff}",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".*", almost in almost_yaml()) {
        for text in [text, almost] {
            if let Err(error) = Config::parse(&text, "x.yml", &Environment::default()) {
                prop_assert!(!error.problems.is_empty());
                prop_assert_eq!(error.to_string().lines().count(), error.problems.len());
            }
        }
    }

    #[test]
    fn no_value_makes_the_reader_panic(value in ".*", variable in "[A-Z_]{0,20}") {
        let quoted = serde_json::to_string(&value).unwrap();
        for key in ["name", "api", "region", "endpoint", "project_id", "utc_offset", "proxy_url", "ca_file"] {
            let text = format!("sources: [{{name: a, api: tencent_cdb, region: ap-x, {key}: {quoted}}}]");
            let _ = Config::parse(&text, "x.yml", &Environment::default());
        }
        let text = format!("poll: {{interval: {quoted}}}\nsources: [{{tasks: [{quoted}]}}]");
        let _ = Config::parse(&text, "x.yml", &Environment::default());
        let variables = [("DBTASK_TASKS".to_owned(), value.clone()), (format!("DBTASK_{variable}"), value)];
        let _ = Config::from_environment(&variables.into_iter().collect());
    }
}
