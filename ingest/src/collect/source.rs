//! Files of the proc and sys file systems, each read once a scrape into one buffer that is kept.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Source {
    proc: PathBuf,
    sys: PathBuf,
    bytes: Vec<u8>,
}

impl Source {
    pub(super) fn new(proc: &Path, sys: &Path) -> Self {
        Self { proc: proc.to_owned(), sys: sys.to_owned(), bytes: Vec::with_capacity(64 << 10) }
    }

    pub(super) fn proc_root(&self) -> &Path {
        &self.proc
    }

    /// A file of proc, by its path below the root.
    pub(super) fn proc(&mut self, file: &str) -> io::Result<Cow<'_, str>> {
        let path = self.proc.join(file);
        self.read(&path)
    }

    /// A file of sys.
    pub(super) fn sys(&mut self, file: &str) -> io::Result<Cow<'_, str>> {
        let path = self.sys.join(file);
        self.read(&path)
    }

    pub(super) fn read(&mut self, path: &Path) -> io::Result<Cow<'_, str>> {
        self.bytes.clear();
        File::open(path)
            .and_then(|mut file| file.read_to_end(&mut self.bytes))
            .map_err(|error| io::Error::new(error.kind(), format!("read {}: {error}", path.display())))?;
        Ok(String::from_utf8_lossy(&self.bytes))
    }
}

/// A number of such a file; NaN (absent) when it is none.
pub(super) fn number(text: Option<&str>) -> f64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
