//! alibaba_adb

use super::TaskApi;
use crate::cloud::Cloud;

pub(super) static API: TaskApi = TaskApi {
    name: "alibaba_adb",
    product: "",
    cloud: Cloud::Alibaba,
    service: "",
    doc: "",
    operations: &[],
    statuses: &[],
    list_window: None,
    error_by_id: false,
    endpoint: |_| String::new(),
    discover: None,
    list: |_| Vec::new(),
    by_id: |_| None,
    request: |_, _| http::Request::default(),
    decode: |_, _, _| Ok(super::Page::default()),
    answer: |_, _| None,
};
