//! Every signature recorded from the vendors' own code is reproduced, step by step; what we sign,
//! a vendor's gateway lets in, and nothing else.

use bytes::Bytes;
use dbtask_clouds::alibaba::signature as alibaba;
use dbtask_clouds::cloud::{AccessKeys, Cloud, Credentials};
use dbtask_clouds::huawei::signature as huawei;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::signing::{Signing, SigningError, Steps};
use dbtask_clouds::tencent::signature as tencent;
use dbtask_simulator::Gateway as _;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A recorded call.
struct Vector {
    name: String,
    /// As it was sent, with its `Authorization`.
    request: Request<Bytes>,
    signed: Vec<String>,
    service: String,
    keys: AccessKeys,
    now: Timestamp,
    nonce: String,
    canonical_request_sha256: String,
    /// The other steps, where the recording has them.
    canonical_request: Option<String>,
    string_to_sign: String,
    authorization: String,
}

impl Vector {
    fn read(cloud: Cloud, vector: &Value) -> Self {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let canonical_request = vector["canonical_request"].as_str().map(str::to_owned);
        let signed = match vector["signed_headers"].as_array() {
            Some(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            None => vec!["content-type".to_owned(), "host".to_owned()],
        };
        let (id, secret, token, date) = match cloud {
            Cloud::Alibaba => {
                ("access_key_id", "access_key_secret", "security_token", text("x_acs_date"))
            }
            Cloud::Huawei => ("ak", "sk", "security_token", text("x_sdk_date")),
            Cloud::Tencent => ("secret_id", "secret_key", "token", String::new()),
        };
        let seconds = match cloud {
            Cloud::Alibaba => date.parse::<jiff::Timestamp>().unwrap().as_second(),
            Cloud::Huawei => {
                let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &date).unwrap();
                date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
            }
            Cloud::Tencent => vector["timestamp"].as_i64().unwrap(),
        };
        let mut request = Self::request(vector);
        let authorization = HeaderValue::from_str(&text("authorization")).unwrap();
        request.headers_mut().insert("authorization", authorization);
        Self {
            name: text("name"),
            request,
            signed,
            service: text("service"),
            keys: AccessKeys {
                access_key_id: text(id),
                secret_access_key: text(secret).into(),
                security_token: vector[token].as_str().map(Into::into),
            },
            now: Timestamp::from_second(seconds).unwrap(),
            nonce: text("nonce"),
            canonical_request_sha256: canonical_request
                .as_ref()
                .map_or_else(|| text("canonical_request_sha256"), |text| sha256(text)),
            canonical_request,
            string_to_sign: text("string_to_sign"),
            authorization: text("authorization"),
        }
    }

    /// The request in the order of the recording: the query unsorted, the headers as sent.
    fn request(vector: &Value) -> Request<Bytes> {
        let encode = |text: &Value| {
            utf8_percent_encode(text.as_str().unwrap(), NON_ALPHANUMERIC).to_string()
        };
        // Pairs, or with Tencent the text as it was sent.
        let query = match vector["query"].as_array() {
            Some(pairs) => pairs
                .iter()
                .map(|pair| format!("{}={}", encode(&pair[0]), encode(&pair[1])))
                .collect::<Vec<_>>()
                .join("&"),
            None => vector["query"].as_str().unwrap_or_default().to_owned(),
        };
        let separator = if query.is_empty() { "" } else { "?" };
        let (host, path) = (vector["host"].as_str().unwrap(), vector["path"].as_str().unwrap());
        let mut request = Request::new(Bytes::from(vector["body"].as_str().unwrap().to_owned()));
        *request.method_mut() = vector["method"].as_str().unwrap().parse().unwrap();
        *request.uri_mut() = format!("https://{host}{path}{separator}{query}").parse().unwrap();
        let headers: Vec<(String, String)> = match vector["headers"].as_object() {
            Some(headers) => headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            None => serde_json::from_value(vector["headers"].clone()).unwrap(),
        };
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        request
    }

    fn credentials(&self) -> Credentials {
        Credentials::Keys(self.keys.clone())
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn vectors(cloud: Cloud) -> Vec<Vector> {
    let path = format!("{}/tests/fixtures/signing/{cloud}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors: Vec<Vector> = file.iter().map(|vector| Vector::read(cloud, vector)).collect();
    assert!(!vectors.is_empty(), "{cloud}");
    vectors
}

fn steps(cloud: Cloud, vector: &Vector) -> Steps {
    let signed: Vec<&str> = vector.signed.iter().map(String::as_str).collect();
    cloud.steps(&vector.request, &signed, &vector.service, &vector.keys)
}

fn authorization(request: &Request<Bytes>) -> &str {
    request.headers()["authorization"].to_str().unwrap()
}

#[test]
fn every_recorded_signature_is_reproduced_step_by_step() {
    for cloud in Cloud::ALL {
        for vector in vectors(cloud) {
            let steps = steps(cloud, &vector);
            let name = &vector.name;
            if let Some(expected) = &vector.canonical_request {
                assert_eq!(&steps.canonical_request, expected, "{cloud} {name}");
            }
            assert_eq!(sha256(&steps.canonical_request), vector.canonical_request_sha256, "{name}");
            assert_eq!(steps.string_to_sign, vector.string_to_sign, "{cloud} {name}");
            assert!(vector.authorization.ends_with(&steps.signature), "{cloud} {name}");
            assert_eq!(steps.authorization, vector.authorization, "{cloud} {name}");
        }
    }
}

#[test]
fn the_vendors_sdks_are_let_in() {
    for cloud in Cloud::ALL {
        for vector in vectors(cloud) {
            let (request, credentials) = (&vector.request, vector.credentials());
            assert_eq!(cloud.claimant(request), Some(vector.keys.access_key_id.clone()));
            let verified = cloud.verify(request, &vector.service, Some(&credentials), vector.now);
            assert_eq!(verified, Ok(()), "{cloud} {}", vector.name);
        }
    }
}

/// Alibaba's Python client sends `+` for a blank and signs `%20`.
#[test]
fn a_blank_may_be_sent_as_a_plus() {
    let mut seen = 0;
    for mut vector in vectors(Cloud::Alibaba) {
        let uri = vector.request.uri().to_string();
        seen += u32::from(uri.contains("%20"));
        *vector.request.uri_mut() = uri.replace("%20", "+").parse().unwrap();
        assert_eq!(steps(Cloud::Alibaba, &vector).authorization, vector.authorization);
    }
    assert!(seen > 0);
}

/// `sign` makes of the request what was recorded, wherever the recording signs the same headers.
#[test]
fn our_own_signature_is_the_recorded_one() {
    for cloud in Cloud::ALL {
        let mut same = 0;
        for vector in vectors(cloud) {
            let mut request = vector.request.clone();
            for name in ["authorization", "host", "x-acs-date", "x-sdk-date", "x-tc-timestamp"] {
                request.headers_mut().remove(name);
            }
            let credentials = vector.credentials();
            let (service, now) = (vector.service.as_str(), vector.now);
            let signing = Signing { service, credentials: &credentials, now, nonce: &vector.nonce };
            cloud.sign(&mut request, &signing).unwrap();
            let ours = authorization(&request);
            let names = format!("SignedHeaders={}", vector.signed.join(";"));
            if ours.contains(&format!("{names},")) {
                assert_eq!(ours, vector.authorization, "{cloud} {}", vector.name);
                same += 1;
            }
            // The headers as sent are the recorded ones in any case.
            for (name, value) in vector.request.headers() {
                assert!(name == "authorization" || request.headers()[name] == *value, "{name}");
            }
            assert_eq!(cloud.verify(&request, service, Some(&credentials), now), Ok(()));
        }
        match cloud {
            Cloud::Tencent => assert_eq!(same, vectors(cloud).len()),
            Cloud::Alibaba => assert!(same > 0),
            // The SDK signs its `user-agent` too; the guide's example below does not.
            Cloud::Huawei => {}
        }
    }
}

/// The worked example of Huawei's signing guide, with its published key.
#[test]
fn the_example_of_huaweis_guide_is_reproduced() {
    let credentials = keys("QTWAOYTTINDUT2QVKYUC", "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc");
    let mut request = huawei::get(
        "https://service.region.example.com",
        "",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
        &[("marker", "13551d6b-755d-4757-b956-536f674975c0".to_owned()), ("limit", "2".to_owned())],
    );
    sign(Cloud::Huawei, &mut request, &credentials, 1_573_789_015).unwrap();
    assert_eq!(request.headers()["x-sdk-date"], "20191115T033655Z");
    assert_eq!(
        authorization(&request),
        "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, \
         Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
    );
}

/// The two worked examples of Tencent's page. The first signs the action too, in lower case.
#[test]
fn the_examples_of_tencents_page_are_reproduced() {
    let body =
        r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("host", "cvm.tencentcloudapi.com"),
        ("x-tc-action", "DescribeInstances"),
        ("x-tc-timestamp", "1551113065"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let asterisks = "*".repeat(32);
    for (secret, signed, hash, signature) in [
        (
            asterisks.as_str(),
            ["content-type", "host", "x-tc-action"].as_slice(),
            "7019a55be8395899b900fb5564e4200d984910f34794a27cb3fb7d10ff6a1e84",
            "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
        ),
        (
            "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
            &["content-type", "host"],
            "5ffe6a04c0664d6b969fab9a13bdab201d63ee709638e2749d62a09ca18d7031",
            "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
        ),
    ] {
        let Credentials::Keys(keys) = keys("AKIDEXAMPLE", secret) else { panic!() };
        let steps = Cloud::Tencent.steps(&request, signed, "cvm", &keys);
        assert!(steps.string_to_sign.ends_with(hash), "{}", steps.canonical_request);
        assert_eq!(steps.signature, signature);
    }
}

/// An encoded slash is a slash to the signer, and a slash is added that is not sent.
#[test]
fn huaweis_path_is_decoded_and_encoded_again() {
    let Credentials::Keys(keys) = keys("AK", "SK") else { panic!() };
    for (path, expected) in [
        ("/", "/"),
        ("/v3/p/jobs", "/v3/p/jobs/"),
        ("/v3/p/jobs/", "/v3/p/jobs/"),
        ("/v3/a%2Fb/jobs", "/v3/a/b/jobs/"),
        ("/v3/a%20b/%E6%95%B0/~x*", "/v3/a%20b/%E6%95%B0/~x%2A/"),
        ("/v3/100%25/+", "/v3/100%25/%2B/"),
    ] {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = path.parse().unwrap();
        let steps = Cloud::Huawei.steps(&request, &[], "", &keys);
        assert_eq!(steps.canonical_request.lines().nth(1), Some(expected), "{path}");
    }
}

#[test]
fn the_host_that_is_sent_is_the_one_that_is_signed() {
    let credentials = keys("AK", "SK");
    for cloud in Cloud::ALL {
        let mut request = request(cloud, "http://LocalHost:8080", &[], "");
        sign(cloud, &mut request, &credentials, 1_700_000_000).unwrap();
        assert_eq!(request.headers()["host"], "localhost:8080");
        *request.uri_mut() = Uri::from_static("/");
        let refused = sign(cloud, &mut request, &credentials, 1_700_000_000);
        assert!(matches!(refused, Err(SigningError::NoHost)));
    }
}

/// A request is signed again after new keys have come, or with the clock put right.
#[test]
fn signing_again_leaves_nothing_of_the_first_time() {
    let temporary = with_token(keys("AK", "SK"), "TOKEN");
    for cloud in Cloud::ALL {
        let mut again = request(cloud, "https://example", &[("a", "b")], "{}");
        let mut once = again.clone();
        sign(cloud, &mut again, &temporary, 1_600_000_000).unwrap();
        sign(cloud, &mut again, &keys("AK2", "SK2"), 1_700_000_000).unwrap();
        sign(cloud, &mut once, &keys("AK2", "SK2"), 1_700_000_000).unwrap();
        assert_eq!(again.headers(), once.headers(), "{cloud}");
    }
}

#[test]
fn huawei_takes_a_token_in_place_of_a_key_pair() {
    let token = Credentials::Token("TOKEN".into());
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    for cloud in Cloud::ALL {
        let mut request = request(cloud, "https://example", &[], "");
        let signed = sign(cloud, &mut request, &token, now.as_second());
        if cloud == Cloud::Huawei {
            signed.unwrap();
            assert_eq!(request.headers()["x-auth-token"], "TOKEN");
            assert!(!request.headers().contains_key("authorization"));
            assert_eq!(cloud.claimant(&request).as_deref(), Some("TOKEN"));
            assert_eq!(cloud.verify(&request, "dds", Some(&token), now), Ok(()));
            for wrong in [None, Some(&Credentials::Token("OTHER".into())), Some(&keys("AK", "SK"))]
            {
                let refusal = cloud.verify(&request, "dds", wrong, now).unwrap_err();
                assert_eq!(refusal.code, "APIGW.0301");
            }
        } else {
            assert!(
                matches!(signed, Err(SigningError::TokenNotTaken(refuser)) if refuser == cloud)
            );
        }
    }
}

/// The secret key and the token of somebody, and what becomes of a request on its way.
type Holder = (&'static str, Option<&'static str>);
type Change = fn(&mut Request<Bytes>);

const MINE: Holder = ("SK", None);
const OTHER: Holder = ("OTHER", None);
const SESSION: Holder = ("SK", Some("TOKEN"));
const RENEWED: Holder = ("SK", Some("RENEWED"));

const UNCHANGED: Change = |_| ();
const UNSIGNED: Change = |request| remove(request, &["authorization"]);
const UNTIMED: Change = |request| remove(request, &["x-acs-date", "x-sdk-date", "x-tc-timestamp"]);
const TOKENLESS: Change =
    |request| remove(request, &["x-acs-security-token", "x-security-token", "x-tc-token"]);
const OTHER_BODY: Change = |request| *request.body_mut() = Bytes::from_static(b"{}");
const EXTRA: Change = |request| {
    request.headers_mut().insert("x-acs-extra", HeaderValue::from_static("1"));
};

fn remove(request: &mut Request<Bytes>, names: &[&str]) {
    for name in names {
        request.headers_mut().remove(*name);
    }
}

/// Who signs, what changes, whom the gateway knows by that key, how late it is there, and what
/// Alibaba, Huawei (always with code APIGW.0301) and Tencent say.
type Case = (Holder, Change, Option<Holder>, i64, [&'static str; 3]);

#[rustfmt::skip]
const AT_THE_GATE: &[Case] = &[
    (MINE, UNCHANGED, Some(MINE), 240, ["", "", ""]),
    (SESSION, UNCHANGED, Some(SESSION), -240, ["", "", ""]),
    (MINE, UNCHANGED, Some(MINE), 360, ["", "", "AuthFailure.SignatureExpire"]),
    (MINE, UNCHANGED, Some(MINE), -3600,
        ["InvalidTimeStamp.Expired", "signature expired, signature time:20231114T221320Z,server time:20231114T211320Z", "AuthFailure.SignatureExpire"]),
    (MINE, UNCHANGED, None, 0,
        ["InvalidAccessKeyId.NotFound", "Get secretKey failed,ak:AK,err:ak not exist", "AuthFailure.SecretIdNotFound"]),
    (MINE, UNCHANGED, Some(OTHER), 0,
        ["SignatureDoesNotMatch", "verify aksk signature fail", "AuthFailure.SignatureFailure"]),
    (MINE, UNCHANGED, Some(SESSION), 0,
        ["MissingSecurityToken", "verify security token fail", "AuthFailure.TokenFailure"]),
    (SESSION, TOKENLESS, Some(SESSION), 0,
        ["MissingSecurityToken", "verify security token fail", "AuthFailure.TokenFailure"]),
    (SESSION, UNCHANGED, Some(RENEWED), 0,
        ["InvalidSecurityToken.MismatchWithAccessKey", "verify security token fail", "AuthFailure.TokenFailure"]),
    (SESSION, UNCHANGED, Some(MINE), 0,
        ["InvalidSecurityToken.MismatchWithAccessKey", "verify security token fail", "AuthFailure.TokenFailure"]),
    (MINE, UNSIGNED, None, 0,
        ["IncompleteSignature", "x-auth-token not found", "AuthFailure.InvalidAuthorization"]),
    (MINE, UNTIMED, Some(MINE), 0,
        ["IncompleteSignature", "x-sdk-date is missing or malformed", "MissingParameter"]),
    (MINE, OTHER_BODY, Some(MINE), 0,
        ["SignatureDoesNotMatch", "verify aksk signature fail", "AuthFailure.SignatureFailure"]),
    (MINE, EXTRA, Some(MINE), 0, ["SignatureDoesNotMatch", "", ""]),
];

#[test]
fn a_gateway_says_what_is_wrong_in_the_vendors_words() {
    let held = |(secret, token): Holder| match token {
        Some(token) => with_token(keys("AK", secret), token),
        None => keys("AK", secret),
    };
    for &(signer, change, known, late, expected) in AT_THE_GATE {
        for (cloud, expected) in
            [Cloud::Alibaba, Cloud::Huawei, Cloud::Tencent].into_iter().zip(expected)
        {
            let mut request = request(cloud, "http://127.0.0.1:80", &[], "body");
            sign(cloud, &mut request, &held(signer), 1_700_000_000).unwrap();
            change(&mut request);
            let now = Timestamp::from_second(1_700_000_000 + late).unwrap();
            let said = cloud.verify(&request, "cdb", known.map(held).as_ref(), now);
            match said {
                Ok(()) => assert_eq!("", expected, "{cloud}"),
                Err(refusal) if cloud == Cloud::Huawei => {
                    assert!(!expected.is_empty() && refusal.message.contains(expected));
                    assert_eq!(refusal.code, "APIGW.0301");
                }
                Err(refusal) => assert_eq!(refusal.code, expected),
            }
        }
    }
}

#[test]
fn tencents_scope_is_for_one_service_and_one_day() {
    let credentials = keys("AK", "SK");
    let now = Timestamp::from_second(1_700_006_399).unwrap();
    assert_eq!(now.to_string(), "2023-11-14T23:59:59Z");
    let mut request = request(Cloud::Tencent, "http://127.0.0.1:80", &[], "");
    sign(Cloud::Tencent, &mut request, &credentials, now.as_second()).unwrap();
    let verify = |request: &Request<Bytes>, service| {
        Cloud::Tencent.verify(request, service, Some(&credentials), now)
    };
    assert_eq!(verify(&request, "cdb"), Ok(()));
    assert!(verify(&request, "redis").is_err());
    let tomorrow = authorization(&request).replace("2023-11-14", "2023-11-15");
    request.headers_mut().insert("authorization", tomorrow.parse().unwrap());
    assert_eq!(verify(&request, "cdb").unwrap_err().code, "AuthFailure.SignatureFailure");
}

#[test]
fn no_secret_is_ever_shown() {
    let credentials = with_token(keys("AK", "SECRETKEY"), "SECRETTOKEN");
    let Credentials::Keys(pair) = &credentials else { panic!() };
    for cloud in Cloud::ALL {
        let mut request = request(cloud, "https://example", &[], "");
        sign(cloud, &mut request, &credentials, 1_700_000_000).unwrap();
        let signed: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        let steps = cloud.steps(&request, &signed, "cdb", pair);
        assert!(steps.canonical_request.to_uppercase().contains("SECRETTOKEN"));
        let wrong = keys("AK", "OTHER");
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let refusal = cloud
            .verify(&request, "cdb", Some(&with_token(wrong, "SECRETTOKEN")), now)
            .unwrap_err();
        let shown = format!("{credentials:?} {request:?} {steps:?} {refusal:?} {refusal}");
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(!shown.contains(&steps.signature), "{shown}");
    }
    let bad = keys("A\nK", "SK");
    let error =
        sign(Cloud::Tencent, &mut request(Cloud::Tencent, "https://example", &[], ""), &bad, 1);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the secret id holds characters that no header can carry"
    );
}

fn keys(id: &str, secret: &str) -> Credentials {
    Credentials::Keys(AccessKeys {
        access_key_id: id.to_owned(),
        secret_access_key: secret.into(),
        security_token: None,
    })
}

fn with_token(credentials: Credentials, token: &str) -> Credentials {
    let Credentials::Keys(keys) = credentials else { panic!() };
    Credentials::Keys(AccessKeys { security_token: Some(token.into()), ..keys })
}

/// A request in the cloud's shape; parameters or the body are left out where it has no such part.
fn request(
    cloud: Cloud,
    endpoint: &str,
    parameters: &[(&str, &str)],
    body: &str,
) -> Request<Bytes> {
    let owned: Vec<(&str, String)> =
        parameters.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    match cloud {
        Cloud::Alibaba => alibaba::rpc(endpoint, "DescribeTasks", "2017-08-01", &owned),
        Cloud::Huawei => huawei::get(endpoint, "0123", "/v3/0123/jobs", &owned),
        Cloud::Tencent => {
            tencent::call(endpoint, "DescribeTasks", "2017-03-20", "ap-x", &json!({ "Q": body }))
        }
    }
}

fn sign(
    cloud: Cloud,
    request: &mut Request<Bytes>,
    credentials: &Credentials,
    seconds: i64,
) -> Result<(), SigningError> {
    let now = Timestamp::from_second(seconds).unwrap();
    cloud.sign(request, &Signing { service: "cdb", credentials, now, nonce: "nonce-1" })
}

fn clouds() -> impl Strategy<Value = Cloud> {
    proptest::sample::select(Cloud::ALL.as_slice())
}

type Pairs = Vec<(String, String)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    proptest::collection::vec(("\\PC{1,8}", "\\PC{0,12}"), 0..6)
}

fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The decoded pairs of a query, sorted: what it asks, however it is spelled.
fn asked(uri: &Uri) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode =
        |text: &str| percent_encoding::percent_decode(text.replace('+', " ").as_bytes()).collect();
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    pairs.sort();
    pairs
}

proptest! {
    #[test]
    fn the_order_of_parameters_does_not_matter(
        cloud in proptest::sample::select([Cloud::Alibaba, Cloud::Huawei].as_slice()),
        (pairs, shuffled) in pairs().prop_flat_map(|pairs| {
            let shuffled = Just(pairs.clone()).prop_shuffle();
            (Just(pairs), shuffled)
        }),
    ) {
        let credentials = keys("AK", "SK");
        let mut first = request(cloud, "https://example", &borrowed(&pairs), "");
        let mut second = request(cloud, "https://example", &borrowed(&shuffled), "");
        // As another client might send it: in any order.
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query: Vec<String> = shuffled
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let mut third = first.clone();
        let path = first.uri().path();
        *third.uri_mut() = format!("https://example{path}?{}", query.join("&")).parse().unwrap();
        for request in [&mut first, &mut second, &mut third] {
            sign(cloud, request, &credentials, 1_700_000_000).unwrap();
        }
        prop_assert_eq!(first.uri(), second.uri());
        prop_assert_eq!(authorization(&first), authorization(&second));
        prop_assert_eq!(authorization(&first), authorization(&third));
    }

    #[test]
    fn no_text_makes_signing_panic(
        cloud in clouds(),
        words in proptest::collection::vec("\\PC{0,20}|[\\x00-\\x7f]{0,20}", 9),
        path in "/\\PC{0,20}",
        pairs in pairs(),
        seconds in -300_000_000_000_i64..253_000_000_000,
    ) {
        let [endpoint, word, version, region, service, nonce, id, secret, token] =
            words.as_slice() else { panic!() };
        prop_assume!(seconds != 0);
        let parameters: Vec<(&str, String)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let credentials = with_token(keys(id, secret), token);
        for endpoint in [endpoint.as_str(), "https://example", &format!("https://{endpoint}")] {
            let mut request = match cloud {
                Cloud::Alibaba => alibaba::rpc(endpoint, word, version, &parameters),
                Cloud::Huawei => huawei::get(endpoint, region, &path, &parameters),
                Cloud::Tencent => tencent::call(endpoint, word, version, region, &json!(pairs)),
            };
            for credentials in [&credentials, &Credentials::Token(token.as_str().into())] {
                let now = Timestamp::from_second(seconds).unwrap();
                let _ = cloud.sign(&mut request, &Signing { service, credentials, now, nonce });
                let _ = cloud.claimant(&request);
                let _ = cloud.verify(&request, service, Some(credentials), now);
            }
        }
    }

    #[test]
    fn what_we_sign_is_let_in(
        cloud in clouds(),
        pairs in pairs(),
        body in "\\PC{0,40}",
        id in "[A-Za-z0-9]{1,40}",
        secret in "\\PC{0,80}",
        token in proptest::option::of("[!-~]{1,200}"),
        seconds in 1_i64..10_000_000_000,
        skew in -300_i64..=300,
    ) {
        let mut credentials = keys(&id, &secret);
        if let Some(token) = &token {
            credentials = with_token(credentials, token);
        }
        let mut request = request(cloud, "http://127.0.0.1:8080", &borrowed(&pairs), &body);
        sign(cloud, &mut request, &credentials, seconds).unwrap();
        let now = Timestamp::from_second((seconds + skew).max(1)).unwrap();
        // A server sees the path alone.
        *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
        prop_assert_eq!(cloud.claimant(&request), Some(id));
        prop_assert_eq!(cloud.verify(&request, "cdb", Some(&credentials), now), Ok(()));
    }

    #[test]
    fn one_changed_byte_is_refused(
        cloud in clouds(),
        pairs in pairs(),
        body in "\\PC{1,40}",
        part in 0..4_usize,
        at in any::<proptest::sample::Index>(),
        byte in b'!'..=b'~',
    ) {
        let credentials = with_token(keys("AK", "SK"), "TOKEN");
        let mut request = request(cloud, "http://127.0.0.1:8080", &borrowed(&pairs), &body);
        sign(cloud, &mut request, &credentials, 1_700_000_000).unwrap();
        let change = |text: &[u8]| {
            let mut text = text.to_vec();
            if text.is_empty() {
                text.push(byte);
            } else {
                let at = at.index(text.len());
                text[at] = byte;
            }
            text
        };
        let changed = match part {
            0 => {
                let body = Bytes::from(change(request.body()));
                let changed = body != *request.body();
                *request.body_mut() = body;
                changed
            }
            1 => {
                let uri = request.uri().clone();
                let query = change(uri.query().unwrap_or_default().as_bytes());
                let query = String::from_utf8(query).unwrap();
                let new = format!("http://127.0.0.1:8080{}?{query}", uri.path()).parse::<Uri>();
                let Ok(new) = new else { return Ok(()) };
                let changed = asked(&uri) != asked(&new);
                *request.uri_mut() = new;
                changed
            }
            _ => {
                let header = authorization(&request).to_owned();
                let names = header.split("SignedHeaders=").nth(1).unwrap();
                let mut names: Vec<&str> = names.split(',').next().unwrap().split(';').collect();
                // The time is signed by Tencent too, though not as a header; so are signature, key
                // and scope themselves. Of the names, the spelling does not matter.
                names.extend((cloud == Cloud::Tencent).then_some("x-tc-timestamp"));
                let name = if part == 2 { *at.get(&names) } else { "authorization" };
                let old = request.headers()[name].clone();
                let new = HeaderValue::from_bytes(&change(old.as_bytes())).unwrap();
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                let same = old.as_bytes().eq_ignore_ascii_case(new.as_bytes());
                request.headers_mut().insert(name, new);
                !same
            }
        };
        prop_assume!(changed);
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let verified = cloud.verify(&request, "cdb", Some(&credentials), now);
        prop_assert!(verified.is_err(), "{:?}", request);
    }
}
