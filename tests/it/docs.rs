//! Documents that repeat what the code says are written from it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use dbtask_clouds::api::{Scope, TaskApi};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::endpoints::Addresses;
use dbtask_clouds::model::{Resource, TaskState, Timestamp};
use dbtask_exporter::metrics::FAMILIES;

/// `docs/apis.md`, from `APIS`.
fn apis() -> String {
    let mut page = String::from(
        "# Task APIs

This page is written from `APIS` in `crates/clouds/src/catalog.rs`; a test keeps them equal (`UPDATE_DOCS=1 cargo
test --test it docs` writes it anew). Status words are compared without regard to case; a word that
is not listed is shown as `unknown`, counted and logged once. The rate is what the exporter allows
itself, per account and operation; the vendor's own limit is higher. Where an endpoint is not the
right one, `endpoint` of the source takes another; `endpoint: vpc` and `endpoint: intl` stand for
the vendor's own for its private network and for its international site.
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

## Which clusters and instances

| | without `resources` | `resources` | `tags` | a configured resource that does not exist |
| --- | --- | --- | --- | --- |
| `alibaba_adb` | all of the region | asked for | asked for | left out by the vendor without a word |
| `alibaba_polardb` | discovered | one call each and status | filter the discovery | named in the log, counted in `dbtask_source_resources_missing` |
| `alibaba_rds_history`, `alibaba_polardb_history` | all of the region | two calls for up to 30 | - | left out by the vendor without a word |
| `huawei_dds` | all of the project | filtered here | - | not noticed |
| `tencent_redis`, `tencent_cdb` | all of the region | two calls each | - | named in the log, counted |

Discovery reads every page, up to 100, every five minutes, whatever becomes of the polls in between.
When it fails, the clusters that are known, also from before a restart with `--storage.path`, are
polled on at their pace, and the source stays up: `dbtask_source_discovery_failing`, the log, the status
page and the JSON tell of it. It is tried again after growing pauses, at least every five minutes where
the vendor is in trouble, every 15 where a person has to mend something. Clusters that are found then
are read back to the last discovery that went well. Without a known cluster the source is down.

A cluster that discovery leaves out is polled on while it has an unfinished task and can be asked. The
unfinished tasks of a cluster that has been deleted become `unknown` and go after
`retention.finished`. A poll fails for configured resources that do not exist only if none is left.

## What cannot be asked

A cluster, an instance or a task id that is asked for by itself may be refused for its permission or
its state, fail with 5xx, or never answer. The others are polled at their pace all the same, and
`dbtask_source_up` stays 1. The one that fails is counted in `dbtask_source_resources_failing`, named in
the log once, on the status page and in the JSON. It is asked again at the next poll, and then ever more
rarely: at least every five minutes where the vendor is in trouble, every 15 where a person has to mend
something. Its unfinished tasks keep their last state until `stale_after`. When it answers again, its
list goes back to where it was last read, so that what ended meanwhile is counted.

The source is down if nothing of it can be asked, or if the account is refused, throttled or out of
budget. After three questions in a row that nobody answers, a poll asks no more; the next one begins
with what has waited longest.

## What may be missed

`dbtask_source_coverage_gaps_total` counts the times that the list, at the first complete poll after
an outage, did not reach back to the last complete poll before it; the seconds between the two are
added to `dbtask_source_coverage_gap_seconds_total`, and one line is logged. Tasks that began and
ended in between may be missing. Where the vendor does not document how far its list reaches, the
exporter asks back to the last complete poll but vouches for the `lookback` only, or for an hour if
that is longer. A list of more than 100 pages is not read to its end, and covers nothing: the gap
goes on until a list is. A list goes on while a page is full or the vendor's total says that there is
more, as long as pages bring something new; where the total still says so at the end, the list is not
whole: one line is logged, nothing counts as gone for not being in it, and it covers nothing; if that goes on for
an hour, it is a gap. A cluster that could not be asked for longer than its list reaches back has a gap of
its own. What is asked for by id, and AnalyticDB's jobs, which are shown while they
go on and no longer, have no such list, and no gaps are counted for them.
A DDS list that has never answered but with 404 is taken not to exist where ids are given, and asked
for again every hour; one that has answered before, an earlier process too, is in trouble.

An unfinished task that a complete list leaves out is asked for by its id. If the vendor answers
without it, it becomes `unknown`, with a warning in the log. From then on it is sought for 35 days, also
when it is no longer shown: by its id, and by a list that goes back to its beginning, with pauses that
grow to 15 minutes. Only the vendor's own word that there is no such task, given four times over two
hours, ends that; any other refusal is no answer. An end that is found late is counted once. However
many such ids there are, and ids that are given and not found, one in two seconds is asked for again
on average, and at most 100 in a poll: those first that have waited longest. A list goes back to the
beginning of such tasks at most once in three minutes, and then for all that are due.

PolarDB cannot be asked for one task, and is asked 30 days back: of a task that runs for longer the
end is not seen. The task centre of RDS and PolarDB shows no task that began more than 30 days ago, by its id
either. RDS is asked for the words that are documented, so that a task with a new word is seen only if it
was seen before; it is then asked for by its id, and `unknown`.

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
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let resources = [Arc::new(Resource::new("any"))];
    let queries = api.list(&Scope { now, since: now, resources: &resources, tags: &[] });
    let lists_ended = queries.iter().any(|query| query.since.is_some());
    let window = match api.facts.list_window {
        Some(window) => format!("{} days, as the vendor documents", window.as_secs() / 86_400),
        None if lists_ended => "not documented; trusted for the `lookback`".to_owned(),
        None => "not at all; it shows what goes on now".to_owned(),
    };
    writeln!(page, "\n## {} (`{}`)\n", api.facts.product, api.facts.name).unwrap();
    writeln!(page, "<{}>\n", api.facts.doc).unwrap();
    writeln!(page, "| Operation | Permission | Calls a second |\n| --- | --- | --- |").unwrap();
    for operation in api.facts.operations {
        let (name, permission) = (operation.name, operation.permission);
        writeln!(page, "| `{name}` | `{permission}` | {} |", operation.per_second).unwrap();
    }
    hosts(page, api);
    writeln!(page, "\n- Its list of ended tasks reaches back: {window}.").unwrap();
    writeln!(
        page,
        "- Clusters must be known before tasks can be listed, and are discovered: {}.",
        yes_no(api.discovers())
    )
    .unwrap();
    writeln!(
        page,
        "- A failed task is asked for its error text by a call of its own: {}.",
        yes_no(api.facts.error_by_id)
    )
    .unwrap();
    for same in api.facts.same_tasks_as {
        let (other, advice) = (same.api, same.advice);
        writeln!(page, "- Shows the same operations as `{other}`, under other ids: {advice}. With a source of each they are counted twice, and `check` warns of that.").unwrap();
    }
    let task_id = match api.facts.ids.map_or("", |rule| rule.looks_like) {
        "" => "none can be",
        is => is,
    };
    writeln!(page, "- The id by which a task is asked for: {task_id}.\n").unwrap();
    writeln!(page, "| State | Status words |\n| --- | --- |").unwrap();
    for state in TaskState::ALL {
        let words: Vec<String> = api
            .facts
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

/// Where an API answers, by region.
fn hosts(page: &mut String, api: &TaskApi) {
    let endpoints = api.facts.endpoints;
    let code = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        if words.is_empty() { "-".to_owned() } else { words.join(", ") }
    };
    let row = |regions: &str, addresses: &Addresses| {
        let Addresses { public, vpc, intl } = addresses;
        let one = |url: Option<&str>| code(url.as_slice());
        format!("| {regions} | `{public}` | {} | {} |\n", one(*vpc), one(*intl))
    };
    page.push_str("\n| Region | Endpoint | `endpoint: vpc` | `endpoint: intl` |\n");
    page.push_str("| --- | --- | --- | --- |\n");
    for (regions, addresses) in endpoints.by_region {
        page.push_str(&row(&code(regions), addresses));
    }
    page.push_str(&row("all others, by the vendor's pattern", &endpoints.others));
    writeln!(page, "\n- The hosts are from {}. Not one has been asked.", endpoints.origin).unwrap();
    writeln!(
        page,
        "- Known to follow the pattern: {}; others are unverified.",
        code(endpoints.confirmed)
    )
    .unwrap();
    if !endpoints.disputed.is_empty() {
        let disputed = code(endpoints.disputed);
        writeln!(page, "- Unverified, or other in another source of the vendor's: {disputed}.")
            .unwrap();
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

/// What stands in the README between the marks of its table of metrics.
fn readme_metrics() -> String {
    let mut table = String::from("\n| Metric | Meaning |\n| --- | --- |\n");
    for family in FAMILIES {
        writeln!(table, "| `{}` | {} |", family.name, family.help).unwrap();
    }
    table
}

#[test]
fn the_metrics_of_the_readme_are_the_families() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (head, rest) = readme.split_once("FAMILIES -->").unwrap();
    let (table, tail) = rest.split_once("<!-- metrics: end").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let metrics = readme_metrics();
        std::fs::write(path, format!("{head}FAMILIES -->{metrics}<!-- metrics: end{tail}"))
            .unwrap();
    } else {
        assert!(
            table == readme_metrics(),
            "README.md is old: UPDATE_DOCS=1 cargo test --test it docs"
        );
    }
}

#[test]
fn the_readme_names_every_alert_and_no_other() {
    let rules = include_str!("../../rules/dbtask.rules.yml");
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let readme = include_str!("../../README.md");
    let words = readme.split(|c: char| !c.is_ascii_alphanumeric());
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("Dbtask")).collect();
    assert_eq!(named, alerts);
}

#[test]
fn the_readme_lists_every_api_and_the_two_commands() {
    let readme = include_str!("../../README.md");
    for api in APIS {
        assert!(readme.contains(&format!("| `{}` |", api.facts.name)), "{}", api.facts.name);
    }
    for command in ["cargo run --release -- demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages =
        docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).chain(
            ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
                .map(|name| root.join(name)),
        );
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
