//! `Files`: what a configuration is read from, and what was in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::MAX_FILE_BYTES;
use crate::platform::files::{FileContent, FileVersion, version};
use crate::platform::network::certificates;
use crate::platform::reading::{PATIENCE, read_within};

/// Reads the files that a configuration names, and remembers what was in them.
#[derive(Debug)]
pub(super) struct Files {
    /// What relative paths are relative to.
    folder: PathBuf,
    versions: RefCell<BTreeMap<PathBuf, FileVersion>>,
    /// What the files of authorities hold, each once however many sources name it.
    authorities: RefCell<BTreeMap<PathBuf, FileContent>>,
    /// What the next read may take. Each that is late halves it, so that no number of files on a
    /// file system that hangs takes longer than two of them.
    patience: Cell<Duration>,
}

impl Files {
    /// Names are relative to the folder of the configuration in `file`.
    pub(super) fn beside(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let (versions, authorities) = Default::default();
        Self { folder, versions, authorities, patience: Cell::new(PATIENCE) }
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
        let content = read_within(&path, MAX_FILE_BYTES, self.patience.get());
        if content.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.patience.set(self.patience.get() / 2);
        }
        self.versions.borrow_mut().insert(path, version(&content));
        content
    }

    /// What a file of authorities holds, or why nothing can be done with it.
    pub(super) fn authorities(&self, path: &Path) -> FileContent {
        if let Some(known) = self.authorities.borrow().get(path) {
            return known.clone();
        }
        let pem = self.bytes(path.to_owned()).map_err(|error| error.to_string());
        let content = pem.and_then(|pem| match certificates(&pem) {
            Ok(_) => Ok(Arc::from(pem)),
            Err(error) => Err(format!("{error:#}")),
        });
        self.authorities.borrow_mut().insert(path.to_owned(), content.clone());
        content
    }

    /// Every file that has been read, and what was in it.
    pub(super) fn versions(self) -> BTreeMap<PathBuf, FileVersion> {
        self.versions.into_inner()
    }
}
