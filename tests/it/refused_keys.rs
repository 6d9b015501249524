//! What is promised where keys are refused, where a session is, and where the service that gives
//! sessions is in trouble.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use dbtask_exporter::config::Config;
use dbtask_exporter::credentials::Provider;
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_simulator::{Fault, FaultKind, Scenario, SimulatedCloud};
use http::{Request, Response};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::{Lab, one_task, place, with_keys};

/// Sources `s1`, `s2`…, each of its own account.
fn sources(api: &str, count: usize) -> String {
    let (region, resource) = place(api);
    let mut text = "sources:\n".to_owned();
    for number in 1..=count {
        writeln!(
            text,
            "  - {{name: s{number}, api: {api}, region: {region}, account: a{number}, \
             resources: [{{id: {resource}}}]}}"
        )
        .unwrap();
    }
    text
}

/// Id and secret of the key that the cloud knows a source's account by.
fn right_key(scenario: &str, source: &str) -> (String, String) {
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let cloud =
        SimulatedCloud::new(&Scenario::parse(scenario).unwrap(), move || clock.now()).unwrap();
    let Some(Credentials::Keys(keys)) = cloud.credentials(source) else { panic!("no keys") };
    (keys.access_key_id, keys.secret_access_key.expose_secret().to_owned())
}

/// What an entry of `credentials` with these keys hands out.
fn entry(cloud: Cloud, keys: &str, folder: &Path) -> Arc<Provider> {
    let (api, region) = match cloud {
        Cloud::Alibaba => ("alibaba_adb", "cn-hangzhou"),
        Cloud::Huawei => ("huawei_dds", "cn-north-4"),
        Cloud::Tencent => ("tencent_cdb", "ap-guangzhou"),
    };
    let text = format!(
        "credentials: [{{name: k, cloud: {cloud}, {keys}}}]\n\
         sources: [{{name: a, api: {api}, region: {region}, credentials: k}}]\n"
    );
    let text = text.replace("FOLDER", folder.to_str().unwrap());
    let config = Config::parse(&text, "test.yml", &Environment::default()).unwrap();
    Arc::clone(&config.sources[0].credentials)
}

fn each_second(config: &mut Config) {
    for source in &mut config.sources {
        source.poll.interval = Duration::from_secs(1);
        source.poll.idle_interval = Duration::from_secs(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_for_a_refused_key_has_been_tried() {
    let scenario = sources("huawei_dds", 12);
    let (id, _) = right_key(&scenario, "s1");
    let keys = format!("access_key: {id}, secret_key: wrong");
    let provider = entry(Cloud::Huawei, &keys, Path::new(""));
    let lab = Lab::new(&scenario, |config| {
        for source in &mut config.sources {
            source.account = "shared".to_owned();
            source.credentials = Arc::clone(&provider);
        }
    });
    lab.seconds(10).await;
    for number in 1..=12 {
        let snapshot = lab.snapshot(&format!("s{number}"));
        assert!(snapshot.tried && !snapshot.up, "s{number}");
        assert_eq!(snapshot.last_error_reason, Some("auth"));
        let error = snapshot.last_error.as_deref().unwrap();
        assert!(error.contains("APIGW.0301"), "the vendor's word: {error}");
    }
    assert!(lab.cloud.request_count() <= 4);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_wrong_key_in_eight_entries_is_tried_as_one() {
    for (cloud, api, role) in [
        (Cloud::Huawei, "huawei_dds", ""),
        (Cloud::Huawei, "huawei_dds", ", agency_name: a, agency_domain: d"),
        (Cloud::Alibaba, "alibaba_adb", ", role_arn: 'acs:ram::1:role/reader'"),
        (Cloud::Tencent, "tencent_cdb", ", role_arn: 'qcs::cam::uin/1:roleName/reader'"),
    ] {
        let scenario = sources(api, 8);
        let (id, _) = right_key(&scenario, "s1");
        let [name, secret] = match cloud {
            Cloud::Huawei => ["access_key", "secret_key"],
            Cloud::Alibaba => ["access_key_id", "access_key_secret"],
            Cloud::Tencent => ["secret_id", "secret_key"],
        };
        let lab = Lab::new(&scenario, |config| {
            each_second(config);
            for (number, source) in config.sources.iter_mut().enumerate() {
                // Each role is another one.
                let role = role.replace("reader", &format!("reader{number}"));
                let role = role.replace("name: a", &format!("name: a{number}"));
                let keys = format!("{name}: {id}, {secret}: wrong{role}");
                source.credentials = entry(cloud, &keys, Path::new(""));
            }
        });
        lab.minutes(5).await;
        assert!(lab.cloud.request_count() <= 4, "{api} {role}: {:?}", lab.cloud.requests());
        assert!((1..=8).all(|number| lab.snapshot(&format!("s{number}")).tried), "{api}");
        lab.minutes(60).await;
        assert!(lab.cloud.request_count() <= 12, "{api} {role}: {:?}", lab.cloud.requests());
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mended_key_file_is_tried_at_once_with_a_reload_and_without() {
    for (cloud, api, keys) in [
        (Cloud::Huawei, "huawei_dds", "access_key: ID, secret_key_file: FOLDER/key"),
        (
            Cloud::Huawei,
            "huawei_dds",
            "access_key: ID, secret_key_file: FOLDER/key, agency_name: a, agency_domain: d",
        ),
        (Cloud::Alibaba, "alibaba_adb", "access_key_id: ID, access_key_secret_file: FOLDER/key"),
        (Cloud::Tencent, "tencent_cdb", "secret_id: ID, secret_key_file: FOLDER/key"),
    ] {
        for reload in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("key");
            std::fs::write(&file, "wrong").unwrap();
            let scenario = sources(api, 1);
            let (id, secret) = right_key(&scenario, "s1");
            let provider = entry(cloud, &keys.replace("ID", &id), folder.path());
            let mut lab = Lab::new(&scenario, |config| {
                each_second(config);
                config.sources[0].credentials = Arc::clone(&provider);
            });
            lab.minutes(5).await;
            assert!(!lab.snapshot("s1").up);
            assert!(lab.cloud.request_count() <= 4, "{api}");
            // A mistake is mended by another, and then for good.
            std::fs::write(&file, "wrong too").unwrap();
            lab.seconds(7).await;
            assert!(lab.cloud.request_count() <= 4, "{api}");
            lab.minutes(6).await;
            std::fs::write(&file, secret).unwrap();
            if reload {
                lab.reload(|_| {}).await;
            }
            lab.seconds(7).await;
            assert!(lab.snapshot("s1").up, "{api}: {:?}", lab.snapshot("s1").last_error);
            lab.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_file_that_was_missing_is_used_as_soon_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = sources("tencent_cdb", 1);
    let (id, secret) = right_key(&scenario, "s1");
    let keys = format!("secret_id: {id}, secret_key_file: FOLDER/key");
    let provider = entry(Cloud::Tencent, &keys, folder.path());
    let lab = Lab::new(&scenario, |config| config.sources[0].credentials = provider);
    lab.minutes(30).await;
    assert_eq!(lab.snapshot("s1").last_error_reason, Some("auth"));
    std::fs::write(folder.path().join("key"), secret).unwrap();
    lab.seconds(7).await;
    assert!(lab.snapshot("s1").up);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_vendor_takes_again_is_used_by_all_who_wait_for_it() {
    let (region, resource) = place("huawei_dds");
    let mut scenario = "sources:\n".to_owned();
    for number in 1..=8 {
        writeln!(
            scenario,
            "  - {{name: s{number}, api: huawei_dds, region: {region}, account: shared, \
             resources: [{{id: {resource}}}]}}"
        )
        .unwrap();
    }
    let lab = Lab::new(&scenario, |_| {});
    for number in 1..=8 {
        lab.inject(&format!("s{number}"), FaultKind::Unauthorized);
    }
    lab.minutes(20).await;
    assert!((1..=8).all(|number| !lab.snapshot(&format!("s{number}")).up));
    for number in 1..=8 {
        lab.cloud.heal(&format!("s{number}"));
    }
    lab.minutes(16).await;
    assert!((1..=8).all(|number| lab.snapshot(&format!("s{number}")).up));
    lab.stop().await;
}

/// A refusal in the vendor's envelope.
fn refusal(cloud: Cloud, status: u16, code: &str) -> Response<Bytes> {
    let body = match cloud {
        Cloud::Alibaba => json!({"Code": code, "Message": "no", "RequestId": "1", "HostId": "h"}),
        Cloud::Huawei => json!({"error_code": code, "error_msg": "no", "request_id": "1"}),
        Cloud::Tencent => {
            json!({"Response": {"Error": {"Code": code, "Message": "no"}, "RequestId": "1"}})
        }
    };
    let body = Bytes::from(body.to_string());
    Response::builder().status(status).body(body).unwrap()
}

/// The id of the key that signed a request to an API.
fn signer(request: &Request<Bytes>) -> Option<String> {
    let signed = request.headers().get("authorization")?.to_str().ok()?;
    let start = signed.find("STS.")?;
    let id = signed[start..].split([',', '/']).next()?;
    Some(id.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_vendor_does_not_know_any_more_is_replaced_within_the_poll() {
    let cases: [(Cloud, &str, u16, &str); 9] = [
        (Cloud::Tencent, "tencent_cdb", 200, "AuthFailure.SecretIdNotFound"),
        (Cloud::Tencent, "tencent_redis", 200, "AuthFailure.TokenFailure"),
        (Cloud::Tencent, "tencent_cdb", 200, "AuthFailure.SignatureFailure"),
        (Cloud::Alibaba, "alibaba_polardb", 404, "InvalidAccessKeyId.NotFound"),
        (Cloud::Alibaba, "alibaba_adb", 400, "InvalidSecurityToken.Malformed"),
        (Cloud::Alibaba, "alibaba_adb", 403, "InvalidSecurityToken.MismatchWithAccessKey"),
        (Cloud::Alibaba, "alibaba_polardb", 403, "InvalidSecurityToken.Expired"),
        (Cloud::Huawei, "huawei_dds", 401, "APIGW.0301"),
        (Cloud::Huawei, "huawei_dds", 401, "APIGW.0307"),
    ];
    for (cloud, api, status, code) in cases {
        let unknown = std::sync::Mutex::new(BTreeSet::new());
        let lab = Lab::through(
            &one_task(api, "[{hang: {}}]"),
            |config| {
                let environment = Environment::default();
                let chain = Provider::default_chain(cloud, environment);
                config.sources[0].credentials = Arc::new(chain);
            },
            move |elapsed, request| {
                let signer = signer(request)?;
                let mut unknown = unknown.lock().unwrap();
                // Whoever is known in the fifth minute is not from then on.
                if elapsed < Duration::from_mins(5) {
                    unknown.insert(signer);
                    return None;
                }
                unknown.contains(&signer).then(|| refusal(cloud, status, code))
            },
        );
        lab.minutes(15).await;
        let text = lab.text();
        let failures = "dbtask_source_poll_failures_total";
        assert_eq!(lab.sum(failures), 0, "{api} {code}: {:?}", lab.snapshot("one").last_error);
        assert_eq!(lab.sum("dbtask_api_request_failures_total"), 1, "{api} {code}\n{text}");
        assert_eq!(lab.calls("Metadata"), 2, "{api} {code}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_token_service_has_its_own_reason_and_is_over_soon_after_it() {
    let role = "role_arn: 'qcs::cam::uin/1:roleName/reader'";
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    for (kind, reason) in [
        (FaultKind::Throttle, "throttled"),
        (FaultKind::ServerError, "server"),
        (FaultKind::Html, "server"),
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "network"),
        (FaultKind::Malformed, "decode"),
        (FaultKind::Unauthorized, "auth"),
        (FaultKind::Forbidden, "auth"),
    ] {
        let adjust = |config: &mut Config| {
            config.sources = with_keys(&scenario, role);
            each_second(config);
        };
        let lab = Lab::new(&scenario, adjust);
        let operation = Some("AssumeRole".to_owned());
        lab.cloud.inject("one", Fault { operation, ..Fault::new(kind) });
        lab.seconds(80).await;
        let snapshot = lab.snapshot("one");
        assert_eq!(snapshot.last_error_reason, Some(reason), "{kind}: {:?}", snapshot.last_error);
        let failures = lab.sum("dbtask_source_poll_failures_total");
        let of_it =
            format!("dbtask_source_poll_failures_total{{reason=\"{reason}\",source=\"one\"}}");
        assert_eq!(lab.value(&of_it), Some(failures), "{kind}");
        assert!(failures >= 1, "{kind}");
        lab.cloud.heal("one");
        if reason != "auth" {
            // The longest backoff, the pause of the service, and a call that hangs.
            lab.seconds(300 + 30 + 60).await;
            assert!(lab.snapshot("one").up, "{kind}");
        }
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_for_sessions_that_throttles_is_asked_ever_more_rarely() {
    let scenario = one_task("tencent_cdb", "[{hang: {}}]");
    let lab = Lab::new(&scenario, |config| {
        config.sources = with_keys(&scenario, "role_arn: 'qcs::cam::uin/1:roleName/reader'");
        each_second(config);
    });
    let operation = Some("AssumeRole".to_owned());
    lab.cloud.inject("one", Fault { operation, ..Fault::new(FaultKind::Throttle) });
    lab.minutes(60).await;
    let before = lab.calls("AssumeRole");
    lab.minutes(300).await;
    let calls = lab.calls("AssumeRole") - before;
    // Full jitter: half of five minutes on average, so about 120 in five hours.
    assert!((60..=200).contains(&calls), "{calls} calls");
    assert_eq!(lab.snapshot("one").last_error_reason, Some("throttled"));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_of_a_machines_metadata_has_its_own_reason() {
    for (kind, reason) in [
        (FaultKind::ServerError, "server"),
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "network"),
        (FaultKind::Html, "server"),
    ] {
        for cloud in Cloud::ALL {
            let api = match cloud {
                Cloud::Alibaba => "alibaba_polardb",
                Cloud::Huawei => "huawei_dds",
                Cloud::Tencent => "tencent_cdb",
            };
            let lab = Lab::new(&one_task(api, "[{hang: {}}]"), |config| {
                let environment = Environment::default();
                config.sources[0].credentials =
                    Arc::new(Provider::default_chain(cloud, environment));
            });
            lab.inject("one", kind);
            lab.minutes(3).await;
            let snapshot = lab.snapshot("one");
            let error = &snapshot.last_error;
            assert_eq!(snapshot.last_error_reason, Some(reason), "{cloud} {kind}: {error:?}");
            lab.stop().await;
        }
    }
}
