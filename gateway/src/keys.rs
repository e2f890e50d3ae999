//! Keys: what they look like, and the file that says whose they are.
//!
//! In: a key somebody sent, and the key file. Out: the name and role it stands for. Keeps: the file and the memory hold
//! SHA-256 only (a key has 256 random bits, so a fast hash is enough); a bad file never replaces a good set.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidewatch_service_kit::Secret;

mod file;

pub use file::{KeyFile, create, replace};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Writer,
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Writer, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Writer => "writer",
            Self::Admin => "admin",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Viewer => "tw_v_",
            Self::Writer => "tw_w_",
            Self::Admin => "tw_a_",
        }
    }
}

/// Why a key file is no good. The message is one sentence for the person who wrote it.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{}: read keys: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: write keys: {source}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {message}", path.display())]
    Bad { path: PathBuf, line: u64, message: String },
    #[error("{}: there is a key named `{name}` already", path.display())]
    Taken { path: PathBuf, name: String },
    #[error("`{0}` is no name of a key: 1 to 64 of a-z A-Z 0-9 . _ -")]
    BadName(String),
}

/// Random characters of a key, after its prefix.
const RANDOM_CHARS: usize = 43;

/// The most keys in a file; more is a mistake.
const MAX_KEYS: usize = 10_000;

/// A new key of this role; shown once by whoever made it.
pub fn generate(role: Role) -> Secret {
    let bits: [u8; 32] = rand::random();
    Secret::new(format!("{}{}", role.prefix(), URL_SAFE_NO_PAD.encode(bits)))
}

/// What is kept of a key.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The same in hex, as key files and `--sign-in-code-sha256` have it.
pub fn hash_hex(text: &str) -> String {
    hex(&hash(text))
}

/// The role that a well-formed key claims; `None` for everything that no `generate` ever made.
fn claimed_role(key: &str) -> Option<Role> {
    let role = Role::ALL.into_iter().find(|role| key.starts_with(role.prefix()))?;
    let random = key.get(role.prefix().len()..).filter(|random| random.len() == RANDOM_CHARS)?;
    // strict: 43 characters stand for exactly one value of 32 bytes
    URL_SAFE_NO_PAD.decode(random).ok().filter(|bits| bits.len() == 32).map(|_| role)
}

/// One key, as far as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: Arc<str>,
    pub role: Role,
    sha256: [u8; 32],
}

impl Key {
    /// Which key a session came from: a few bytes of its hash, so that a new key of the same name does not revive it.
    pub(crate) fn id(&self) -> String {
        hex(&self.sha256[..8])
    }
}

/// All keys of a file.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    by_hash: HashMap<[u8; 32], Key>,
}

impl KeySet {
    /// Whose key this is. The table is looked up by hash, which tells a guesser nothing about a key; the found entry is
    /// compared in constant time.
    pub fn find(&self, key: &str) -> Option<&Key> {
        let role = claimed_role(key)?;
        let hash = hash(key);
        let found = self.by_hash.get(&hash)?;
        (bool::from(found.sha256.ct_eq(&hash)) && found.role == role).then_some(found)
    }

    /// Whether the key that a session came from still stands.
    pub(crate) fn still_holds(&self, name: &str, role: Role, id: &str) -> bool {
        self.by_hash.values().any(|key| &*key.name == name && key.role == role && key.id() == id)
    }

    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Reads the text of a key file; an error says line and reason.
    fn parse(text: &str) -> Result<Self, (u64, String)> {
        if text.trim().is_empty() {
            return Err((
                1,
                "the file is empty: `tidewatch keys create` makes a key, `[]` means none".into(),
            ));
        }
        let entries: Vec<Spanned<Entry>> = serde_saphyr::from_str(text).map_err(|error| {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
            (error.location().map_or(1, |at| at.line()), first.to_owned())
        })?;
        if entries.len() > MAX_KEYS {
            return Err((1, format!("{} keys are more than {MAX_KEYS}", entries.len())));
        }
        let (mut set, mut names) = (Self::default(), HashSet::new());
        for spanned in entries {
            let line = spanned.referenced.line();
            let Entry { name, role, sha256, created_at } = spanned.value;
            check_name(&name).map_err(|error| (line, error.to_string()))?;
            let sha256 = unhex(&sha256)
                .ok_or_else(|| (line, format!("sha256 of `{name}` has to be 64 of 0-9 a-f")))?;
            if let Some(time) = created_at
                && chrono::DateTime::parse_from_rfc3339(&time).is_err()
            {
                return Err((
                    line,
                    format!("created_at of `{name}` has to be a time like 2026-11-23T14:16:00Z"),
                ));
            }
            if !names.insert(name.clone()) {
                return Err((line, format!("there are two keys named `{name}`")));
            }
            let key = Key { name: name.into(), role, sha256 };
            if let Some(other) = set.by_hash.insert(sha256, key) {
                return Err((line, format!("this sha256 is `{}`'s already", other.name)));
            }
        }
        Ok(set)
    }
}

/// An entry as the file has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    role: Role,
    sha256: String,
    created_at: Option<String>,
}

fn check_name(name: &str) -> Result<(), KeyFileError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(good) {
        Ok(())
    } else {
        Err(KeyFileError::BadName(name.to_owned()))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 64 lower-case hex digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let good = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| good) {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    good.then_some(bytes)
}

fn bad(path: &Path, (line, message): (u64, String)) -> KeyFileError {
    KeyFileError::Bad { path: path.to_owned(), line, message }
}

#[cfg(test)]
mod tests;
