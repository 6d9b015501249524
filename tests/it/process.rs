//! The program as a process: what it logs, how it ends.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test]
async fn sigterm_ends_it_well_in_five_seconds_though_a_key_file_hangs() {
    let folder = std::env::temp_dir().join(format!("dbtask-exporter-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Whoever opens a pipe to read waits for a writer, as for a server that does not answer.
    let pipe = folder.join("secret-key");
    let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
    assert!(made.success());
    let config = folder.join("config.yml");
    let text = format!(
        "poll: {{interval: 1s}}\n\
         credentials: [{{name: a, cloud: tencent, secret_id: AKID, secret_key_file: {}}}]\n\
         sources: [{{name: one, api: tencent_cdb, region: ap-guangzhou, credentials: a}}]\n",
        pipe.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut exporter = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
        .arg("--config.file")
        .arg(&config)
        .args(["--web.listen-address", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(exporter.stderr.take().unwrap()).lines();
    while !log.next_line().await.unwrap().unwrap().contains("serving") {}
    // The first poll comes within the interval.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let id = exporter.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = timeout(Duration::from_secs(5), exporter.wait()).await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(ended.expect("it hangs").unwrap().success());
}

#[tokio::test]
async fn a_refused_tasks_file_is_one_line_in_the_log_with_every_problem() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = folder.path().join("tasks.yml");
    std::fs::write(&tasks, "[{id: 2, resource: am-1}]").unwrap();
    let config = folder.path().join("config.yml");
    let text = "sources:\n  - {name: one, api: alibaba_adb, region: cn-hangzhou, endpoint: 'http://127.0.0.1:1',\n\
                \x20    tasks: [{id: 1, resource: am-1}], tasks_file: tasks.yml}\n";
    std::fs::write(&config, text).unwrap();
    let mut exporter = Command::new(env!("CARGO_BIN_EXE_dbtask-exporter"))
        .arg("--config.file")
        .arg(&config)
        .args(["--web.listen-address", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(exporter.stderr.take().unwrap()).lines();
    while !log.next_line().await.unwrap().unwrap().contains("serving") {}
    let bad = "- {id: 3}\n- {id: 1, resource: am-1}\n";
    let good = "- {id: 3, resource: am-1}\n";
    let mut lines = Vec::new();
    for (version, told) in [(bad, "refused"), (good, "taken effect"), (bad, "refused")] {
        std::fs::write(&tasks, version).unwrap();
        let line = timeout(Duration::from_mins(1), async {
            loop {
                let line = log.next_line().await.unwrap().unwrap();
                if line.contains("tasks file") {
                    return line;
                }
            }
        });
        let line = line.await.expect("it is not noticed");
        assert!(line.contains(told), "{line}");
        lines.push(line.replace(tasks.to_str().unwrap(), "tasks.yml"));
    }
    exporter.kill().await.unwrap();
    let (_, line) = lines[0].split_once("message=").unwrap();
    assert_eq!(
        line,
        "\"the tasks file is refused, and the tasks before it stay: \
         tasks.yml:1:3: [0]: needs a `resource`: alibaba_adb finds a task only by both; \
         tasks.yml:2:3: [1]: the task \\\"1\\\" is listed twice\" source=one file=tasks.yml"
    );
}
