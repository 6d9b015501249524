//! What `docs/configuration.md` says of every key is what the program takes: which there are, which
//! are required, their defaults and their ranges.

use std::collections::BTreeSet;

use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_exporter::config::Config;
use dbtask_exporter::platform::environment::Environment;
use serde_json::{Value, json};

use crate::documented::{Page, Place, Row, Table, config, keys, outcome, spans, text};

/// A source of this cloud with what is required.
fn source(cloud: Cloud) -> Value {
    let (api, region) = match cloud {
        Cloud::Alibaba => ("alibaba_adb", "cn-hangzhou"),
        Cloud::Huawei => ("huawei_dds", "cn-north-4"),
        Cloud::Tencent => ("tencent_redis", "ap-guangzhou"),
    };
    json!({"name": "a", "api": api, "region": region})
}

fn of(cloud: Cloud) -> Value {
    json!({"sources": [source(cloud)]})
}

/// The word for a cloud in the documents.
fn written(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Alibaba => "Alibaba",
        Cloud::Huawei => "Huawei",
        Cloud::Tencent => "Tencent",
    }
}

#[test]
fn every_table_of_keys_is_compared() {
    assert_eq!(
        Page::read("configuration.md").headings(),
        [
            "The whole file",
            "A source",
            "An entry of `tasks`",
            "`poll`, `retention`, `limits`",
            "Registration",
            "Credentials",
            "Credentials",
            "A role"
        ]
    );
}

#[test]
fn the_keys_at_the_top_are_documented_as_they_are() {
    let rows = Page::read("configuration.md").rows("The whole file");
    let text = of(Cloud::Alibaba).to_string();
    let config = Config::parse(&text, "test.yml", &Environment::default()).unwrap();
    let place = Place::new(of(Cloud::Alibaba), "");
    place.has(keys(&rows));
    let below = "see [below](#poll-retention-limits)";
    let own_chain = config.sources[0].account == "default";
    place.check_all(
        &rows,
        &[
            ("credentials", "none", own_chain),
            // Compared with the tables of their own.
            ("poll", below, true),
            ("retention", below, true),
            ("limits", below, true),
            ("registration", "nobody", config.registration.is_none()),
        ],
    );
}

#[test]
fn the_keys_of_a_source_are_documented_as_they_are() {
    let rows = Page::read("configuration.md").rows("A source");
    for cloud in Cloud::ALL {
        let text = of(cloud).to_string();
        let config = Config::parse(&text, "test.yml", &Environment::default()).unwrap();
        let is = &config.sources[0];
        let place = Place::new(of(cloud), "/sources/0");
        place.has(keys(&rows));
        let (here, elsewhere): (Vec<_>, Vec<_>) = rows.iter().partition(|row| {
            let only = row.cell("meaning").split_once(" only: ");
            only.is_none_or(|(whose, _)| whose == written(cloud))
        });
        for row in elsewhere {
            let problems = place.problems(&row.key, &place.with(&row.key, json!({"a": "b"})));
            let message = problems.first().unwrap();
            assert!(message.contains(" only; ") || message.contains("cannot go by"), "{message}");
        }
        let mut words = BTreeSet::new();
        for row in here {
            let problems = place.problems(&row.key, &place.with(&row.key, json!([[]])));
            let is_refused = |text: &String| text.contains(" only; ") || text.contains("cannot go");
            assert!(!problems.iter().any(is_refused), "{problems:?}");
            let mut base = of(cloud);
            if row.key == "allow_plain_http" {
                base["sources"][0]["endpoint"] = "http://db.example.com".into();
            }
            words.extend(Place::new(base, "/sources/0").check(row));
        }
        let role = place.problems("role_arn", &place.with("role_arn", "x"));
        let below = "those at the top";
        let mut expected = vec![
            ("credentials", "the cloud's [default chain](#the-default-chain)", {
                is.account == "default"
            }),
            ("endpoint", "the vendor's public one", {
                is.target.endpoint == is.api.endpoint(&is.target.region)
            }),
            ("resources", "all", is.resources.is_empty()),
            ("tasks", "none", is.tasks.is_empty()),
            ("tasks_file", "none", is.tasks_file.is_none()),
            ("poll", below, true),
            ("retention", below, true),
            ("limits", below, true),
            (
                "proxy_url",
                "that of the environment, see [below](#proxies-and-private-authorities)",
                { is.proxy_url.is_none() },
            ),
            ("ca_file", "none", is.ca_file.is_none()),
            ("role_arn", "refused", role == ["belongs to an entry of `credentials`"]),
        ];
        match cloud {
            Cloud::Alibaba => expected.push(("tags", "any", is.tags.is_empty())),
            Cloud::Huawei => expected.push((
                "project_id",
                "asked from IAM; with the default chain first `HUAWEICLOUD_SDK_PROJECT_ID`",
                is.target.project_id.is_empty(),
            )),
            Cloud::Tencent => {}
        }
        assert!(expected.iter().all(|(_, _, is_true)| *is_true), "{expected:?}");
        let expected = expected.iter().map(|&(key, word, _)| (key.to_owned(), word.to_owned()));
        assert_eq!(words, expected.collect());
    }
}

#[test]
fn the_keys_of_a_task_are_documented_as_they_are() {
    let rows = Page::read("configuration.md").rows("An entry of `tasks`");
    let mut base = of(Cloud::Tencent);
    base["sources"][0]["tasks"] = json!([{"id": "1"}]);
    let place = Place::new(base.clone(), "/sources/0/tasks/0");
    place.has(keys(&rows));
    let without = Config::parse(&base.to_string(), "test.yml", &Environment::default()).unwrap();
    let is_none = without.sources[0].tasks[0].resource.is_none();
    place.check_all(&rows, &[("resource", "none", is_none)]);

    for api in APIS {
        let page = text(&format!("apis/{}.md", api.facts.cloud));
        let (_, section) = page.split_once(&format!("<a id=\"{}\">", api.facts.name)).unwrap();
        let section = section.split("<a id=").next().unwrap();
        let documented = section.contains("An entry of `tasks` needs `resource` beside it.");
        if api.facts.ids.is_none_or(|rule| !(rule.fits)("225685759")) {
            // Another id would be refused for what it looks like first.
            continue;
        }
        let mut base = of(api.facts.cloud);
        base["sources"][0]["api"] = api.facts.name.into();
        base["sources"][0]["tasks"] = json!([{"id": "225685759"}]);
        let problems = config(&base.to_string()).err().unwrap_or_default();
        let needs_both = problems.iter().any(|problem| problem.contains("needs a `resource`"));
        assert_eq!(needs_both, documented, "{}", api.facts.name);
    }
}

#[test]
fn the_keys_of_polls_retention_and_limits_are_documented_as_they_are() {
    let rows = Page::read("configuration.md").rows("`poll`, `retention`, `limits`");
    for (section, at_top, in_source) in [
        ("poll", "/poll", "/sources/0/poll"),
        ("retention", "/retention", "/sources/0/retention"),
        ("limits", "/limits", "/sources/0/limits"),
    ] {
        let mut base = of(Cloud::Alibaba);
        base[section] = json!({});
        base["sources"][0][section] = json!({});
        let of_section = |row: &Row| {
            let key = row.key.strip_prefix(section)?.strip_prefix('.')?.to_owned();
            Some(Row { key, cells: row.cells.clone() })
        };
        let rows: Vec<_> = rows.iter().filter_map(of_section).collect();
        for pointer in [at_top, in_source] {
            let place = Place::new(base.clone(), pointer);
            place.has(keys(&rows));
            place.check_all(&rows, &[]);
        }
    }
    assert!(rows.iter().all(|row| {
        ["poll.", "retention.", "limits."].iter().any(|section| row.key.starts_with(section))
    }));

    // Two defaults depend on the interval.
    let cell = |key| rows.iter().find(|row| row.key == key).unwrap().cell("default");
    assert_eq!(cell("poll.idle_interval"), "`2m`, or `interval` if that is longer");
    assert_eq!(cell("poll.stale_after"), "`15m`, or three intervals if that is longer");
    let mut base = of(Cloud::Alibaba);
    base["poll"] = json!({"interval": "10m"});
    let longer = config(&base.to_string());
    base["poll"] = json!({"interval": "10m", "idle_interval": "10m", "stale_after": "30m"});
    assert_eq!(longer, config(&base.to_string()));
}

#[test]
fn the_keys_of_registration_are_documented_as_they_are() {
    let rows = Page::read("configuration.md").rows("Registration");
    let mut base = of(Cloud::Alibaba);
    base["registration"] = json!({"token_file": "token"});
    let place = Place::new(base, "/registration");
    place.has(keys(&rows));
    place.check_all(&rows, &[]);
}

#[test]
fn the_keys_of_credentials_are_documented_as_they_are() {
    let page = Page::read("configuration.md");
    let general = page.rows("Credentials");
    let user = user_rows(&page);
    let role = page.rows("A role");
    let words = page.table("Credentials", "cloud");
    for cloud in Cloud::ALL {
        let own_words = words.rows.iter().find(|row| spans(&row[0]) == [cloud.as_str()]).unwrap();
        let own_words: Vec<_> = own_words[1..].iter().flat_map(|cell| spans(cell)).collect();
        let spelled = own_words
            .iter()
            .flat_map(|word| [word.clone(), format!("{word}_env"), format!("{word}_file")])
            .collect::<Vec<_>>();
        let is_own = |row: &&Row| {
            let whose = row.cell("cloud");
            whose == "all" || whose.split(", ").any(|whose| whose == written(cloud))
        };
        let role: Vec<_> = role.iter().filter(is_own).collect();
        let user = if cloud == Cloud::Huawei { user.as_slice() } else { &[] };

        let mut base = of(cloud);
        base["sources"][0]["credentials"] = "k".into();
        base["credentials"] = json!([{"name": "k", "cloud": cloud.as_str()}]);
        for word in &own_words[..2] {
            base["credentials"][0][word] = "x".into();
        }
        let place = Place::new(base.clone(), "/credentials/0");
        place.has(
            keys(&general)
                .chain(keys(user))
                .chain(role.iter().map(|row| row.key.clone()))
                .chain(spelled.iter().cloned()),
        );
        for key in &spelled {
            let read = place.problems(key, &place.with(key, json!([[]])));
            assert!(!read.is_empty() || base["credentials"][0].get(key).is_some(), "{key}");
        }
        let shown = config(&base.to_string()).unwrap();
        assert!(shown.contains("role: None"), "{shown}");
        place.check_all(
            &general,
            &[("daily_budget", "as many as it takes", shown.contains("daily_budget: None"))],
        );
        for row in user {
            assert_eq!(place.check(row), Some((row.key.clone(), "none".to_owned())));
        }
        check_role(&role, base, cloud);
    }
}

/// The rows of Huawei's user, in the second table of its section.
fn user_rows(page: &Page) -> Vec<Row> {
    let mut tables = page.0.iter().filter(|table| table.heading == "Credentials");
    let table = tables.rfind(|table| table.columns[0] == "key").unwrap();
    let columns = table.columns.clone();
    let copy = Table { heading: "user".to_owned(), columns, rows: table.rows.clone() };
    Page(vec![copy]).rows("user")
}

#[test]
fn a_user_of_huawei_asks_iam_in_the_region_of_the_project() {
    let mut base = of(Cloud::Huawei);
    base["sources"][0]["credentials"] = "k".into();
    base["credentials"] = json!([{
        "name": "k", "cloud": "huawei", "user_name": "u", "domain_name": "d", "password": "p",
        "project_name": "cn-north-4_orders",
    }]);
    let place = Place::new(base.clone(), "/credentials/0");
    for key in ["user_name", "domain_name", "project_name"] {
        let problems = place.problems(key, &place.without(key));
        assert_eq!(problems, ["is required"]);
    }
    let explicit = place.with("sts_endpoint", "https://iam.cn-north-4.myhuaweicloud.com");
    assert_eq!(explicit, config(&base.to_string()));
    assert!(text("configuration.md").contains("`https://iam.<region>.myhuaweicloud.com`"));
}

/// The keys of a role, in an entry that has one.
fn check_role(rows: &[&Row], mut base: Value, cloud: Cloud) {
    let entry = &mut base["credentials"][0];
    match cloud {
        Cloud::Alibaba | Cloud::Tencent => entry["role_arn"] = "role".into(),
        Cloud::Huawei => {
            entry["agency_name"] = "agency".into();
            entry["agency_domain"] = "domain".into();
        }
    }
    let place = Place::new(base.clone(), "/credentials/0");
    let endpoint = match cloud {
        Cloud::Alibaba => "https://sts.aliyuncs.com",
        Cloud::Huawei => "https://iam.myhuaweicloud.com",
        Cloud::Tencent => "https://sts.tencentcloudapi.com",
    };
    assert_eq!(place.with("sts_endpoint", endpoint), config(&base.to_string()));
    assert!(text("configuration.md").contains(&format!("`{endpoint}`")), "{endpoint}");
    for row in rows {
        let words = place.check(row).map(|(_, words)| words);
        let expected = match row.key.as_str() {
            "session_name" | "session_duration" => None,
            "sts_endpoint" => Some("the one for all regions, see below"),
            _ => Some("none"),
        };
        assert_eq!(words.as_deref(), expected, "{}", row.key);
    }
}

#[test]
fn the_variables_are_documented_as_they_are() {
    let page = Page::read("configuration.md");
    let rows = &page.table("From the environment", "variable").rows;
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| spans(&row[0])).collect();
    let environment = |variables: &[(&str, &str)]| {
        let variables: Environment = variables.iter().copied().collect();
        outcome(Config::from_environment(&variables))
    };
    let problems = environment(&[("DBTASK_Q", "x")]).unwrap_err();
    let known = problems
        .iter()
        .find_map(|text| text.strip_prefix("DBTASK_Q: unknown variable; there are "))
        .unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(documented, known.split(", ").map(str::to_owned).collect());
    // All of a source but what stands elsewhere, section by section.
    let source = page.rows("A source");
    let elsewhere = ["credentials", "poll", "retention", "limits", "enabled", "role_arn"];
    let of_source = keys(&source).filter(|key| !elsewhere.contains(&key.as_str()));
    let timing = page.rows("`poll`, `retention`, `limits`");
    let variables = of_source
        .chain(keys(&timing))
        .map(|key| format!("DBTASK_{}", key.replace('.', "_").to_uppercase()));
    assert_eq!(documented, variables.collect());

    let required = ["DBTASK_API: is required", "DBTASK_REGION: is required"];
    assert!(required.iter().all(|text| problems.contains(*text)), "{problems:?}");
    let given = [("DBTASK_API", "tencent_redis"), ("DBTASK_REGION", "ap-guangzhou")];
    let named = [given.as_slice(), &[("DBTASK_NAME", "tencent_redis")]].concat();
    let config = |variables: &[(&str, &str)]| {
        Config::from_environment(&variables.iter().copied().collect()).unwrap()
    };
    assert!(config(&given).sources[0].name == config(&named).sources[0].name);
}
