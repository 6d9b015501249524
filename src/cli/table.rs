//! Tables on a terminal, or in a pipe.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::Ratio;
use dbtask_clouds::policy::Policy;
use unicode_width::UnicodeWidthStr as _;

use crate::collect::check;
use crate::collect::check::Finding;
use crate::config::{Config, SourceConfig};
use crate::platform::printable::printable;
use crate::snapshot::{Snapshot, Tracked};

/// Cells of a progress bar.
const BAR: usize = 10;
/// Seconds from which on a difference of clocks is shown: less may be the answer's way.
const NOTABLE_SKEW: u64 = 10;

/// Every task of `snapshots`, one line each, then what could not be polled. On a terminal progress
/// has a bar. Ends with a line end.
pub fn tasks(snapshots: &[Arc<Snapshot>], is_terminal: bool) -> String {
    let rows: Vec<_> = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.tasks.iter().map(move |task| (snapshot, task)))
        .map(|(snapshot, task)| task_row(&snapshot.source.name, task, is_terminal))
        .collect();
    let mut text = if rows.is_empty() {
        "no tasks\n".to_owned()
    } else {
        aligned(
            [
                "SOURCE",
                "ID",
                "KIND",
                "RESOURCE",
                "STATE",
                "PROGRESS",
                "REMAINING",
                "STARTED",
                "ERROR",
            ],
            &rows,
        )
    };
    for snapshot in snapshots {
        let name = printable(&snapshot.source.name);
        if !snapshot.hidden.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}: {} more not shown", snapshot.hidden.len());
        }
        if !snapshot.up {
            let reason = snapshot.last_error.as_deref().unwrap_or("not polled yet");
            let _ = writeln!(text, "{name}: {}", printable(reason));
        }
        for failing in &snapshot.failing_resources {
            let (id, message) = (printable(&failing.id), printable(&failing.message));
            let _ = writeln!(text, "{name}: {id}: {message}");
        }
        if let Some(failing) = &snapshot.failing_discovery {
            let _ =
                writeln!(text, "{name}: {}: {}", failing.operation, printable(&failing.message));
        }
    }
    text
}

fn task_row(source: &str, Tracked { task, .. }: &Tracked, is_terminal: bool) -> [String; 9] {
    let error = task.error.as_ref().map(|error| match (&*error.code, &*error.message) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    });
    [
        source.to_owned(),
        task.id.to_string(),
        task.kind.to_string(),
        task.resource.name.as_deref().unwrap_or(&task.resource.id).to_owned(),
        task.state.as_str().to_owned(),
        task.progress.map(|ratio| progress(ratio, is_terminal)).unwrap_or_default(),
        task.remaining.map(remaining).unwrap_or_default(),
        task.started.map(|time| time.to_string()).unwrap_or_default(),
        error.unwrap_or_default(),
    ]
}

/// `42%`, on a terminal after a bar.
fn progress(ratio: Ratio, is_terminal: bool) -> String {
    let ratio = ratio.get();
    // Rounded down: 99.9 % is not done. But 0.53 is a little less than that in binary.
    let percent = format!("{:.0}%", (ratio * 100.0 + 0.001).floor());
    if !is_terminal {
        return percent;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a ratio is between 0 and 1, and the bar is short"
    )]
    let filled = (ratio * BAR as f32).floor() as usize;
    let bar = "█".repeat(filled) + &"░".repeat(BAR.saturating_sub(filled));
    format!("{bar} {percent:>4}")
}

/// The two largest units: `2h 5m`.
fn remaining(duration: Duration) -> String {
    let duration = Duration::from_secs(duration.as_secs());
    let words = humantime::format_duration(duration).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// What a configuration amounts to, one line for each source, and what will hurt though it is valid.
pub fn sources(config: &Config) -> String {
    let rows: Vec<_> = config
        .sources
        .iter()
        .map(|source| {
            [
                source.name.clone(),
                source.api.facts.name.to_owned(),
                source.api.facts.cloud.to_string(),
                source.target.region.clone(),
                source.target.endpoint.clone(),
                source.account.clone(),
            ]
        })
        .collect();
    let mut text = aligned(["SOURCE", "API", "CLOUD", "REGION", "ENDPOINT", "ACCOUNT"], &rows);
    for name in &config.disabled {
        let _ = writeln!(text, "{name}: disabled");
    }
    for warning in config.warnings() {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// What questions to the sources of `config` have shown, what helps where something is wrong, and
/// the policies to grant.
pub fn findings(config: &Config, findings: &[Finding]) -> String {
    let rows: Vec<_> = findings.iter().map(finding_row).collect();
    let headings = ["SOURCE", "API", "ASKED", "REACHABLE", "CLOCK", "SIGNATURE", "PERMISSION"];
    let mut text = aligned(headings, &rows);
    for finding in findings {
        for trouble in &finding.trouble {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {}", finding.source.name, printable(trouble));
        }
    }
    for finding in findings {
        let is_its = |it: &&SourceConfig| it.name == finding.source.name;
        let Some(source) = config.sources.iter().find(is_its) else { continue };
        let untried = check::untried(source, finding);
        if !untried.is_empty() {
            let _ = writeln!(text, "{}: not tried: {}", source.name, untried.join(", "));
        }
    }
    for (cloud, account, policies) in check::grants(config, findings) {
        for Policy { title, document } in policies {
            let _ = writeln!(text, "\nGrant to {account} ({cloud}), {title}:\n{document}");
        }
    }
    text
}

fn finding_row(finding: &Finding) -> [String; 7] {
    let clock = match finding.skew {
        Some(skew) if skew.unsigned_abs() >= NOTABLE_SKEW => {
            let by = remaining(Duration::from_secs(skew.unsigned_abs()));
            let side = if skew > 0 { "behind" } else { "ahead" };
            format!("{}, {by} {side}", finding.clock)
        }
        Some(_) | None => finding.clock.to_string(),
    };
    [
        finding.source.name.clone(),
        finding.source.api.to_owned(),
        finding.operation.name.to_owned(),
        finding.reachable.to_string(),
        clock,
        finding.signature.to_string(),
        finding.permission.to_string(),
    ]
}

/// A table with a line of headings. Cells are made [`printable`], empty ones become `-`, and wide
/// characters count for two columns.
fn aligned<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let headings = headings.map(str::to_owned);
    let cell = |text: &String| match printable(text) {
        text if text.is_empty() => "-".to_owned(),
        text => text.into_owned(),
    };
    let lines: Vec<[String; N]> =
        std::iter::once(&headings).chain(rows).map(|row| row.each_ref().map(cell)).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.width().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (width, cell) in widths.iter().zip(line) {
            row.push_str(cell);
            row.push_str(&" ".repeat(width - cell.width() + 2));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use dbtask_clouds::model::{Resource, Task, TaskError, TaskState, Timestamp};
    use dbtask_clouds::reason::Reason;

    use super::*;
    use crate::collect::check::Verdict;
    use crate::platform::environment::Environment;
    use crate::snapshot::{FailingDiscovery, FailingResource, SourceInfo};

    fn snapshot(tasks: Vec<Task>) -> Snapshot {
        let source = SourceInfo { name: "mysql-gz".to_owned(), ..SourceInfo::default() };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let tracked = |task| Tracked {
            task,
            last_seen: now,
            progress_changed: now,
            estimated_end: None,
            settled: None,
        };
        Snapshot {
            tried: true,
            up: true,
            tasks: tasks.into_iter().map(tracked).collect(),
            ..Snapshot::before_first_poll(Arc::new(source), Duration::from_secs(30))
        }
    }

    fn running(id: &str) -> Task {
        Task {
            kind: "ROLLBACK".into(),
            resource: Arc::new(Resource { id: "cdb-1".into(), name: Some("订单库".into()) }),
            progress: Ratio::clamped(0.429),
            remaining: Some(Duration::from_millis(7_505_900)),
            started: Timestamp::from_second(1_700_000_000),
            ..Task::new(id, TaskState::Running, "RUNNING")
        }
    }

    fn failed() -> Task {
        Task {
            error: Some(Box::new(TaskError {
                code: "E1".into(),
                message: "no space\nmysql-gz  2  forged".into(),
            })),
            ..Task::new("\u{1b}[2J", TaskState::Failed, "FAILED")
        }
    }

    #[test]
    fn in_a_pipe_columns_align_whatever_is_in_them() {
        let snapshots = [Arc::new(snapshot(vec![running("1"), failed()]))];
        assert_eq!(
            tasks(&snapshots, false),
            r"SOURCE    ID         KIND      RESOURCE  STATE    PROGRESS  REMAINING  STARTED               ERROR
mysql-gz  1          ROLLBACK  订单库    running  42%       2h 5m      2023-11-14T22:13:20Z  -
mysql-gz  \u{1b}[2J  -         -         failed   -         -          -                     E1: no space\nmysql-gz  2  forged
"
        );
    }

    #[test]
    fn on_a_terminal_progress_has_a_bar() {
        let ratio = |value| Ratio::clamped(value).unwrap();
        assert_eq!(progress(ratio(0.0), true), "░░░░░░░░░░   0%");
        assert_eq!(progress(ratio(0.429), true), "████░░░░░░  42%");
        assert_eq!(progress(ratio(0.999), true), "█████████░  99%");
        assert_eq!(progress(ratio(1.0), true), "██████████ 100%");
    }

    #[test]
    fn a_whole_percentage_is_shown_as_the_vendor_said_it() {
        for percent in 0..=100 {
            let ratio = Ratio::clamped(f64::from(percent) / 100.0).unwrap();
            assert_eq!(progress(ratio, false), format!("{percent}%"));
        }
    }

    #[test]
    fn the_words_of_a_vendor_cannot_move_the_cursor_of_who_checks() {
        let config = Config::parse(
            "sources: [{name: a, api: tencent_cdb, region: ap-guangzhou}]",
            "a.yml",
            &Environment::default(),
        );
        let source = SourceInfo {
            name: "a".to_owned(),
            cloud: "tencent",
            api: "tencent_cdb",
            account: "default".to_owned(),
            ..SourceInfo::default()
        };
        let finding = Finding {
            source: Arc::new(source),
            operation: dbtask_clouds::catalog::named("tencent_cdb").unwrap().facts.operations[0],
            reachable: Verdict::Yes,
            clock: Verdict::Yes,
            skew: Some(-75),
            signature: Verdict::Yes,
            permission: Verdict::No,
            trouble: vec!["Code: \u{1b}[2J\u{202e}\nb: all is well".to_owned()],
        };
        assert_eq!(
            findings(&config.unwrap(), &[finding]),
            r#"SOURCE  API          ASKED          REACHABLE  CLOCK              SIGNATURE  PERMISSION
a       tencent_cdb  DescribeTasks  yes        yes, 1m 15s ahead  yes        no
a: Code: \u{1b}[2J\u{202e}\nb: all is well

Grant to default (tencent), CAM policy:
{
  "version": "2.0",
  "statement": [
    {
      "effect": "allow",
      "action": [
        "cdb:DescribeTasks"
      ],
      "resource": ["*"]
    }
  ]
}
"#
        );
    }

    #[test]
    fn what_could_not_be_polled_is_said() {
        let down = Snapshot {
            up: false,
            hidden: snapshot(["1", "2", "3"].map(running).into()).tasks,
            last_error: Some("AuthFailure: no\nsuch key".to_owned()),
            ..snapshot(Vec::new())
        };
        assert_eq!(
            tasks(&[Arc::new(down)], false),
            "no tasks\nmysql-gz: 3 more not shown\nmysql-gz: AuthFailure: no\\nsuch key\n"
        );
        let message = "no\npermission".to_owned();
        let failing = FailingResource { id: "cdb-2".into(), reason: Reason::Auth, message };
        let partly = Snapshot { failing_resources: vec![failing], ..snapshot(Vec::new()) };
        assert_eq!(
            tasks(&[Arc::new(partly)], false),
            "no tasks\nmysql-gz: cdb-2: no\\npermission\n"
        );
        let failing = FailingDiscovery {
            operation: "DescribeDBClusters",
            reason: Reason::Auth,
            message: "not\nyou".to_owned(),
        };
        let partly = Snapshot { failing_discovery: Some(failing), ..snapshot(Vec::new()) };
        assert_eq!(
            tasks(&[Arc::new(partly)], false),
            "no tasks\nmysql-gz: DescribeDBClusters: not\\nyou\n"
        );
    }
}
