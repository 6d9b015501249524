//! What a package installs beside the program, written from its command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use dbtask_exporter::cli::Cli;

/// Pages and completions by their place under `packaging/`.
fn written() -> BTreeMap<PathBuf, String> {
    let command = Cli::command().disable_help_subcommand(true);
    let folder = tempfile::tempdir().unwrap();
    let (pages, completions) = (folder.path().join("man"), folder.path().join("completions"));
    std::fs::create_dir(&pages).unwrap();
    std::fs::create_dir(&completions).unwrap();
    clap_mangen::generate_to(command.clone(), &pages).unwrap();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let name = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command.clone(), name, &completions).unwrap();
    }
    files(&[&pages, &completions], folder.path())
}

/// What is in `folders`, by path relative to `root`.
fn files(folders: &[&Path], root: &Path) -> BTreeMap<PathBuf, String> {
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root).unwrap().to_owned(), text)
        })
        .collect()
}

#[test]
fn manual_pages_and_completions_are_what_the_command_line_says() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let folders = [packaging.join("man"), packaging.join("completions")];
    let written = written();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for folder in &folders {
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir_all(folder).unwrap();
        }
        for (path, text) in &written {
            std::fs::write(packaging.join(path), text).unwrap();
        }
    }
    let kept = files(&[&folders[0], &folders[1]], &packaging);
    assert!(kept == written, "packaging/ is old: UPDATE_DOCS=1 cargo test --test it manual");
    assert!(written.len() >= 8, "{:?}", written.keys());
}
