//! The file of rules: read with the settings, and looked at again every two seconds.
//!
//! In: a path, and the time. Out: the rules in force. Invariant: a file that is no good changes nothing, and is told of once,
//! with file, line and reason; one that is still being written is not taken for whole.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::rules::{self, RuleError, RuleSet};

const LOOK: Duration = Duration::from_secs(2);
/// Bytes of a file: more than the most rules need.
const MOST_BYTES: u64 = 8 << 20;

/// A file of rules, read and checked.
#[derive(Debug, Clone)]
pub struct RulesFile {
    path: PathBuf,
    text: String,
    rules: Arc<RuleSet>,
}

/// What a look at the file led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Taken,
    /// Those of before stay; in one sentence, why.
    Refused(String),
}

/// The rules in force, and the file they are from.
#[derive(Debug)]
pub(crate) struct Rulebook {
    rules: Arc<RuleSet>,
    /// `None`: the built-in rules, or no file; they do not change.
    path: Option<PathBuf>,
    /// What was taken or refused last: the file's text, or why it could not be read.
    settled: Result<String, String>,
    /// What the last look found, if it is not that.
    found: Option<Result<String, String>>,
    looked: Instant,
}

impl RulesFile {
    /// What is wrong with it is one sentence.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read_text(path)?;
        let rules = rules::parse(&text, path).map_err(|error| error.to_string())?;
        Ok(Self { path: path.to_owned(), text, rules: Arc::new(rules) })
    }
}

impl Rulebook {
    /// The rules of a file, or the built-in ones.
    pub(crate) fn open(file: Option<RulesFile>, now: Instant) -> Result<Self, RuleError> {
        let Some(RulesFile { path, text, rules }) = file else {
            let rules = Arc::new(rules::parse(rules::BUILT_IN, Path::new("deploy/rules/host.yaml"))?);
            return Ok(Self { rules, path: None, settled: Ok(String::new()), found: None, looked: now });
        };
        // what came through a pipe comes only once
        let path = path.is_file().then_some(path);
        Ok(Self { rules, path, settled: Ok(text), found: None, looked: now })
    }

    pub(crate) fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Looks whether the file is another one, if it is time to. Two looks in a row have to find the same: a file that is
    /// cut off in the middle of being written may be good YAML.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Change> {
        let path = self.path.as_ref()?;
        if now.saturating_duration_since(self.looked) < LOOK {
            return None;
        }
        self.looked = now;
        let found = read_file(path);
        if found == self.settled {
            self.found = None;
            return None;
        }
        if self.found.as_ref() != Some(&found) {
            self.found = Some(found);
            return None;
        }
        self.found = None;
        let read = match &found {
            Ok(text) => rules::parse(text, path).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        self.settled = found;
        match read {
            Ok(rules) => {
                self.rules = Arc::new(rules);
                Some(Change::Taken)
            }
            Err(why) => Some(Change::Refused(why)),
        }
    }
}

/// A pipe would keep us waiting for whoever writes into it.
fn read_file(path: &Path) -> Result<String, String> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(format!("{}: read rules: it is no file", path.display())),
        _ => read_text(path),
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("{}: read rules: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(wrong)?;
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(wrong)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("{}: read rules: more than {} MiB", path.display(), MOST_BYTES >> 20));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(limit: &str) -> String {
        format!("rules:\n  - {{name: a, metric: m, above: {limit}}}\n")
    }

    /// A book on a file, and a clock that goes from look to look.
    struct Desk {
        dir: tempfile::TempDir,
        book: Rulebook,
        now: Instant,
    }

    impl Desk {
        fn new(text: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("rules.yaml");
            std::fs::write(&path, text).unwrap();
            let now = Instant::now();
            let book = Rulebook::open(Some(RulesFile::read(&path).unwrap()), now).unwrap();
            Self { dir, book, now }
        }

        fn write(&self, text: &str) {
            std::fs::write(self.dir.path().join("rules.yaml"), text).unwrap();
        }

        fn look(&mut self) -> Option<Change> {
            self.now += LOOK;
            self.book.look(self.now)
        }

        fn holds(&self, limit: &str) -> bool {
            **self.book.rules() == rules::parse(&rule(limit), Path::new("x")).unwrap()
        }
    }

    #[test]
    fn another_file_is_taken_when_two_looks_find_it() {
        let mut desk = Desk::new(&rule("1"));
        assert_eq!(desk.look(), None);
        desk.write(&rule("2"));
        assert_eq!((desk.look(), desk.holds("1")), (None, true), "it may still be written");
        desk.write(&rule("3"));
        assert_eq!((desk.look(), desk.holds("1")), (None, true), "and it was");
        assert_eq!((desk.look(), desk.holds("3")), (Some(Change::Taken), true));
        assert_eq!(desk.look(), None, "said once");
        let soon = desk.now;
        desk.write(&rule("4"));
        assert_eq!(desk.book.look(soon), None, "not looked at yet");
    }

    #[test]
    fn a_bad_file_is_refused_once_and_changes_nothing() {
        let mut desk = Desk::new(&rule("1"));
        desk.write(&rule("high"));
        assert_eq!(desk.look(), None);
        let Some(Change::Refused(why)) = desk.look() else { panic!() };
        assert!(why.contains("rules.yaml:2: "), "{why}");
        assert_eq!((desk.look(), desk.look(), desk.holds("1")), (None, None, true));
        std::fs::remove_file(desk.dir.path().join("rules.yaml")).unwrap();
        assert_eq!(desk.look(), None);
        let Some(Change::Refused(why)) = desk.look() else { panic!() };
        assert!(why.contains("read rules") && desk.holds("1"), "{why}");
        let folder = desk.dir.path().join("rules.yaml");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(desk.look(), None);
        let Some(Change::Refused(why)) = desk.look() else { panic!() };
        assert!(why.contains("no file"), "{why}");
        std::fs::remove_dir(&folder).unwrap();
        // what was refused is good again when it is as it was
        desk.write(&rule("1"));
        assert_eq!(desk.look(), None);
        assert_eq!((desk.look(), desk.holds("1")), (Some(Change::Taken), true));
    }

    #[test]
    fn built_in_rules_stay() {
        let now = Instant::now();
        let mut book = Rulebook::open(None, now).unwrap();
        assert!(book.rules().by_name("cpu_busy").is_some());
        assert_eq!(book.look(now + 10 * LOOK), None);
    }
}
