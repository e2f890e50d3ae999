//! The key file: written, read, refused with line and reason, read again when it changes.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use tidewatch_service_kit::Shutdown;

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn entry(name: &str, digit: char) -> String {
    format!("- {{name: {name}, role: viewer, sha256: \"{}\"}}\n", String::from(digit).repeat(64))
}

#[test]
fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/keys.yaml");
    let keys: Vec<Secret> =
        Role::ALL.iter().map(|role| create(&path, role.as_str(), *role).unwrap()).collect();
    let text = std::fs::read_to_string(&path).unwrap();
    let set = KeyFile::load(&path).unwrap().keys();
    assert_eq!(set.len(), 3);
    for (key, role) in keys.iter().zip(Role::ALL) {
        assert_eq!(key.reveal().len(), 48);
        assert!(!text.contains(&key.reveal()[5..]));
        assert_eq!(set.find(key.reveal()).unwrap().role, role);
        assert!(!format!("{key:?}").contains(key.reveal()));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn comments_stay_and_json_stays_json() {
    let (_folder, path) = file("# ours\n");
    assert!(KeyFile::load(&path).unwrap().keys().is_empty(), "comments alone are a list of none");
    let (_folder, path) = file(&format!("# ours\n{}", entry("a", '1').trim_end()));
    create(&path, "b", Role::Writer).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("# ours\n- {name: a"));
    assert_eq!(KeyFile::load(&path).unwrap().keys().len(), 2);
    let (_folder, path) = file("[]");
    create(&path, "true", Role::Writer).unwrap();
    create(&path, "1e5", Role::Viewer).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), 2);
    assert_eq!(KeyFile::load(&path).unwrap().keys().len(), 2);
}

#[test]
fn a_name_is_taken_once_and_replaced_on_purpose() {
    let (_folder, path) = file("[]");
    let first = create(&path, "admin", Role::Admin).unwrap();
    assert!(matches!(create(&path, "admin", Role::Admin), Err(KeyFileError::Taken { .. })));
    let second = replace(&path, "admin", Role::Admin).unwrap();
    let set = KeyFile::load(&path).unwrap().keys();
    assert!(set.find(first.reveal()).is_none() && set.find(second.reveal()).is_some());
    for bad in ["", "a b", "a\n- x", "\"", "é", &"a".repeat(65)] {
        assert!(matches!(create(&path, bad, Role::Admin), Err(KeyFileError::BadName(_))), "{bad:?}");
    }
}

#[test]
fn a_key_is_good_only_for_the_role_it_was_made_for() {
    let (_folder, path) = file("[]");
    let key = create(&path, "a", Role::Viewer).unwrap();
    let text = std::fs::read_to_string(&path).unwrap().replace("viewer", "admin");
    std::fs::write(&path, text).unwrap();
    let set = KeyFile::load(&path).unwrap().keys();
    assert_eq!((set.len(), set.find(key.reveal())), (1, None));
}

#[test]
fn a_bad_file_is_refused_with_line_and_reason() {
    let one = entry("a", '1');
    for (text, line, part) in [
        (String::new(), 1, "empty"),
        ("nonsense".into(), 1, ""),
        ("name: a\n".into(), 1, ""),
        (format!("{one}- {{name: b, role: king, sha256: x}}\n"), 2, "king"),
        (format!("{one}- {{name: b, role: viewer, sha256: abc}}\n"), 2, "64 of 0-9 a-f"),
        (format!("{one}{}", entry("B", '2').replace("\"2", "\"G")), 2, "64 of 0-9 a-f"),
        (format!("{one}- {{name: b, role: viewer}}\n"), 2, "sha256"),
        (format!("{one}{}", entry("b", '2').replace("role", "rolle")), 2, "rolle"),
        (format!("{one}\n\n{}", entry("a", '2')), 4, "two keys named `a`"),
        (format!("{one}{}", entry("b", '1')), 2, "`a`'s already"),
        (format!("{one}{}", entry("\"b c\"", '2')), 2, "no name of a key"),
        (format!("{one}{}", entry("b", '2').replace("role", "created_at: soon, role")), 2, "created_at"),
    ] {
        let (_folder, path) = file(&text);
        let message = KeyFile::load(&path).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}:{line}: ", path.display())), "{text}: {message}");
        assert!(message.contains(part) && !message.contains('\n'), "{text}: {message}");
    }
    let missing = KeyFile::load("/nowhere/keys.yaml").unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/keys.yaml: read keys: "), "{missing}");
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_bad_one_is_not() {
    let (folder, path) = file("[]");
    let keys = KeyFile::load(&path).unwrap();
    let shutdown = Shutdown::new();
    let watch = tokio::spawn(keys.clone().watch(Duration::from_millis(10), shutdown.clone()));
    let until = async |what: &str, condition: &dyn Fn() -> bool| {
        for _ in 0..500 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    };
    let first = create(&path, "a", Role::Viewer).unwrap();
    until("the new key", &|| keys.keys().find(first.reveal()).is_some()).await;
    let before = keys.keys();
    let seen = create(&folder.path().join("other.yaml"), "b", Role::Viewer).unwrap();
    std::fs::write(&path, "- nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(Arc::ptr_eq(&before, &keys.keys()), "the set from before stays");
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(keys.keys().find(first.reveal()).is_some());
    std::fs::rename(folder.path().join("other.yaml"), &path).unwrap();
    until("the good file", &|| keys.keys().find(seen.reveal()).is_some()).await;
    assert!(keys.keys().find(first.reveal()).is_none(), "a key that is gone is revoked");
    shutdown.trigger();
    watch.await.unwrap();
}
