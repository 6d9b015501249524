//! The journal on a disk in trouble: the program goes on, and writes what it kept when it can.
//!
//! The disk is a small file system in a mount namespace of its own, which needs no privilege and is
//! gone with the process that holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbtask_exporter::platform::clock::Clock;
use dbtask_simulator::{Scenario, SimulatedCloud};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::child::{Exporter, all_up, counted, failures};

const WRITTEN: &str = "dbtask_exporter_journal_last_write_successful 1\n";
const NOT_WRITTEN: &str = "dbtask_exporter_journal_last_write_successful 0\n";

/// A disk of 128 KiB.
struct Disk {
    holder: Child,
    place: PathBuf,
}

impl Disk {
    async fn mount(place: &Path) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let script =
            "mount -t tmpfs -o size=128k disk \"$0\" && touch \"$0/there\" && exec sleep 600";
        let mut holder = Command::new("unshare");
        holder.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(place);
        let holder = holder.kill_on_drop(true).spawn().unwrap();
        let disk = Self { holder, place: place.to_owned() };
        for _ in 0..300 {
            if disk.path("there").exists() {
                return disk;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("there is no disk: this test needs user or mount namespaces");
    }

    /// A command that runs where the disk is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().unwrap().to_string();
        command.args(["--user", "--preserve-credentials", "--mount", "--target", &holder, program]);
        command
    }

    fn start(&self, config: &Path) -> Exporter {
        let program = self.command(env!("CARGO_BIN_EXE_dbtask-exporter"));
        Exporter::start_as(program, config, &self.place.join("journal"))
    }

    /// A file on the disk, as it is seen from outside.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id().unwrap()));
        root.join(self.place.strip_prefix("/").unwrap()).join(name)
    }

    async fn remount(&self, option: &str) {
        let mut command = self.command("mount");
        command.args(["-o", &format!("remount,{option}")]).arg(&self.place);
        assert!(command.status().await.unwrap().success(), "remount,{option}");
    }

    fn fill(&self) {
        let filled = std::fs::write(self.path("filler"), vec![1; 1 << 20]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
}

/// A cloud in which a task fails every second from the eighth to the 21st.
struct World {
    cloud: Arc<SimulatedCloud>,
    folder: TempDir,
    stop: CancellationToken,
}

impl World {
    async fn start() -> Self {
        let task = |number: u64| {
            // So far apart that some are left for the second and the third process, though each of
            // them shows what it counts after a minute.
            let second = 7 + 10 * number;
            format!(
                "{{id: '{number}', resource: cdb-1, kind: A, life: [{{run: {{for: {second}s}}}}, {{fail: {{}}}}]}},"
            )
        };
        let tasks: String = (1..=14).map(task).collect();
        let text = format!(
            "sources: [{{name: mysql, api: tencent_cdb, region: ap-guangzhou,
              resources: [{{id: cdb-1}}], tasks: [{tasks}]}}]"
        );
        let scenario = Scenario::parse(&text).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, || Clock::System.now()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = cloud.configuration(&format!("http://{}", listener.local_addr().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let fast =
            text.replace("interval: 2s", "interval: 1s").replace("interval: 5s", "interval: 1s");
        std::fs::write(folder.path().join("config.yml"), fast).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&cloud).serve(listener, stop.clone()));
        Self { cloud, folder, stop }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.yml")
    }

    /// Waits until every task has failed and been counted, and no more than that.
    async fn check(self, exporter: Exporter) {
        let all = |text: &str| {
            self.cloud.failures().len() == 14 && counted(text) == failures(&self.cloud)
        };
        exporter.until("every failure", all).await;
        sleep(Duration::from_secs(3)).await;
        assert!(all(&exporter.scrape().await.unwrap()), "not one more later");
        exporter.kill().await;
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_doubles_nothing() {
    let world = World::start().await;
    let disk = Disk::mount(&world.folder.path().join("disk")).await;
    let exporter = disk.start(&world.config());
    exporter.until("a baseline", |text| all_up(text, 1) && text.contains(WRITTEN)).await;
    disk.fill();
    exporter.until("the disk is full", |text| text.contains(NOT_WRITTEN)).await;
    let before = counted(&exporter.scrape().await.unwrap());
    exporter.until("counting goes on", |text| counted(text) > before).await;
    std::fs::remove_file(disk.path("filler")).unwrap();
    exporter.until("the disk has room", |text| text.contains(WRITTEN)).await;
    assert_eq!(exporter.logged("the journal cannot be written").await, 1, "{}", exporter.log());
    assert_eq!(exporter.logged("the journal is written again").await, 1);
    exporter.kill().await;

    // Full already at the start: what was counted is there, and the rest waits.
    disk.fill();
    let exporter = disk.start(&world.config());
    exporter.until("a start", |text| text.contains(NOT_WRITTEN) && !counted(text).is_empty()).await;
    std::fs::remove_file(disk.path("filler")).unwrap();
    exporter.until("the disk has room", |text| all_up(text, 1) && text.contains(WRITTEN)).await;
    exporter.kill().await;
    let exporter = disk.start(&world.config());
    world.check(exporter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_writing_loses_nothing_and_doubles_nothing() {
    let world = World::start().await;
    let disk = Disk::mount(&world.folder.path().join("disk")).await;
    // The first start cannot even make the folder.
    disk.remount("ro").await;
    let exporter = disk.start(&world.config());
    exporter.until("a start", |text| all_up(text, 1) && text.contains(NOT_WRITTEN)).await;
    disk.remount("rw").await;
    exporter.until("it may write", |text| text.contains(WRITTEN)).await;
    assert!(disk.path("journal/journal.db").exists());
    exporter.until("a failure", |text| !counted(text).is_empty()).await;
    let before = counted(&exporter.scrape().await.unwrap());
    exporter.kill().await;

    disk.remount("ro").await;
    let exporter = disk.start(&world.config());
    let text = exporter.until("a start", |text| text.contains(NOT_WRITTEN)).await;
    assert!(counted(&text) >= before, "{:?} after {before:?}", counted(&text));
    exporter.until("counting goes on", |text| counted(text) > before).await;
    disk.remount("rw").await;
    exporter.until("it may write", |text| text.contains(WRITTEN)).await;
    exporter.kill().await;
    let exporter = disk.start(&world.config());
    world.check(exporter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_journal_on_a_disk_without_writing_is_set_aside_when_it_can_be() {
    let world = World::start().await;
    let disk = Disk::mount(&world.folder.path().join("disk")).await;
    std::fs::create_dir(disk.path("journal")).unwrap();
    std::fs::write(disk.path("journal/journal.db"), "broken").unwrap();
    disk.remount("ro").await;
    let mut exporter = disk.start(&world.config());
    exporter.until("a start", |text| all_up(text, 1) && text.contains(NOT_WRITTEN)).await;
    assert!(!exporter.has_ended());
    disk.remount("rw").await;
    exporter
        .until("it is set aside", |text| {
            text.contains(WRITTEN) && text.contains("dbtask_exporter_journals_set_aside 1\n")
        })
        .await;
    let aside = disk.path("journal/journal.db.set-aside-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "broken");
    assert_eq!(exporter.logged("has been set aside").await, 1, "{}", exporter.log());
    exporter.kill().await;
    let exporter = disk.start(&world.config());
    world.check(exporter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_cannot_have_one_journal() {
    let world = World::start().await;
    let storage = world.folder.path().join("journal");
    let first = Exporter::start(&world.config(), &storage);
    first.until("a journal", |text| text.contains(WRITTEN)).await;
    let mut second = Exporter::start(&world.config(), &storage);
    assert_eq!(second.end().await.code(), Some(1));
    assert_eq!(
        second.logged("journal.db is in use by another process").await,
        1,
        "{}",
        second.log()
    );
    first.until("the first goes on", |text| all_up(text, 1) && text.contains(WRITTEN)).await;
    first.kill().await;
}
