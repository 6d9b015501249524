//! `docs/permissions.md` holds the policies that the program prints.

use std::fmt::Write as _;
use std::sync::Arc;

use dbtask_clouds::api::{Operation, Scope, TaskApi};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::model::{Resource, Timestamp};
use dbtask_clouds::policy::policies;

/// `docs/permissions.md`, from `APIS`.
fn page() -> String {
    let mut page = String::from(
        "# Permissions

The exporter only reads. These are the least policies that let it, for everything that it watches of
a cloud and for each API alone, as each vendor's console takes them. They are written from `APIS` in
`crates/clouds/src/catalog.rs`; a test keeps them equal (`UPDATE_DOCS=1 cargo test --test it docs` writes the page
anew). None has been tried with a live account.

`dbtask-exporter check FILE --online` asks each source one question and says what is missing, with
the policy that grants it to just the sources of that file: see
[below](#what-check---online-asks).

The resource is `*`, for a list covers a region. Alibaba documents
`acs:<service>:<region>:<account>:dbcluster/<id>` for `adb:DescribeTaskInfo` and
`polardb:DescribeTasks`, which may be narrowed to the clusters that are watched. Huawei's role-based
policies are shown; identity policies say `dds:task:listAll` in place of `dds:task:list`, `rds:task:listAll`
of `rds:task:list`, `gaussdbformysql:task:list` of `gaussdb:instance:list`, and `gaussdbfornosql:task:list` of
`nosql:task:list`.

Where a policy leaves out some clusters, the others are polled as ever, and the source is up. What is refused is
counted in `dbtask_source_resources_failing`, named in the log, on the status page and in the JSON, and asked again at least every 15
minutes. A policy without the call for one task (`DescribeTaskInfo`, `ShowJobDetail`) leaves the list as it is.

A role that is assumed (`role_arn`, `agency_name`) needs these policies itself; the keys that assume
it need `sts:AssumeRole` on that role with Alibaba and Tencent, and `Agent Operator` with Huawei.
",
    );
    for cloud in Cloud::ALL {
        let apis = || APIS.iter().filter(move |api| api.facts.cloud == cloud);
        let name = match cloud {
            Cloud::Alibaba => "Alibaba Cloud",
            Cloud::Huawei => "HUAWEI CLOUD and Open Telekom Cloud",
            Cloud::Tencent => "Tencent Cloud",
        };
        write!(page, "\n## {name}\n\nFor all that is watched there:\n").unwrap();
        write_policies(
            &mut page,
            cloud,
            apis().flat_map(|api| api.facts.operations.iter().copied()),
        );
        for api in apis() {
            describe(&mut page, api);
        }
    }
    page.push_str(ONLINE);
    for api in APIS {
        let without = probe(api, &[]);
        let with = probe(api, &[Arc::new(Resource::new("any"))]);
        let asked = match (without, with) {
            (Some(without), Some(with)) if with != without => {
                format!("`{without}`; with `resources` `{with}`")
            }
            (Some(asked), _) | (None, Some(asked)) => format!("`{asked}`"),
            (None, None) => {
                let by_id = api.facts.operations[0].name;
                format!("`{by_id}` for one of its ids; nothing without any")
            }
        };
        let before = match api.facts.project {
            Some(search) => format!("`{}`, without `project_id`", search.operation.name),
            None => "-".to_owned(),
        };
        writeln!(page, "| `{}` | {asked} | {before} |", api.facts.name).unwrap();
    }
    page
}

const ONLINE: &str = "
## What `check --online` asks

One call for each source, all sources at the same time, within a minute altogether. Other
operations than the one that was asked stay unproven, and it says which.

| API | asks | before that |
| --- | --- | --- |
";

fn probe(api: &TaskApi, resources: &[Arc<Resource>]) -> Option<&'static str> {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let query = api.probe(&Scope { now, since: now, resources, tags: &[] });
    query.map(|query| query.operation.name)
}

fn describe(page: &mut String, api: &TaskApi) {
    write!(page, "\n### {} (`{}`)\n\n", api.facts.product, api.facts.name).unwrap();
    writeln!(page, "| Action | lets it call | needed |\n| --- | --- | --- |").unwrap();
    for &operation in api.facts.operations {
        let is_spared = |has_project, has_resources| {
            !api.needed(has_project, has_resources).any(|needed| needed == operation)
        };
        let needed = match (is_spared(true, false), is_spared(false, true)) {
            (true, _) => "without `project_id`",
            (_, true) => "without `resources`",
            (false, false) => "always",
        };
        let Operation { name, permission, .. } = operation;
        writeln!(page, "| `{permission}` | `{name}` | {needed} |").unwrap();
    }
    write_policies(page, api.facts.cloud, api.facts.operations.iter().copied());
}

fn write_policies<'a>(
    page: &mut String,
    cloud: Cloud,
    operations: impl Iterator<Item = &'a Operation>,
) {
    for policy in policies(cloud, operations) {
        write!(page, "\n{}:\n\n```json\n{}\n```\n", policy.title, policy.document).unwrap();
    }
}

#[test]
fn the_docs_hold_the_policies_that_the_list_of_apis_leads_to() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/permissions.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "docs/permissions.md is old: UPDATE_DOCS=1 cargo test --test it docs"
    );
}

#[test]
fn every_permission_only_reads() {
    for operation in APIS.iter().flat_map(|api| api.facts.operations) {
        let action = operation.permission.rsplit(':').next().unwrap();
        let reads = ["Describe", "List", "list", "get"].iter().any(|verb| action.starts_with(verb));
        assert!(reads, "{}", operation.permission);
    }
}
