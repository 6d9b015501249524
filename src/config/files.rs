//! `Files`: what a configuration is read from, and what was in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::MAX_FILE_BYTES;
use crate::files::{self, FileVersion, version};

/// Reads the files that a configuration names, and remembers what was in them.
#[derive(Debug)]
pub(super) struct Files {
    /// What relative paths are relative to.
    folder: PathBuf,
    versions: RefCell<BTreeMap<PathBuf, FileVersion>>,
}

impl Files {
    /// Names are relative to the folder of the configuration in `file`.
    pub(super) fn beside(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Self { folder, versions: RefCell::default() }
    }

    /// Where the file is that the configuration calls so.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The content of a file that the configuration names, or why there is none.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.path(name);
        let shown = path.display().to_string();
        self.bytes(path).map_err(|error| format!("{shown} cannot be read: {error}"))
    }

    /// The content of a file.
    pub(super) fn bytes(&self, path: PathBuf) -> io::Result<Vec<u8>> {
        let content = files::read(&path, MAX_FILE_BYTES);
        self.versions.borrow_mut().insert(path, version(&content));
        content
    }

    /// What a file holds that others read.
    pub(super) fn version(&self, path: &Path) -> FileVersion {
        let version = version(&files::read(path, MAX_FILE_BYTES));
        self.versions.borrow_mut().insert(path.to_owned(), version.clone());
        version
    }

    /// Every file that has been read, and what was in it.
    pub(super) fn versions(self) -> BTreeMap<PathBuf, FileVersion> {
        self.versions.into_inner()
    }
}
