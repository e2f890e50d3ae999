//! The key file on disk: read at the start, read again when it changes, added to by `tidewatch keys create`.
//!
//! Keeps: a write is atomic (a reader sees the old file or the new one) and the file is its owner's alone; a bad file
//! is said once and the set from before stays.

use std::{
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tidewatch_service_kit::{Secret, Shutdown};

use super::{Entry, KeyFileError, KeySet, Role, bad, check_name, generate, hash, hex};

/// Tells one state of a file from another without reading it. The inode moves when the file is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    size: u64,
    inode: u64,
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let meta = std::fs::metadata(path)?;
    Ok(Stamp { modified: meta.modified()?, size: meta.len(), inode: meta.ino() })
}

/// The key file and the keys that are good now. Clones share them.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    /// Of the file that was read; taken before reading, so that a change in between is seen.
    read: Option<Stamp>,
    keys: Arc<RwLock<Arc<KeySet>>>,
}

impl KeyFile {
    /// Reads the file; what is wrong with it is one sentence.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, KeyFileError> {
        let path = path.into();
        let read = stamp(&path).ok();
        let keys = read_keys(&path)?;
        Ok(Self { path, read, keys: Arc::new(RwLock::new(Arc::new(keys))) })
    }

    /// The same for clap, so that a bad file is a bad setting: exit 64, nothing bound.
    pub(crate) fn from_flag(path: &str) -> Result<Self, String> {
        Self::load(path).map_err(|error| error.to_string())
    }

    pub fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks every `period` whether the file changed, until the wish to stop.
    pub async fn watch(mut self, period: Duration, shutdown: Shutdown) {
        while shutdown.sleep(period).await {
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(file) => self = file,
                // the runtime is going down
                Err(_) => return,
            }
        }
    }

    /// One look; says what it found when that is news.
    fn look(&mut self) {
        let now = stamp(&self.path).ok();
        if now == self.read {
            return;
        }
        self.read = now;
        match read_keys(&self.path) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "key file read again");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => tracing::warn!(%error, "refuse key file, the keys from before stay"),
        }
    }
}

fn read_keys(path: &Path) -> Result<KeySet, KeyFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| KeyFileError::Unreadable { path: path.to_owned(), source })?;
    KeySet::parse(&text).map_err(|error| bad(path, error))
}

/// Makes a key, adds its hash to the file (made when missing, 0600) and gives the key, which is kept nowhere.
pub fn create(path: &Path, name: &str, role: Role) -> Result<Secret, KeyFileError> {
    write(path, name, role, false)
}

/// The same, in place of the key of that name if there is one: it is good no longer.
pub fn replace(path: &Path, name: &str, role: Role) -> Result<Secret, KeyFileError> {
    write(path, name, role, true)
}

fn write(path: &Path, name: &str, role: Role, in_place: bool) -> Result<Secret, KeyFileError> {
    check_name(name)?;
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(KeyFileError::Unreadable { path: path.to_owned(), source }),
    };
    let keys = if old.trim().is_empty() { KeySet::default() } else { read_keys(path)? };
    let taken = keys.by_hash.values().any(|key| &*key.name == name);
    if taken && !in_place {
        return Err(KeyFileError::Taken { path: path.to_owned(), name: name.to_owned() });
    }
    let key = generate(role);
    let entry = Entry {
        name: name.to_owned(),
        role,
        sha256: hex(&hash(key.reveal())),
        created_at: Some(chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
    };
    // plain YAML is added to as text, so that its comments stay; JSON and a replaced key are written anew
    let text = if taken || old.trim_start().starts_with('[') {
        let mut entries: Vec<Entry> =
            serde_saphyr::from_str(&old).map_err(|error| bad(path, (1, error.to_string())))?;
        entries.retain(|old| old.name != name);
        entries.push(entry);
        if old.trim_start().starts_with('[') {
            serde_json::to_string_pretty(&entries).unwrap_or_default() + "\n"
        } else {
            entries.iter().map(as_yaml).collect()
        }
    } else {
        let gap = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
        format!("{old}{gap}{}", as_yaml(&entry))
    };
    KeySet::parse(&text).map_err(|error| bad(path, error))?;
    replace_file(path, &text).map_err(|source| KeyFileError::Unwritable { path: path.to_owned(), source })?;
    Ok(key)
}

/// All values quoted: `true`, `1e5` and the like are good names too.
fn as_yaml(entry: &Entry) -> String {
    let Entry { name, role, sha256, created_at } = entry;
    let role = role.as_str();
    let created = created_at.as_ref().map_or(String::new(), |time| format!("  created_at: \"{time}\"\n"));
    format!("- name: \"{name}\"\n  role: {role}\n  sha256: \"{sha256}\"\n{created}")
}

fn replace_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", hex(&rand::random::<[u8; 4]>())));
    let new = PathBuf::from(new);
    let written = (|| {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
