//! Documents that repeat what the code says are written from it.

use std::fmt::Write as _;

use dbtask_exporter::api::{APIS, TaskApi};
use dbtask_exporter::task::TaskState;

/// `docs/apis.md`, from `APIS`.
fn apis() -> String {
    let mut page = String::from(
        "# Task APIs

This page is written from `APIS` in `src/api/mod.rs`; a test keeps them equal (`UPDATE_DOCS=1 cargo
test --test it docs` writes it anew). Status words are compared without regard to case; a word that
is not listed is shown as `unknown`, counted and logged once. The rate is what the exporter allows
itself, per account and operation; the vendor's own limit is higher.
",
    );
    for api in APIS {
        describe(&mut page, api);
    }
    page.push_str(
        "
## Where an id is made, not given

AnalyticDB's `DescribeDBClusters` shows the job that a cluster is going through, but gives it no id.
The exporter makes one from the cluster's id, the job's name and the start of its first step:
`am-bp1example000002/analyticDBFlexibleScaleOut/2026-03-01T07:00:00Z`. A job is shown from its first
step on, for before that it has no lasting id. It cannot be asked for by id: once the cluster no
longer shows it, it is `unknown`.

## Not tried

No live account was at hand. Requests and answers follow the vendors' documentation and official
SDKs; the SDK clients themselves are run against the simulated clouds, which share the exporter's
reading of each API.
",
    );
    page
}

fn describe(page: &mut String, api: &TaskApi) {
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let window = api.list_window.map_or("no limit known".to_owned(), |window| {
        format!("{} days", window.as_secs() / 86_400)
    });
    writeln!(page, "\n## {} (`{}`)\n", api.product, api.name).unwrap();
    writeln!(page, "<{}>\n", api.doc).unwrap();
    writeln!(page, "| Operation | Permission | Calls a second |\n| --- | --- | --- |").unwrap();
    for operation in api.operations {
        let (name, permission) = (operation.name, operation.permission);
        writeln!(page, "| `{name}` | `{permission}` | {} |", operation.per_second).unwrap();
    }
    writeln!(page, "\n- Its list reaches back: {window}.").unwrap();
    writeln!(
        page,
        "- Clusters must be known before tasks can be listed, and are discovered: {}.",
        yes_no(api.discover.is_some())
    )
    .unwrap();
    writeln!(
        page,
        "- A newly failed task is asked for its error text: {}.\n",
        yes_no(api.error_by_id)
    )
    .unwrap();
    writeln!(page, "| State | Status words |\n| --- | --- |").unwrap();
    for state in TaskState::ALL {
        let words: Vec<String> = api
            .statuses
            .iter()
            .filter(|&&(_, known)| known == state)
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            writeln!(page, "| `{}` | {} |", state.as_str(), words.join(", ")).unwrap();
        }
    }
}

#[test]
fn the_page_of_apis_is_what_the_list_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/apis.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, apis()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == apis(), "docs/apis.md is old: UPDATE_DOCS=1 cargo test --test it docs");
}

#[test]
fn the_readme_lists_every_api_and_the_two_commands() {
    let readme = include_str!("../../README.md");
    for api in APIS {
        assert!(readme.contains(&format!("| `{}` |", api.name)), "{}", api.name);
    }
    for command in ["cargo run --release -- demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                let file = target.split('#').next().unwrap();
                assert!(page.parent().unwrap().join(file).exists(), "{}: {target}", page.display());
            }
        }
    }
}

#[test]
fn the_map_of_the_crate_names_every_module() {
    let map = include_str!("../../src/lib.rs");
    let modules = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(map.contains(&format!("[`{module}`]")), "src/lib.rs does not describe {module}");
    }
}
