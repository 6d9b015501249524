//! Documents that repeat what the code says are written from it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Detail, Facts, Needs, Query, Scope, TaskApi};
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::endpoints::Addresses;
use dbtask_clouds::model::{Resource, TaskState, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_exporter::metrics::FAMILIES;
use dbtask_simulator::World;

use crate::golden::{golden_texts, target};

/// What stands in a document between `<!-- NAME: begin` and `<!-- NAME: end`, after the line of the
/// first mark. With `UPDATE_DOCS` it is written anew.
fn check_between(document: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(&format!("<!-- {name}: begin")).unwrap();
    let (mark, rest) = rest.split_once("-->\n").unwrap();
    let (found, tail) = rest.split_once(&format!("<!-- {name}: end")).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{head}<!-- {name}: begin{mark}-->\n{expected}<!-- {name}: end{tail}");
        std::fs::write(path, text).unwrap();
    } else {
        assert!(found == expected, "{document} is old: UPDATE_DOCS=1 cargo test --test it docs");
    }
}

/// The same of a whole document.
fn check_whole(document: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(found == expected, "{document} is old: UPDATE_DOCS=1 cargo test --test it docs");
}

/// The vendor's name, as headings have it.
fn vendor(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Alibaba => "Alibaba Cloud",
        Cloud::Huawei => "HUAWEI CLOUD",
        Cloud::Tencent => "Tencent Cloud",
    }
}

fn apis_of(cloud: Cloud) -> impl Iterator<Item = &'static TaskApi> {
    APIS.iter().copied().filter(move |api| api.facts.cloud == cloud)
}

/// The link to an API's part of its vendor's page, from `docs/apis.md`.
fn link(api: &TaskApi) -> String {
    let Facts { name, cloud, .. } = api.facts;
    format!("[`{name}`](apis/{cloud}.md#{name})")
}

/// What can be compared at a glance, for every API.
fn comparison() -> String {
    let mut table = String::from(
        "| `api` | product | finds tasks by | tells | calls a poll | discovery |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for api in APIS {
        let shown = Detail::ALL.into_iter().filter(|&detail| api.facts.shows(detail));
        let shown: Vec<&str> = shown.map(Detail::as_str).collect();
        let counts = [1, 100, 1000].map(|count| Calls::of(api, count));
        let row = |of: fn(&Calls) -> usize| {
            let [one, hundred, thousand] = counts.each_ref().map(of);
            if one == thousand {
                one.to_string()
            } else {
                format!("{one} / {hundred} / {thousand}")
            }
        };
        let discovery = if api.discovers() { row(|calls| calls.discovery) } else { "-".to_owned() };
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {discovery} |",
            link(api),
            api.facts.product,
            api.facts.finds,
            shown.join(", "),
            row(|calls| calls.poll),
        )
        .unwrap();
    }
    table
}

/// What one poll takes.
struct Calls {
    /// The lists.
    poll: usize,
    /// The search for clusters and instances.
    discovery: usize,
}

impl Calls {
    /// Counted against the simulated vendor, in a region with so many instances and no tasks.
    fn of(api: &TaskApi, count: usize) -> Self {
        let target = target(api, "cn-north-4", 8);
        let resources: Vec<_> = (1..=count)
            .map(|n| Arc::new(Resource::new(format!("0123456789abcdef{n:016x}in02"))))
            .collect();
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let world = World { now, target: &target, resources: &resources, tasks: &[] };
        let since = now.saturating_sub(Duration::from_hours(1));
        let scope = Scope { now, since, resources: &[], tags: &[] };
        let Some(discover) = api.discover(&scope) else {
            return Self { poll: answered(api, &world, api.list(&scope)).0, discovery: 0 };
        };
        let (discovery, found) = answered(api, &world, vec![discover]);
        assert_eq!(found.len(), count, "{}", api.facts.name);
        let lists = api.list(&Scope { resources: &found, ..scope });
        Self { poll: answered(api, &world, lists).0, discovery }
    }
}

/// How many calls these queries take with all their pages, and the resources that they find.
fn answered(api: &TaskApi, world: &World<'_>, queries: Vec<Query>) -> (usize, Vec<Arc<Resource>>) {
    let (mut calls, mut resources) = (0, Vec::new());
    for query in queries {
        let (mut next, mut pages) = (Some(query), Pages::default());
        while let Some(query) = next {
            let request = api.facts.cloud.request(world.target, &query);
            let answer = world.answer(api, &request).unwrap();
            assert!(api.facts.cloud.refusal(&answer).is_none(), "{query:?}: {answer:?}");
            let mut page = pages.take(&query, api.decode(world.target, &query, &answer).unwrap());
            resources.append(&mut page.resources);
            next = page.next.pop();
            calls += 1;
        }
    }
    (calls, resources)
}

/// `docs/apis/<cloud>.md`, from `APIS`.
fn vendor_page(cloud: Cloud) -> String {
    let mut page = format!(
        "# Task APIs of {}

This page is written from `APIS` in `crates/clouds/src/catalog.rs`; a test keeps them equal (`UPDATE_DOCS=1 cargo
test --test it docs` writes it anew). [What holds for all APIs](../apis.md) is on a page of its own.

| `api` | product |
| --- | --- |
",
        vendor(cloud)
    );
    for api in apis_of(cloud) {
        let Facts { name, product, .. } = api.facts;
        writeln!(page, "| [`{name}`](#{name}) | {product} |").unwrap();
    }
    for api in apis_of(cloud) {
        describe(&mut page, api);
    }
    page
}

fn describe(page: &mut String, api: &TaskApi) {
    let facts = &api.facts;
    writeln!(page, "\n<a id=\"{0}\"></a>\n\n## {1} (`{0}`)\n", facts.name, facts.product).unwrap();
    writeln!(page, "Finds tasks by {}. Reference: <{}>\n", facts.finds, facts.doc).unwrap();
    writeln!(page, "| Operation | Permission | Calls a second |\n| --- | --- | --- |").unwrap();
    for operation in facts.operations {
        let (name, permission) = (operation.name, operation.permission);
        writeln!(page, "| `{name}` | `{permission}` | {} |", operation.per_second).unwrap();
    }
    writeln!(page, "\n| State | Status words |\n| --- | --- |").unwrap();
    for state in TaskState::ALL {
        let words: Vec<String> = facts
            .statuses
            .iter()
            .filter(|&&(_, known)| known == state)
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            writeln!(page, "| `{}` | {} |", state.as_str(), words.join(", ")).unwrap();
        }
    }
    page.push('\n');
    for line in lines(api) {
        writeln!(page, "- {line}").unwrap();
    }
    hosts(page, api);
}

/// What there is to know of an API, a line each.
fn lines(api: &TaskApi) -> Vec<String> {
    let facts = &api.facts;
    let mut lines = Vec::new();
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let resources = [Arc::new(Resource::new("any"))];
    let queries = api.list(&Scope { now, since: now, resources: &resources, tags: &[] });
    let lists_ended = queries.iter().any(|query| query.since.is_some());
    lines.push(match facts.list_window {
        Some(window) => {
            let days = window.as_secs() / 86_400;
            format!("Its list of ended tasks reaches back {days} days, as the vendor documents.")
        }
        None if lists_ended => "How far back its list of ended tasks reaches is not documented. It is trusted for the `lookback`.".to_owned(),
        None if queries.is_empty() && !api.discovers() => "There is no list: only ids that are given are watched, one call each and poll until they end. They come by `tasks`, by a tasks file or by registration.".to_owned(),
        None => "It lists what goes on now, not what has ended.".to_owned(),
    });
    if api.discovers() {
        lines.push("Clusters and instances must be known before tasks can be listed. They are discovered, unless `resources` names them.".to_owned());
    }
    if let Some(least) = api.client.least_interval() {
        let minutes = least.as_secs() / 60;
        lines.push(format!("It is polled every {minutes} minutes, whatever `poll` says for all. `poll.interval` of the source overrides that."));
    }
    if !queries.is_empty() {
        lines.push(of_resources(api));
    }
    if goes_by_tags(api) {
        let by = if api.discovers() { "filter the discovery" } else { "are asked for" };
        lines.push(format!("`tags` {by}."));
    }
    match facts.ids {
        Some(rule) => {
            let needs = match rule.needs {
                Needs::Nothing => "nothing else",
                Needs::Resource | Needs::ResourceOrStart => "`resource` beside it",
            };
            lines.push(format!(
                "One task is asked for by its id: {}. An entry of `tasks` needs {needs}.",
                rule.looks_like
            ));
        }
        None => lines.push("It cannot be asked for one task.".to_owned()),
    }
    if facts.error_by_id {
        lines.push("A failed task is asked for its error text by a call of its own.".to_owned());
    } else if !facts.shows(Detail::Error) {
        lines.push("It does not tell why a task failed.".to_owned());
    }
    for same in facts.same_tasks_as {
        let (other, advice) = (same.api, same.advice);
        lines.push(format!("It shows the same operations as `{other}`, under other ids: {advice}. With a source of each they are counted twice, and `check` warns of that."));
    }
    lines.extend(facts.notes.iter().map(|&note| note.to_owned()));
    lines
}

/// What an API makes of `resources`.
fn of_resources(api: &TaskApi) -> String {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let list = |count: usize| {
        let resources: Vec<_> =
            (0..count).map(|n| Arc::new(Resource::new(format!("db-{n}")))).collect();
        api.list(&Scope { now, since: now, resources: &resources, tags: &[] })
    };
    let (none, one, many) = (list(0), list(1), list(1000));
    let most = many.iter().map(|query| query.resources.len()).max().unwrap_or_default();
    let calls = |count: usize| {
        if count == 1 { "One call is".to_owned() } else { format!("{count} calls are") }
    };
    if many.len() == one.len() && most == 1000 {
        "`resources` filters here: the list is asked for as a whole, so one that does not exist is not noticed.".to_owned()
    } else if most > 1 {
        format!(
            "{} made for up to {most} of `resources`. The vendor leaves out one that does not exist without a word.",
            calls(one.len())
        )
    } else if many == none {
        "`resources` filters here.".to_owned()
    } else {
        format!(
            "{} made for each of `resources`. One that does not exist is named in the log and counted in `dbtask_source_resources_missing`.",
            calls(one.len())
        )
    }
}

fn goes_by_tags(api: &TaskApi) -> bool {
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let queries = |tags: &[(String, String)]| {
        let scope = Scope { now, since: now, resources: &[], tags };
        api.list(&scope).into_iter().chain(api.discover(&scope)).collect::<Vec<_>>()
    };
    queries(&[("key".to_owned(), "value".to_owned())]) != queries(&[])
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
    if let Some(public) = endpoints.all_regions {
        let all = Addresses { public, vpc: None, intl: None };
        page.push_str(&row("`all`: every region at once", &all));
    }
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
fn the_pages_of_apis_are_what_the_list_says() {
    check_between("docs/apis.md", "comparison", &comparison());
    for cloud in Cloud::ALL {
        check_whole(&format!("docs/apis/{cloud}.md"), &vendor_page(cloud));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/apis");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), Cloud::ALL.len());
}

/// The README's table of APIs.
fn readme_apis() -> String {
    let mut table =
        String::from("| `api:` | product | calls | finds tasks by |\n| --- | --- | --- | --- |\n");
    for api in APIS {
        let Facts { name, product, cloud, operations, finds, .. } = api.facts;
        let operations: Vec<String> =
            operations.iter().map(|operation| format!("`{}`", operation.name)).collect();
        let operations = operations.join(", ");
        writeln!(
            table,
            "| [`{name}`](docs/apis/{cloud}.md#{name}) | {product} | {operations} | {finds} |"
        )
        .unwrap();
    }
    table
}

/// The README's table of metrics.
fn readme_metrics() -> String {
    let mut table = String::from("| Metric | Meaning |\n| --- | --- |\n");
    for family in FAMILIES {
        writeln!(table, "| `{}` | {} |", family.name, family.help).unwrap();
    }
    table
}

#[test]
fn the_tables_of_the_readme_are_what_the_lists_say() {
    check_between("README.md", "apis", &readme_apis());
    check_between("README.md", "metrics", &readme_metrics());
}

/// The schema of the chart takes the APIs that there are. It is text, so that its order stays.
#[test]
fn the_chart_takes_every_api_and_no_other() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/dbtask-exporter/values.schema.json");
    let schema = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = schema.split_once("\"taskApi\": {\n").unwrap();
    let (kind, rest) = rest.split_once("\"enum\": [\n").unwrap();
    let (found, tail) = rest.split_once("          ]").unwrap();
    let names: Vec<String> =
        APIS.iter().map(|api| format!("            \"{}\"", api.facts.name)).collect();
    let expected = names.join(",\n") + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let schema =
            format!("{head}\"taskApi\": {{\n{kind}\"enum\": [\n{expected}          ]{tail}");
        std::fs::write(path, schema).unwrap();
    } else {
        assert!(found == expected, "the schema is old: UPDATE_DOCS=1 cargo test --test it docs");
    }
}

/// Between them, the recorded answers of an API tell what its facts say, and nothing else.
#[test]
fn every_api_tells_of_a_task_what_its_page_says() {
    for api in APIS {
        let texts = golden_texts(api);
        if texts.is_empty() {
            // Its answers are compared in another way, in a file of its own.
            continue;
        }
        for detail in Detail::ALL {
            let word = match detail {
                Detail::Progress => " progress ",
                Detail::Remaining => " remaining ",
                Detail::Steps => " steps ",
                Detail::Created => " created ",
                Detail::Scheduled => " scheduled ",
                Detail::Started => " started ",
                Detail::Ended => " ended ",
                Detail::Error => ", error ",
            };
            let told = texts.contains(word);
            assert_eq!(told, api.facts.shows(detail), "{}: {word}", api.facts.name);
        }
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
fn the_readme_tells_the_two_commands() {
    let readme = include_str!("../../README.md");
    for command in ["cargo run --release -- demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = ["docs", "docs/apis"].into_iter().flat_map(|folder| {
        std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path())
    });
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
