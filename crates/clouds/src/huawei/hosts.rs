//! Where HUAWEI CLOUD's services answer. Most have one name in all regions; those that do not are told
//! apart here.
//!
//! - `eu-west-101` is the European site, a cloud of its own: `.eu`, but for DCS.
//! - DWS answers under `.cn` in five regions.
//! - `gaussdb.` is `TaurusDB` in some regions and `GaussDB` in others.

use crate::endpoints::{Addresses, Endpoints};

const ORIGIN: &str =
    "the regions of the official Python package 3.1.219, and Open Telekom Cloud's pages";

/// Open Telekom Cloud. The host of `eu-nl` is on no page that was read.
const OTC: &[&str] = &["eu-de", "eu-nl"];

const EUROPE: &[&str] = &["eu-west-101"];

/// An address that everybody can reach, which is the only sort there is.
const fn at(public: &'static str) -> Addresses {
    Addresses { public, vpc: None, intl: None }
}

/// The hosts of a service that has one name everywhere: the domain of the European site, and regions
/// that differ besides.
macro_rules! regular {
    ($service:literal, $europe:literal, $confirmed:expr, $disputed:expr $(, $regions:expr => $host:expr)*) => {
        Endpoints {
            origin: ORIGIN,
            by_region: &[
                (OTC, at(concat!("https://", $service, ".{region}.otc.t-systems.com"))),
                (EUROPE, at(concat!("https://", $service, ".{region}.", $europe))),
                $(($regions, at($host)),)*
            ],
            others: at(concat!("https://", $service, ".{region}.myhuaweicloud.com")),
            all_regions: None,
            confirmed: $confirmed,
            disputed: $disputed,
        }
    };
}

/// Regions of the services that are nearly everywhere. Partners run `eu-west-0` and `ru-moscow-1` under
/// domains of their own, which the vendor's table does not name.
const WIDE: &[&str] = &[
    "ae-ad-1",
    "af-north-1",
    "af-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "cn-east-2",
    "cn-east-3",
    "cn-east-4",
    "cn-east-5",
    "cn-north-1",
    "cn-north-2",
    "cn-north-4",
    "cn-north-9",
    "cn-north-11",
    "cn-north-12",
    "cn-south-1",
    "cn-south-2",
    "cn-south-4",
    "cn-southwest-2",
    "cn-southwest-3",
    "eu-west-0",
    "la-north-2",
    "la-south-2",
    "me-east-1",
    "my-kualalumpur-1",
    "na-mexico-1",
    "ru-moscow-1",
    "ru-northwest-2",
    "sa-brazil-1",
    "tr-west-1",
];

const DISPUTED: &[&str] = &["eu-nl", "eu-west-0", "ru-moscow-1"];

/// Document Database Service.
pub static DDS: Endpoints = regular!("dds", "myhuaweicloud.eu", WIDE, DISPUTED);

/// RDS.
pub static RDS: Endpoints = regular!("rds", "myhuaweicloud.eu", WIDE, DISPUTED);

/// Data Replication Service.
pub static DRS: Endpoints = regular!("drs", "myhuaweicloud.eu", WIDE, DISPUTED);

/// Distributed Cache Service. Its European host ends in `.com` in the vendor's clients, alone of all.
pub static DCS: Endpoints = regular!(
    "dcs",
    "myhuaweicloud.com",
    WIDE,
    &["eu-nl", "eu-west-0", "eu-west-101", "ru-moscow-1"]
);

/// Distributed Database Middleware.
pub static DDM: Endpoints = regular!(
    "ddm",
    "myhuaweicloud.eu",
    &[
        "ae-ad-1",
        "ap-southeast-1",
        "ap-southeast-3",
        "cn-east-2",
        "cn-east-3",
        "cn-north-1",
        "cn-north-4",
        "cn-north-9",
        "cn-south-1",
        "cn-south-2",
        "cn-southwest-2",
        "la-north-2",
        "la-south-2",
        "my-kualalumpur-1",
        "ru-moscow-1",
        "sa-brazil-1",
    ],
    &["eu-nl", "ru-moscow-1"]
);

/// `GeminiDB`. Its host at Open Telekom Cloud is inferred.
pub static GEMINIDB: Endpoints = regular!(
    "gaussdb-nosql",
    "myhuaweicloud.eu",
    &[
        "af-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "cn-east-2",
        "cn-east-3",
        "cn-east-4",
        "cn-north-1",
        "cn-north-2",
        "cn-north-4",
        "cn-north-9",
        "cn-north-11",
        "cn-south-1",
        "cn-south-2",
        "cn-south-4",
        "cn-southwest-2",
        "cn-southwest-3",
        "la-north-2",
        "la-south-2",
        "me-east-1",
        "ru-moscow-1",
        "ru-northwest-2",
        "sa-brazil-1",
        "tr-west-1",
    ],
    &["eu-de", "eu-nl", "ru-moscow-1"]
);

/// Data Warehouse Service.
pub static DWS: Endpoints = regular!(
    "dws",
    "myhuaweicloud.eu",
    &[
        "ae-ad-1",
        "af-north-1",
        "af-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-5",
        "cn-east-2",
        "cn-east-3",
        "cn-east-5",
        "cn-north-1",
        "cn-north-2",
        "cn-north-4",
        "cn-north-9",
        "cn-north-11",
        "cn-south-1",
        "cn-southwest-2",
        "cn-southwest-3",
        "la-north-2",
        "la-south-2",
        "me-east-1",
        "my-kualalumpur-1",
        "na-mexico-1",
        "ru-moscow-1",
        "sa-brazil-1",
    ],
    &["eu-nl", "ru-moscow-1"],
    &["ap-southeast-4", "cn-east-4", "cn-north-12", "cn-south-4", "tr-west-1"]
        => "https://dws.{region}.myhuaweicloud.cn"
);

/// Graph Engine Service.
pub static GES: Endpoints = regular!(
    "ges",
    "myhuaweicloud.eu",
    &[
        "ap-southeast-1",
        "ap-southeast-3",
        "cn-east-3",
        "cn-north-1",
        "cn-north-2",
        "cn-north-4",
        "cn-south-1",
        "ru-moscow-1",
    ],
    &["eu-de", "eu-nl", "ru-moscow-1"]
);

/// `TaurusDB`. No client names a European host, though the European site has pages on it.
pub static TAURUSDB: Endpoints = Endpoints {
    origin: ORIGIN,
    by_region: &[
        (OTC, at("https://gaussdb-mysql.{region}.otc.t-systems.com")),
        (EUROPE, at("https://gaussdb.{region}.myhuaweicloud.eu")),
        (
            &["ap-southeast-1", "ap-southeast-2", "cn-north-11", "me-east-1", "tr-west-1"],
            at("https://gaussdbformysql.{region}.myhuaweicloud.com"),
        ),
        (
            &["af-south-1", "cn-east-5", "cn-southwest-3", "la-north-2"],
            at("https://gaussdb-mysql.{region}.myhuaweicloud.com"),
        ),
    ],
    others: at("https://gaussdb.{region}.myhuaweicloud.com"),
    all_regions: None,
    confirmed: &[
        "ap-southeast-3",
        "ap-southeast-4",
        "cn-east-3",
        "cn-north-2",
        "cn-north-4",
        "cn-north-9",
        "cn-south-1",
        "cn-south-4",
        "cn-southwest-2",
        "ru-northwest-2",
        "sa-brazil-1",
    ],
    disputed: &["eu-nl", "eu-west-101"],
};

/// `GaussDB`.
pub static GAUSSDB: Endpoints = Endpoints {
    origin: ORIGIN,
    by_region: &[
        (OTC, at("https://gaussdb.{region}.otc.t-systems.com")),
        (EUROPE, at("https://gaussdb-opengauss.{region}.myhuaweicloud.eu")),
        (
            &[
                "af-north-1",
                "ap-southeast-5",
                "cn-east-2",
                "cn-east-4",
                "cn-east-5",
                "cn-north-12",
                "me-east-1",
                "tr-west-1",
            ],
            at("https://gaussdb.{region}.myhuaweicloud.com"),
        ),
    ],
    others: at("https://gaussdb-opengauss.{region}.myhuaweicloud.com"),
    all_regions: None,
    confirmed: &[
        "af-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "cn-east-3",
        "cn-north-2",
        "cn-north-4",
        "cn-north-9",
        "cn-south-1",
        "cn-south-2",
        "cn-south-4",
        "cn-southwest-2",
        "la-north-2",
        "la-south-2",
        "ru-northwest-2",
        "sa-brazil-1",
    ],
    disputed: &["eu-nl", "eu-west-101"],
};

/// Every service that is polled.
pub static ALL: &[&Endpoints] =
    &[&DDS, &RDS, &DRS, &DCS, &DDM, &GEMINIDB, &DWS, &GES, &TAURUSDB, &GAUSSDB];
