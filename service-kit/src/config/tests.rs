//! Settings from flags, file and both, and what a wrong file is told.

use std::io::Write;

use super::*;

#[derive(Debug, Clone, Args)]
struct Own {
    #[arg(long, default_value = "1")]
    size: u32,
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
}

fn with_file(text: &str, args: &[&str]) -> Result<(Common, Own), ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut all = vec!["--config".to_owned(), file.path().display().to_string()];
    all.extend(args.iter().map(|&a| a.to_owned()));
    parse(Command::new("test"), all)
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let (common, own) = with_file("size: 7\npeers: [a, b]\ndrain_timeout: 3s\n", &[]).unwrap();
    assert_eq!((own.size, own.peers), (7, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(common.drain_timeout, Duration::from_secs(3));
    assert_eq!(with_file("size: 7\n", &["--size", "9"]).unwrap().1.size, 9);
    assert_eq!(with_file("", &[]).unwrap().1.size, 1);
}

#[test]
fn a_wrong_file_is_told_where() {
    for (text, line, part) in [
        ("size: 1\nsizes: 2\n", 2, "unknown key `sizes`"),
        ("size: 1\nsi: 2\n", 2, "unknown key `si`"),
        ("\nsize: many\n", 2, "many"),
        ("size: {a: 1}\n", 1, "value or a list"),
        ("size: [\n", 0, ""),
    ] {
        match with_file(text, &[]).unwrap_err() {
            ConfigError::File { line: at, message, .. } => {
                assert!(line == 0 || at == line, "{text:?}: line {at}");
                assert!(message.contains(part), "{text:?}: {message}");
                assert!(!message.contains('\n'));
            }
            other => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn an_unknown_flag_is_refused() {
    assert!(matches!(with_file("", &["--colour", "red"]), Err(ConfigError::Clap(_))));
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
    for bad in ["", "10", "s", "1.5s", "-1s", "99999999999999999d"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}
