//! A vendor's "no" is recognised in every wording it is known to have, and means one thing.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::refusal::RefusalKind::{
    Client, Clock, CredentialsExpired, Forbidden, NoSuchOperation, NotFound, Server, Throttled,
    Unauthenticated,
};
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_simulator::Gateway as _;
use http::{HeaderName, HeaderValue, Response};
use proptest::prelude::*;
use serde_json::json;

fn response(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status.try_into().unwrap();
    response
}

/// File, status, code, kind. Alibaba's files are there in both formats.
type Fixture = (&'static str, u16, &'static str, RefusalKind);

const FIXTURES: &[(Cloud, &[Fixture])] = &[
    (
        Cloud::Alibaba,
        &[
            ("400-invalidstarttime-malformed", 400, "InvalidStartTime.Malformed", Client),
            ("400-invalidtimestamp-expired", 400, "InvalidTimeStamp.Expired", Clock),
            ("400-signaturedoesnotmatch", 400, "SignatureDoesNotMatch", Unauthenticated),
            ("400-throttling-user", 400, "Throttling.User", Throttled),
            ("403-forbidden-ram", 403, "Forbidden.RAM", Forbidden),
            (
                "404-invalidaccesskeyid-notfound",
                404,
                "InvalidAccessKeyId.NotFound",
                Unauthenticated,
            ),
            ("404-invaliddbcluster-notfound", 404, "InvalidDBCluster.NotFound", NotFound),
            ("503-serviceunavailable", 503, "ServiceUnavailable", Server),
        ],
    ),
    (
        Cloud::Huawei,
        &[
            ("400-busy.json", 400, "DBS.200998", Server),
            ("400-job-not-found.json", 400, "DBS.200543", NotFound),
            ("400-parameter.json", 400, "DBS.280001", Client),
            ("400-resource-not-found.json", 400, "DBS.280016", NotFound),
            ("401-ak-locked.json", 401, "APIGW.0301", Unauthenticated),
            ("401-ak-unknown.json", 401, "APIGW.0301", Unauthenticated),
            ("401-apig-prefix.json", 401, "APIG.0301", Unauthenticated),
            ("401-clock-skew.json", 401, "APIGW.0301", Clock),
            ("401-keystone.json", 401, "401", Unauthenticated),
            ("401-service-invalid-token.json", 401, "DBS.280056", CredentialsExpired),
            ("401-signature.json", 401, "APIGW.0301", Unauthenticated),
            ("401-token-must-be-updated.json", 401, "APIGW.0307", CredentialsExpired),
            ("403-encoded-message.json", 403, "PAP5.0030", Forbidden),
            ("403-iam-policy.json", 403, "IAM.0003", Forbidden),
            ("403-permission.json", 403, "DBS.280063", Forbidden),
            ("403-project-unavailable.json", 403, "APIGW.0310", Forbidden),
            ("404-api-not-found.json", 404, "APIGW.0101", NoSuchOperation),
            ("404-instance-not-found.json", 404, "DBS.200002", NotFound),
            ("404-job-not-found-legacy.json", 404, "RDS.5041", NotFound),
            ("429-iam.json", 429, "IAM.0012", Throttled),
            ("429-service.json", 429, "DBS.280443", Throttled),
            ("429-throttled.json", 429, "APIGW.0308", Throttled),
            ("500-server.json", 500, "DBS.280005", Server),
            ("502-backend-unavailable.json", 502, "APIGW.0201", Server),
            ("503-edge.html", 503, "503", Server),
            ("504-backend-timeout.json", 504, "APIGW.0201", Server),
            ("camel-case.json", 400, "DBS.280001", Client),
            ("dcs-400.json", 400, "111400070", NotFound),
            ("ddm-errcode.json", 400, "DBS.280001", Client),
        ],
    ),
    (
        Cloud::Tencent,
        &[
            ("auth-secret-id-not-found.json", 200, "AuthFailure.SecretIdNotFound", Unauthenticated),
            ("auth-signature-expire.json", 200, "AuthFailure.SignatureExpire", Clock),
            ("auth-signature-failure.json", 200, "AuthFailure.SignatureFailure", Unauthenticated),
            ("auth-token-failure.json", 200, "AuthFailure.TokenFailure", CredentialsExpired),
            ("cdb-instance-not-found.json", 200, "InvalidParameter.InstanceNotFound", NotFound),
            ("cdb-wrong-status.json", 200, "OperationDenied.WrongStatus", Client),
            ("internal.json", 200, "InternalError", Server),
            ("legacy-envelope.json", 200, "AuthFailure", Unauthenticated),
            ("redis-instance-not-exists.json", 200, "ResourceNotFound.InstanceNotExists", NotFound),
            ("redis-permission-denied.json", 200, "InvalidParameter.PermissionDenied", Forbidden),
            ("redis-task-invalid.json", 200, "InvalidParameter.InvalidParameter", Client),
            (
                "throttled-account-region.json",
                200,
                "RequestLimitExceeded.GlobalRegionUinLimitExceeded",
                Throttled,
            ),
            ("throttled.json", 200, "RequestLimitExceeded", Throttled),
            ("unauthorized-operation.json", 200, "UnauthorizedOperation", Forbidden),
            ("unknown-parameter.json", 200, "UnknownParameter", Client),
            ("unsupported-region.json", 200, "UnsupportedRegion", Client),
            ("cynosdb-flow-not-found.json", 200, "FailedOperation.FlowNotFoundError", NotFound),
            (
                "dts-throttled.json",
                200,
                "RequestLimitExceeded.RequestLimitExceededError",
                Throttled,
            ),
            ("mongodb-permission-denied.json", 200, "InvalidParameter.PermissionDenied", Forbidden),
            ("mongodb-too-many-requests.json", 200, "LimitExceeded.TooManyRequests", Throttled),
            (
                "postgres-limit-too-high.json",
                200,
                "InvalidParameterValue.ParameterValueExceedError",
                Client,
            ),
        ],
    ),
];

#[test]
fn every_recorded_refusal_is_read() {
    for &(cloud, rows) in FIXTURES {
        let folder = format!("{}/tests/fixtures/errors/{cloud}", env!("CARGO_MANIFEST_DIR"));
        let mut files: BTreeSet<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for &(name, status, code, kind) in rows {
            let both = [format!("{name}.json"), format!("{name}.xml")];
            let names = if cloud == Cloud::Alibaba { both.to_vec() } else { vec![name.to_owned()] };
            for name in names {
                let body = std::fs::read(format!("{folder}/{name}")).unwrap();
                let refusal = cloud.refusal(&response(status, body)).expect(&name);
                assert_eq!((refusal.code.as_str(), refusal.kind), (code, kind), "{name}");
                let silent = matches!(kind, Unauthenticated | Clock | CredentialsExpired);
                assert_eq!(refusal.message.is_empty(), silent, "{name}: {refusal}");
                assert!(files.remove(&name), "{name}");
            }
        }
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn alibaba_refuses_within_a_good_status_too() {
    let refusal = |body: &str| {
        let refusal = Cloud::Alibaba.refusal(&response(200, body.as_bytes().to_vec()))?;
        Some((refusal.code, refusal.kind))
    };
    for (body, code, kind) in [
        (r#"{"Code":"Throttling.User"}"#, "Throttling.User", Throttled),
        (
            r#"{"RequestId":"1","Code":"Throttling","Items":{"DBCluster":[]},"TotalCount":0}"#,
            "Throttling",
            Throttled,
        ),
        (
            r#"{"Code":"Forbidden.RAM","Message":"no","Data":null,"Tasks":{"Task":[]}}"#,
            "Forbidden.RAM",
            Forbidden,
        ),
        (
            r#"{"code":"ServiceUnavailable","requestId":"1","PageNumber":1}"#,
            "ServiceUnavailable",
            Server,
        ),
        (
            r#"{"Success":false,"ErrCode":"InternalError","ErrMessage":"later"}"#,
            "InternalError",
            Server,
        ),
        (
            r#"{"Success":"false","Code":"InvalidDBCluster.NotFound","Items":[{"a":1}]}"#,
            "InvalidDBCluster.NotFound",
            NotFound,
        ),
        (r#"{"Success":false,"Message":"no"}"#, "200", Client),
        (r#"{"Success":false,"Code":"200"}"#, "200", Client),
        (
            "<DescribeTasksResponse><RequestId>1</RequestId><Code>Throttling.Api</Code><Tasks/>\
             </DescribeTasksResponse>",
            "Throttling.Api",
            Throttled,
        ),
        (
            "<Error><Code>InternalError</Code><Message>later</Message></Error>",
            "InternalError",
            Server,
        ),
        (
            "<DescribeTasksResponse><Success>false</Success><Code>Forbidden.RAM</Code><Items></Items></DescribeTasksResponse>",
            "Forbidden.RAM",
            Forbidden,
        ),
    ] {
        assert_eq!(refusal(body), Some((code.to_owned(), kind)), "{body}");
    }
    for body in [
        r#"{"Code":"Success","Items":{"DBCluster":[]}}"#,
        r#"{"Code":"200","Message":"ok","Items":[]}"#,
        r#"{"Code":200,"Success":true,"Items":[]}"#,
        r#"{"Success":true,"Code":"Partial","Items":[]}"#,
        r#"{"Code":"Something","TaskInfo":{"TaskId":1,"Status":"Running"}}"#,
        r#"{"Code":"Something","Tasks":{"Task":[{"TaskId":"1"}]}}"#,
        r#"{"RequestId":"1","Tasks":{"Task":[]}}"#,
        "<DescribeTasksResponse><Code>Something</Code><Tasks><Task><TaskId>1</TaskId></Task></Tasks></DescribeTasksResponse>",
        "<DescribeTasksResponse><RequestId>1</RequestId><Tasks/></DescribeTasksResponse>",
    ] {
        assert_eq!(refusal(body), None, "{body}");
    }
}

type Codes = &'static [(u16, &'static str)];

/// Every code of the vendors' tables, with each status it is documented with.
const CODES: &[(Cloud, RefusalKind, Codes)] = &[
    (
        Cloud::Alibaba,
        Throttled,
        &[
            (400, "Throttling"),
            (400, "Throttling.User"),
            (429, "Throttling.Api"),
            (503, "ThrottlingException"),
            (429, "Something"),
        ],
    ),
    (
        Cloud::Alibaba,
        Server,
        &[
            (503, "ServiceUnavailable"),
            (500, "InternalError"),
            (500, "UnknownError"),
            (400, "SignatureNonceUsed"),
            (408, "Something"),
            (504, "Something"),
        ],
    ),
    (Cloud::Alibaba, Clock, &[(400, "InvalidTimeStamp.Expired")]),
    (
        Cloud::Alibaba,
        CredentialsExpired,
        &[(400, "InvalidSecurityToken.Expired"), (403, "InvalidSecurityToken.Expired")],
    ),
    (
        Cloud::Alibaba,
        Unauthenticated,
        &[
            (400, "InvalidSecurityToken.Malformed"),
            (400, "InvalidSecurityToken.MismatchWithAccessKey"),
            (400, "MissingSecurityToken"),
            (404, "InvalidAccessKeyId.NotFound"),
            (400, "InvalidAccessKeyId.NotFound"),
            (400, "InvalidAccessKeyId.Inactive"),
            (403, "Forbidden.AccessKeyDisabled"),
            (403, "SignatureDoesNotMatch"),
            (400, "IncompleteSignature"),
            (400, "InvalidSignatureMethod"),
            (401, "AuthenticationFail.OIDCToken.Invalid"),
        ],
    ),
    (
        Cloud::Alibaba,
        Forbidden,
        &[
            (403, "Forbidden.RAM"),
            (403, "Forbidden"),
            (403, "NoPermission"),
            (403, "NoPermission.SLR"),
            (403, "ActionUnauthorized"),
            (403, "Forbidden.RiskControl"),
            (401, "AuthenticationFail.NoPermission"),
        ],
    ),
    (
        Cloud::Alibaba,
        NotFound,
        &[
            (404, "InvalidDBCluster.NotFound"),
            (404, "InvalidDBClusterId.NotFound"),
            (403, "Forbidden.InstanceNotFound"),
        ],
    ),
    (
        Cloud::Alibaba,
        NoSuchOperation,
        &[
            (404, "InvalidAction.NotFound"),
            (404, "InvalidApi.NotFound"),
            (404, "InvalidProduct.NotFound"),
            (400, "InvalidVersion"),
            (400, "NoSuchVersion"),
        ],
    ),
    (
        Cloud::Alibaba,
        Client,
        &[
            (400, "InvalidTimeStamp.Format"),
            (400, "IllegalTimestamp"),
            (400, "MissingParameter.DBClusterId"),
            (400, "InvalidParameter.Format"),
            (400, "InvalidPageSize.Malformed"),
            (400, "UnsupportedParameter"),
            (404, "InvalidRegion.NotFound"),
            (404, "InvalidRegionId"),
            (404, "InvalidRegionId.NotFound"),
            (400, "InvalidOperation.NotSupportedEndpoint"),
            (400, "InvalidProtocol.NeedSsl"),
            (403, "UnsupportedHTTPMethod"),
            (404, "Something"),
        ],
    ),
    (
        Cloud::Huawei,
        NotFound,
        &[
            (400, "DBS.200543"),
            (404, "RDS.5041"),
            (400, "DBS.280016"),
            (404, "DBS.290013"),
            (403, "DBS.200044"),
            (403, "DBS.201003"),
            (403, "DBS.280015"),
            (404, "DBS.200002"),
            (403, "DBS.201028"),
            (400, "DCS.4133"),
            (400, "DCS.4070"),
            (400, "111400070"),
            (400, "111400133"),
            (400, "DBS.300120"),
            (400, "DRS.M05003"),
            (400, "DRS.M05004"),
            (400, "DRS.M00289"),
            (400, "DRS.10000010"),
            (400, "DWS.0001"),
            (404, "DWS.0001"),
            (500, "DBS.200543"),
        ],
    ),
    (
        Cloud::Huawei,
        Server,
        &[
            (502, "APIGW.0201"),
            (504, "APIG.0201"),
            (502, "APIGW.0202"),
            (504, "APIGW.0203"),
            (500, "APIGW.0601"),
            (500, "APIGW.0605"),
            (500, "APIGW.0611"),
            (500, "APIG.0705"),
            (502, "APIGW.0610"),
            (503, "APIGW.0613"),
            (401, "DBS.280064"),
            (500, "DBS.280064"),
            (400, "DBS.200998"),
            (500, "DBS.200998"),
            (500, "DBS.280005"),
            (500, "DBS.280001"),
            (500, "DBS.111205"),
            (400, "DBS.111205"),
        ],
    ),
    (
        Cloud::Huawei,
        Throttled,
        &[(429, "APIGW.0308"), (429, "APIG.0308"), (429, "IAM.0012"), (429, "DBS.280443")],
    ),
    (
        Cloud::Huawei,
        Unauthenticated,
        &[
            (401, "APIGW.0301"),
            (401, "APIG.0301"),
            (401, "APIGW.0303"),
            (401, "APIGW.0305"),
            (401, "IAM.0001"),
            (401, "IAM.0061"),
            (401, "IAM.0062"),
            (401, "IAM.0063"),
        ],
    ),
    (
        Cloud::Huawei,
        CredentialsExpired,
        &[
            (401, "APIGW.0307"),
            (401, "APIG.0307"),
            (401, "IAM.0066"),
            (401, "IAM.0067"),
            (401, "DBS.280056"),
            (403, "DBS.280056"),
        ],
    ),
    (
        Cloud::Huawei,
        Forbidden,
        &[
            (403, "APIGW.0302"),
            (403, "APIGW.0304"),
            (403, "APIGW.0306"),
            (403, "APIGW.0310"),
            (403, "APIG.0802"),
            (403, "IAM.0002"),
            (403, "IAM.0003"),
            (403, "IAM.0080"),
            (403, "IAM.0083"),
            (403, "DBS.280032"),
            (403, "DBS.280063"),
            (400, "DBS.280063"),
            (403, "DBS.280019"),
            (403, "DRS.M00102"),
            (401, "DRS.M00103"),
        ],
    ),
    (
        Cloud::Huawei,
        NoSuchOperation,
        &[(404, "APIGW.0101"), (404, "APIG.0101"), (400, "DCS.4094"), (400, "111400094")],
    ),
    (
        Cloud::Huawei,
        Client,
        &[
            (400, "APIGW.0201"),
            (413, "APIGW.0201"),
            (414, "APIG.0201"),
            (494, "APIGW.0201"),
            (400, "DBS.280001"),
            (400, "DBS.200001"),
            (400, "DBS.201006"),
            (400, "DBS.280067"),
            (400, "DBS.280068"),
            (400, "111400063"),
            (400, "DRS.10000001"),
        ],
    ),
    (
        Cloud::Tencent,
        Throttled,
        &[
            (200, "RequestLimitExceeded"),
            (200, "RequestLimitExceeded.UinLimitExceeded"),
            (200, "RequestLimitExceeded.GlobalRegionUinLimitExceeded"),
            (200, "RequestLimitExceeded.IPLimitExceeded"),
        ],
    ),
    (
        Cloud::Tencent,
        Server,
        &[
            (200, "InternalError"),
            (200, "InternalError.DatabaseAccessError"),
            (200, "ServiceUnavailable"),
            (200, "FailedOperation.SystemError"),
            (200, "FailedOperation.ServiceAccessError"),
            (200, "ResourceUnavailable"),
            (200, "CdbError"),
        ],
    ),
    (Cloud::Tencent, Clock, &[(200, "AuthFailure.SignatureExpire")]),
    (Cloud::Tencent, CredentialsExpired, &[(200, "AuthFailure.TokenFailure")]),
    (
        Cloud::Tencent,
        Unauthenticated,
        &[
            (200, "AuthFailure"),
            (200, "AuthFailure.InvalidAuthorization"),
            (200, "AuthFailure.InvalidSecretId"),
            (200, "AuthFailure.MFAFailure"),
            (200, "AuthFailure.SecretIdNotFound"),
            (200, "AuthFailure.SignatureFailure"),
        ],
    ),
    (
        Cloud::Tencent,
        Forbidden,
        &[
            (200, "AuthFailure.UnauthorizedOperation"),
            (200, "UnauthorizedOperation"),
            (200, "UnauthorizedOperation.CamNoAuth"),
            (200, "InvalidParameter.PermissionDenied"),
            (200, "OperationDenied.UserHasNoStrategy"),
            (200, "IpInBlacklist"),
            (200, "IpNotInWhitelist"),
        ],
    ),
    (
        Cloud::Tencent,
        NotFound,
        &[
            (200, "ResourceNotFound"),
            (200, "ResourceNotFound.InstanceNotExists"),
            (200, "ResourceNotFound.InstanceNotFound"),
            (200, "InvalidParameter.InstanceNotFound"),
            (200, "InternalError.InstanceNotFoundError"),
            (200, "FailedOperation.FlowNotExists"),
            (200, "InvalidParameter.InvalidAsyncRequestId"),
        ],
    ),
    (
        Cloud::Tencent,
        NoSuchOperation,
        &[
            (200, "InvalidAction"),
            (200, "ActionOffline"),
            (200, "NoSuchVersion"),
            (200, "NoSuchProduct"),
        ],
    ),
    (
        Cloud::Tencent,
        Client,
        &[
            (200, "InvalidParameter"),
            (200, "InvalidParameterValue.DataConvertError"),
            (200, "MissingParameter"),
            (200, "UnknownParameter"),
            (200, "UnsupportedRegion"),
            (200, "UnsupportedProtocol"),
            (200, "RequestSizeLimitExceeded"),
            (200, "ResponseSizeLimitExceeded"),
            (200, "LimitExceeded"),
            (200, "OperationDenied"),
            (200, "OperationDenied.WrongStatus"),
        ],
    ),
];

#[test]
fn every_documented_code_means_one_thing() {
    for &(cloud, kind, codes) in CODES {
        for &(status, code) in codes {
            let body = match cloud {
                Cloud::Alibaba => json!({ "Code": code, "Message": "text", "RequestId": "r" }),
                Cloud::Huawei => json!({ "error_code": code, "error_msg": "text" }),
                Cloud::Tencent => {
                    json!({ "Response": { "Error": { "Code": code, "Message": "text" } } })
                }
            };
            let refusal = cloud.refusal(&response(status, body.to_string())).unwrap();
            assert_eq!((refusal.kind, refusal.code.as_str()), (kind, code), "{cloud} {status}");
        }
    }
}

/// What a code of Tencent Cloud means in a service, where its first segment says something else or
/// services disagree.
#[test]
fn tencents_codes_are_read_by_their_service() {
    for (service, code, kind) in [
        ("cynosdb", "FailedOperation.FlowNotFoundError", NotFound),
        ("cynosdb", "InvalidParameterValue.FlowNotFound", NotFound),
        ("cynosdb", "InvalidParameterValue.InstanceNotFound", NotFound),
        ("dcdb", "InvalidParameter.FlowNotFound", NotFound),
        ("mariadb", "InvalidParameter.FlowNotFound", NotFound),
        ("sqlserver", "ResourceNotFound.InstanceNotFound", NotFound),
        ("keewidb", "ResourceNotFound.InstanceNotFound", NotFound),
        ("postgres", "OperationDenied.ResourceNotFundError", NotFound),
        ("postgres", "OperationDenied.ResourceNotFoundError", NotFound),
        ("mongodb", "OperationDenied.ResourceNotFundError", NotFound),
        ("cynosdb", "OperationDenied.ResourceNotFundError", NotFound),
        ("cdb", "OperationDenied.ResourceNotFundError", NotFound),
        ("cdb", "OperationDenied.ResourceNotFoundError", NotFound),
        ("dts", "ResourceNotFound.BizResourceNotFoundError", NotFound),
        ("dts", "ResourceNotFound.ResourceNotFoundError", NotFound),
        ("mongodb", "InvalidParameter.PermissionDenied", Forbidden),
        ("keewidb", "InvalidParameter.PermissionDenied", Forbidden),
        ("mariadb", "InvalidParameter.PermissionDenied", Forbidden),
        ("dcdb", "InvalidParameter.PermissionDenied", Forbidden),
        ("sqlserver", "UnauthorizedOperation.PermissionDenied", Forbidden),
        ("postgres", "OperationDenied.CamDeniedError", Forbidden),
        ("cynosdb", "OperationDenied.CamDeniedError", Forbidden),
        ("postgres", "OperationDenied.InstanceAccessDeniedError", Forbidden),
        ("cynosdb", "OperationDenied.InstanceAccessDeniedError", Forbidden),
        ("cynosdb", "OperationDenied.OperationDeniedError", Forbidden),
        ("mongodb", "OperationDenied.OperationDeniedError", Server),
        ("cdb", "OperationDenied.OperationDeniedError", Client),
        ("cdb", "OperationDenied.UserHasNoStrategy", Forbidden),
        ("postgres", "FailedOperation.CamAuthFailed", Forbidden),
        ("mariadb", "FailedOperation.AuthNoStrategy", Forbidden),
        ("dcdb", "FailedOperation.AuthNoStrategy", Forbidden),
        ("dts", "AuthFailure.UnauthorizedOperationError", Forbidden),
        ("dts", "AuthFailure.AuthorizedOperationDenyError", Forbidden),
        ("dts", "AuthFailure.AuthFailureError", Unauthenticated),
        ("mongodb", "LimitExceeded.TooManyRequests", Throttled),
        ("mariadb", "LimitExceeded.TooFrequentlyCalled", Throttled),
        ("dcdb", "LimitExceeded.TooFrequentlyCalled", Throttled),
        ("dts", "RequestLimitExceeded.RequestLimitExceededError", Throttled),
        ("mongodb", "LimitExceeded", Client),
        ("mariadb", "InternalError.CamAuthFailed", Server),
        ("dcdb", "InternalError.CamAuthFailed", Server),
        ("sqlserver", "InternalError.CamAuthFailed", Server),
        ("keewidb", "InternalError.CamAuthOssResponseReturnCodeError", Server),
        ("cynosdb", "FailedOperation.DatabaseAccessError", Server),
        ("postgres", "FailedOperation.DatabaseAccessError", Server),
        ("keewidb", "FailedOperation.SystemError", Server),
        ("keewidb", "FailedOperation.Unknown", Server),
        ("sqlserver", "FailedOperation.DBError", Server),
        ("sqlserver", "FailedOperation.GCSError", Server),
        ("dts", "InternalError.InternalErrorError", Server),
        ("cynosdb", "OperationDenied.LengthOverLimit", Client),
        ("postgres", "InvalidParameterValue.ParameterValueExceedError", Client),
        ("sqlserver", "InvalidParameter.InputIllegal", Client),
        ("dts", "DryRunOperation.DryRunOperationError", Client),
        ("dts", "UnsupportedOperation", Client),
        ("sqlserver", "OperationDenied.SomethingNew", Client),
    ] {
        let body = json!({ "Response": { "Error": { "Code": code, "Message": "text" } } });
        let answer = response(200, body.to_string());
        let refusal = Cloud::Tencent.refusal_of(service, &answer).unwrap();
        assert_eq!((refusal.kind, refusal.code.as_str()), (kind, code), "{service}");
    }
}

/// All of them come with code 0301 and status 401.
#[test]
fn huaweis_words_tell_failures_to_authenticate_apart() {
    for (words, kind) in [
        ("signature expired, signature time:20260314T004031Z,server time:20260314T021109Z", Clock),
        ("calc ak sk signature fail:signature expired", Clock),
        ("decrypt token fail", Unauthenticated),
        ("token has expired", CredentialsExpired),
        ("AK access failed to reach the limit,forbidden.", Unauthenticated),
        ("verify aksk signature fail, canonicalRequest:GET|/expired/|token", Unauthenticated),
    ] {
        let body = json!({
            "error_code": "APIGW.0301",
            "error_msg": format!("Incorrect IAM authentication information: {words}"),
        });
        let refusal = Cloud::Huawei.refusal(&response(401, body.to_string())).unwrap();
        assert_eq!(refusal.kind, kind, "{words}");
        assert_eq!(refusal.to_string(), "APIGW.0301");
    }
}

#[test]
fn spellings_of_the_envelope_are_known() {
    for (cloud, status, body, code, message) in [
        (Cloud::Alibaba, 400, r#"{"code":"A.B","message":"m"}"#, "A.B", "m"),
        (Cloud::Alibaba, 200, r#"{"Code":"A.B","Message":"m","RequestId":"r"}"#, "A.B", "m"),
        (
            Cloud::Alibaba,
            200,
            "<Error><Code>A.B</Code><Message>a &lt; b</Message></Error>",
            "A.B",
            "a < b",
        ),
        (Cloud::Alibaba, 500, "<?xml version=\"1.0\"?><Error><Code>A.B</Code></Error>", "A.B", ""),
        (Cloud::Huawei, 400, r#"{"errorCode":"A.B","errorMsg":"m"}"#, "A.B", "m"),
        (Cloud::Huawei, 400, r#"{"code":"A.B","message":"m"}"#, "A.B", "m"),
        (Cloud::Huawei, 400, r#"{"error":{"error_code":"A.B","error_msg":"m"}}"#, "A.B", "m"),
        (Cloud::Huawei, 404, r#"{"error":{"code":404,"message":"m"}}"#, "404", "m"),
        (Cloud::Huawei, 200, r#"{"error_code":"A.B","error_msg":"m"}"#, "A.B", "m"),
        (Cloud::Huawei, 200, r#"{"error":{"code":500,"message":"m"}}"#, "500", "m"),
        (Cloud::Tencent, 500, r#"{"Response":{"Error":{"Code":"A.B","Message":"m"}}}"#, "A.B", "m"),
        (Cloud::Tencent, 200, r#"{"Response":{"Error":{}}}"#, "UnknownError", ""),
        (Cloud::Tencent, 200, r#"{"code":4000,"message":"m","codeDesc":"A.B"}"#, "A.B", "m"),
        (Cloud::Tencent, 200, r#"{"code":"4000","message":"m"}"#, "4000", "m"),
    ] {
        let refusal = cloud.refusal(&response(status, body)).expect(body);
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, message), "{body}");
    }
}

#[test]
fn without_an_envelope_the_status_is_the_code() {
    for cloud in Cloud::ALL {
        for (status, kind, message) in [
            (301, Client, "Moved Permanently"),
            (302, Client, "Found"),
            (400, Client, "Bad Request"),
            (401, Unauthenticated, ""),
            (403, Forbidden, "Forbidden"),
            (404, Client, "Not Found"),
            (408, Server, "Request Timeout"),
            (429, Throttled, "Too Many Requests"),
            (500, Server, "Internal Server Error"),
            (502, Server, "Bad Gateway"),
            (503, Server, "Service Unavailable"),
            (504, Server, "Gateway Timeout"),
            (599, Server, ""),
        ] {
            for body in ["", "<html><body>oops</body></html>", "oops", "{}", "[1]", "{\"Co", "null"]
            {
                let refusal = cloud.refusal(&response(status, body)).unwrap();
                assert_eq!((refusal.kind, refusal.message.as_str()), (kind, message), "{body}");
                assert_eq!(refusal.code, status.to_string());
            }
        }
    }
    let envelope = r#"{"Code":"Throttling","Message":"m"}"#;
    assert_eq!(Cloud::Alibaba.refusal(&response(302, envelope)).unwrap().code, "302");
}

#[test]
fn an_answer_with_a_good_status_is_left_to_its_reader() {
    let long = format!(r#"{{"Code":"{}"}}"#, "x".repeat(100_000));
    for body in [
        "",
        "<html></html>",
        "{}",
        "[]",
        "{\"TaskInfo\":{\"TaskId\":1},\"RequestId\":\"r\"}",
        r#"{"Code":"200","Message":"OK","RequestId":"r"}"#,
        r#"{"Code":"Failed","Message":"why","Job":{"Id":7}}"#,
        r#"{"job":{"id":"1","error_code":"DBS.1"}}"#,
        r#"{"error_code":"DBS.1","error_msg":"why","jobs":[]}"#,
        r#"{"Response":{"TotalCount":0,"Items":[],"RequestId":"r"}}"#,
        r#"{"Response":{"Error":null,"Items":[],"RequestId":"r"}}"#,
        r#"{"code":0,"message":"","codeDesc":"Success"}"#,
        "<DescribeTasksResponse><Code>1</Code><Tasks/></DescribeTasksResponse>",
        &long,
    ] {
        for cloud in Cloud::ALL {
            assert_eq!(cloud.refusal(&response(200, body.to_owned())), None, "{cloud} {body}");
            assert_eq!(cloud.refusal(&response(202, body.to_owned())), None, "{cloud} {body}");
        }
    }
}

#[test]
fn the_vendors_wait_is_read() {
    let wait = |cloud: Cloud, status, code: &str, headers: &[(&'static str, &'static str)]| {
        let body = json!({
            "Code": code, "Message": "m", "error_code": code,
            "Response": { "Error": { "Code": code } },
        });
        let mut response = response(status, body.to_string());
        for &(name, value) in headers {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            response.headers_mut().insert(name, value);
        }
        let refusal = cloud.refusal(&response).unwrap();
        (refusal.kind, refusal.retry_after.map(|wait| wait.as_millis()))
    };
    let alibaba = |status, code, headers: &[(&'static str, &'static str)]| {
        wait(Cloud::Alibaba, status, code, headers)
    };
    let (acs, user, api) = ("x-acs-retry-after", "x-ratelimit-user", "x-ratelimit-user-api");
    assert_eq!(alibaba(400, "Throttling.User", &[(acs, "1500")]), (Throttled, Some(1500)));
    assert_eq!(alibaba(503, "Something", &[(acs, "1500")]), (Throttled, Some(1500)));
    assert_eq!(alibaba(400, "InvalidParameter", &[(acs, "0")]), (Client, None));
    assert_eq!(alibaba(400, "Throttling", &[(acs, "86400000")]), (Throttled, Some(300_000)));
    let (short, long) = ("Limit:1,Remain:0,TimeLeft:200,Reset:1", "TimeLeft:2000, Limit:1");
    assert_eq!(alibaba(400, "Throttling", &[(user, long), (api, short)]), (Throttled, Some(2000)));
    assert_eq!(alibaba(400, "Throttling", &[(api, short)]), (Throttled, Some(200)));
    assert_eq!(alibaba(400, "Throttling", &[(api, "TimeLeft:x")]), (Throttled, None));
    assert_eq!(alibaba(500, "InternalError", &[(user, long)]), (Server, None));
    for cloud in Cloud::ALL {
        assert_eq!(wait(cloud, 503, "ServiceUnavailable", &[("retry-after", "7")]).1, Some(7000));
    }
}

/// One refusal of each kind, as a simulated cloud makes them.
fn example(cloud: Cloud, kind: RefusalKind) -> (&'static str, &'static str) {
    match (cloud, kind) {
        (Cloud::Alibaba, Unauthenticated) => ("SignatureDoesNotMatch", "StringToSign is <…>"),
        (Cloud::Alibaba, CredentialsExpired) => ("InvalidSecurityToken.Expired", ""),
        (Cloud::Alibaba, Forbidden) => ("Forbidden.RAM", "no & never \"so\" <b>"),
        (Cloud::Alibaba, Clock) => ("InvalidTimeStamp.Expired", ""),
        (Cloud::Alibaba, Throttled) => ("Throttling.User", "slow down"),
        (Cloud::Alibaba, Server) => ("ServiceUnavailable", "later"),
        (Cloud::Alibaba, NotFound) => ("InvalidDBCluster.NotFound", "no such cluster"),
        (Cloud::Alibaba, NoSuchOperation) => ("InvalidAction.NotFound", "no such action"),
        (Cloud::Alibaba, Client) => ("InvalidPageSize.Malformed", "30, 50 or 100"),
        (Cloud::Huawei, Unauthenticated) => ("APIGW.0301", "verify aksk signature fail"),
        (Cloud::Huawei, CredentialsExpired) => ("APIGW.0307", "The token must be updated."),
        (Cloud::Huawei, Forbidden) => ("DBS.280063", "no permission: dds:task:list"),
        (Cloud::Huawei, Clock) => {
            ("APIGW.0301", "signature expired, signature time:a,server time:b")
        }
        (Cloud::Huawei, Throttled) => ("APIGW.0308", "policy user over ratelimit"),
        (Cloud::Huawei, Server) => ("DBS.280005", "Server error."),
        (Cloud::Huawei, NotFound) => ("DBS.200543", "The job does not exist."),
        (Cloud::Huawei, NoSuchOperation) => ("APIGW.0101", "The API does not exist"),
        (Cloud::Huawei, Client) => ("DBS.280001", "Parameter error."),
        (Cloud::Tencent, Unauthenticated) => ("AuthFailure.SignatureFailure", "wrong"),
        (Cloud::Tencent, CredentialsExpired) => ("AuthFailure.TokenFailure", ""),
        (Cloud::Tencent, Forbidden) => ("UnauthorizedOperation", "[request id:1]\nno"),
        (Cloud::Tencent, Clock) => ("AuthFailure.SignatureExpire", ""),
        (Cloud::Tencent, Throttled) => ("RequestLimitExceeded", "`21` > `20`"),
        (Cloud::Tencent, Server) => ("InternalError", "later"),
        (Cloud::Tencent, NotFound) => ("InvalidParameter.InstanceNotFound", "no such instance"),
        (Cloud::Tencent, NoSuchOperation) => ("InvalidAction", "no such action"),
        (Cloud::Tencent, Client) => ("InvalidParameterValue", "no"),
    }
}

#[test]
fn what_a_simulated_cloud_refuses_is_read_back() {
    for cloud in Cloud::ALL {
        for kind in RefusalKind::ALL {
            for format in [Format::Json, Format::Xml] {
                let (code, message) = example(cloud, kind);
                let waits = matches!(kind, Throttled | Server);
                let wait = waits.then_some(Duration::from_secs(2));
                let made =
                    Refusal { kind, code: code.into(), message: message.into(), retry_after: wait };
                let answer = cloud.refuse(&made, "127.0.0.1:80", "request-1", format);
                let read = cloud.refusal(&answer).expect(code);
                assert_eq!((read.kind, read.code.as_str()), (kind, code), "{cloud}");
                assert_eq!(read.retry_after, wait);
                if !read.message.is_empty() {
                    assert_eq!(read.message, message);
                }
                let content_type = answer.headers()["content-type"].to_str().unwrap();
                match (cloud, format) {
                    (Cloud::Alibaba, Format::Xml) => {
                        assert_eq!(content_type, "text/xml;charset=utf-8");
                    }
                    _ => assert!(content_type.starts_with("application/json")),
                }
                assert_eq!(answer.status() == 200, cloud == Cloud::Tencent, "{code}");
            }
        }
    }
}

#[test]
fn refusals_carry_the_vendors_status() {
    let status = |cloud: Cloud, code: &str| {
        let refusal = Cloud::ALL
            .into_iter()
            .flat_map(|cloud| RefusalKind::ALL.map(|kind| (cloud, kind)))
            .find(|&(of, kind)| of == cloud && example(cloud, kind).0 == code)
            .map_or(Server, |(_, kind)| kind);
        let made =
            Refusal { kind: refusal, code: code.into(), message: String::new(), retry_after: None };
        cloud.refuse(&made, "h", "r", Format::Json).status().as_u16()
    };
    for (cloud, code, expected) in [
        (Cloud::Alibaba, "Throttling.User", 400),
        (Cloud::Alibaba, "SignatureDoesNotMatch", 400),
        (Cloud::Alibaba, "InvalidAccessKeyId.NotFound", 404),
        (Cloud::Alibaba, "Forbidden.RAM", 403),
        (Cloud::Alibaba, "ServiceUnavailable", 503),
        (Cloud::Alibaba, "InternalError", 500),
        (Cloud::Huawei, "APIGW.0307", 401),
        (Cloud::Huawei, "DBS.280063", 403),
        (Cloud::Huawei, "DBS.200543", 400),
        (Cloud::Huawei, "APIGW.0101", 404),
        (Cloud::Huawei, "APIGW.0308", 429),
        (Cloud::Huawei, "DBS.280005", 500),
        (Cloud::Huawei, "APIGW.0201", 502),
        (Cloud::Tencent, "RequestLimitExceeded", 200),
        (Cloud::Tencent, "503", 503),
        (Cloud::Alibaba, "302", 302),
    ] {
        assert_eq!(status(cloud, code), expected, "{cloud} {code}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_a_refusal_panic(
        status in 100_u16..1000,
        body in proptest::collection::vec(any::<u8>(), 0..300),
        header in proptest::collection::vec(b' '..=b'~', 0..40),
    ) {
        for prefix in ["", "{\"Code\":\"", "{\"error\":", "<Error><Code>", "{\"Response\":{\"Error\":"] {
            let mut response = response(status, [prefix.as_bytes(), &body].concat());
            for name in ["retry-after", "date", "x-acs-retry-after", "x-ratelimit-user"] {
                let value = HeaderValue::from_bytes(&header).unwrap();
                response.headers_mut().insert(name, value);
            }
            for cloud in Cloud::ALL {
                let refusal = cloud.refusal(&response);
                prop_assert!(refusal.is_some() || (200..300).contains(&status));
            }
        }
    }

    #[test]
    fn any_text_survives_the_envelope(
        cloud in proptest::sample::select(Cloud::ALL.as_slice()),
        xml in any::<bool>(),
        message in "[a-zA-Z0-9<>&'\"\\]\\[!]([ -~é数]{0,40}[a-zA-Z0-9<>&'\"])?",
    ) {
        let (code, _) = example(cloud, Forbidden);
        let made = Refusal {
            kind: Forbidden,
            code: code.to_owned(),
            message: message.clone(),
            retry_after: None,
        };
        let format = if xml { Format::Xml } else { Format::Json };
        let read = cloud.refusal(&cloud.refuse(&made, "h", "r", format)).unwrap();
        prop_assert_eq!(read.message, if message == "null" { String::new() } else { message });
    }
}

#[test]
fn each_envelope_of_huawei_is_a_refusal_whatever_the_status() {
    for body in [
        json!({"error_code": "DBS.280001", "error_msg": "Parameter error."}),
        json!({"error_code": "DBS.280001", "error_msg": "Parameter error.", "request_id": "51a1d000"}),
        json!({"errorCode": "DBS.280001", "errorMsg": "Parameter error."}),
        json!({"errCode": "DBS.280001", "externalMessage": "Parameter error."}),
        json!({"error": {"code": "DBS.280001", "message": "Parameter error.", "title": "Bad"}}),
        // In place of the list.
        json!({"error_code": "DBS.280001", "error_msg": "Parameter error.", "jobs": null,
               "total_count": 0, "total": "0"}),
    ] {
        for status in [200, 202, 400] {
            let refusal = Cloud::Huawei.refusal(&response(status, body.to_string()));
            let refusal = refusal.unwrap_or_else(|| panic!("{status} {body}"));
            assert_eq!(refusal.to_string(), "DBS.280001: Parameter error.");
            assert_eq!(refusal.kind, Client);
        }
    }
}

#[test]
fn an_answer_of_huawei_is_no_refusal_for_a_code_in_its_rows_or_a_status_of_202() {
    for body in [
        json!({"results": [{"id": "jb1", "error_code": "DRS.M00289", "error_msg": "unknown"}]}),
        json!({"tasks": [{"id": "1", "status": "SUCCESS", "error_code": "111400063"}]}),
        json!({"job_id": "1", "status": "FAIL", "failed_code": "DWS.0114"}),
        json!({"tasks": [], "total_count": 0}),
        json!({"tasks": [], "error_code": null}),
    ] {
        for status in [200, 202] {
            assert_eq!(Cloud::Huawei.refusal(&response(status, body.to_string())), None, "{body}");
        }
    }
}
