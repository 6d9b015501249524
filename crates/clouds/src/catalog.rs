//! The list of all APIs. Nothing else names one.

use crate::api::TaskApi;
use crate::{alibaba, huawei, tencent};

/// Every API, in the order in which documents list them.
pub static APIS: &[&TaskApi] = &[
    &alibaba::adb::API,
    &alibaba::polardb::API,
    &alibaba::history::RDS,
    &alibaba::history::POLARDB,
    &alibaba::history::ADB,
    &alibaba::history::MONGODB,
    &alibaba::history::REDIS,
    &alibaba::dts::API,
    &alibaba::instance_tasks::POLARDBX,
    &alibaba::instance_tasks::RDS,
    &alibaba::oceanbase::API,
    &alibaba::maintenance::RDS,
    &alibaba::maintenance::MONGODB,
    &alibaba::maintenance::REDIS,
    &alibaba::maintenance::POLARDB,
    &huawei::jobs::DDS,
    &huawei::jobs::RDS,
    &huawei::jobs::TAURUSDB,
    &huawei::jobs::GEMINIDB,
    &huawei::jobs::GAUSSDB,
    &huawei::jobs::DDM,
    &huawei::drs::API,
    &huawei::dcs::API,
    &huawei::dcs_migration::API,
    &huawei::dws::API,
    &huawei::ges::API,
    &huawei::scheduled::DDS,
    &huawei::scheduled::RDS,
    &huawei::scheduled::TAURUSDB,
    &huawei::scheduled::GEMINIDB,
    &huawei::scheduled::GAUSSDB,
    &tencent::redis::API,
    &tencent::redis::KEEWIDB,
    &tencent::cdb::API,
    &tencent::postgres::API,
    &tencent::cynosdb::API,
    &tencent::dts::MIGRATION,
    &tencent::dts::SYNC,
    &tencent::sqlserver::API,
    &tencent::dcdb::API,
    &tencent::tcaplusdb::API,
    &tencent::flow::MONGODB,
    &tencent::flow::MARIADB,
    &tencent::flow::TDMYSQL,
    &tencent::flow::CYNOSDB,
    &tencent::flow::DCDB,
    &tencent::flow::SQLSERVER,
];

/// The APIs of the product that `word` names: `mongodb`. None for a word of less than three letters.
pub fn of_product(word: &str) -> impl Iterator<Item = &'static TaskApi> {
    let word = word.to_lowercase();
    APIS.iter().copied().filter(move |api| {
        let texts = [api.facts.name, api.facts.product];
        word.len() >= 3 && texts.iter().any(|text| text.to_lowercase().contains(&word))
    })
}

/// The API that the configuration calls `name`.
pub fn named(name: &str) -> Option<&'static TaskApi> {
    APIS.iter().copied().find(|api| api.facts.name == name)
}
