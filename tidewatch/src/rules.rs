//! `tidewatch rules check|test|import`: rules before they run, and rules that Prometheus has.
//!
//! A file that is no good: its name, line and reason, and exit code 64. A test that fails: exit code 1.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use tidewatch_analyzer::{
    from_prometheus::{self, Remark},
    rehearse,
    rules::{self, RuleSet},
};
use tidewatch_service_kit::config::EXIT_CONFIG;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RulesCommand {
    /// Say whether files of rules are good
    Check(CheckArgs),
    /// Run tests of rules: series that are written down, and which alerts have to be open when
    Test(TestArgs),
    /// Turn alerting rules of Prometheus into ours, and list what does not fit
    Import(ImportArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// A file of rules; may be repeated
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TestArgs {
    /// A file of tests; may be repeated
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// A rule file of Prometheus
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where our rules go; `-` is standard output
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(command: RulesCommand) -> ExitCode {
    match command {
        RulesCommand::Check(args) => check(&args.files),
        RulesCommand::Test(args) => test(&args.files),
        RulesCommand::Import(args) => match import(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => refuse(&why),
        },
    }
}

/// One sentence on standard error.
#[expect(clippy::print_stderr, reason = "what is wrong is for the person at the terminal")]
pub(crate) fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(EXIT_CONFIG)
}

/// All files are looked at, also behind a bad one.
#[expect(clippy::print_stdout, reason = "the answer is for the person who asked")]
fn check(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match read_rules(file) {
            Ok(set) => println!("{}: {}", file.display(), count(set.rules.len(), "rule")),
            Err(why) => code = refuse(&why),
        }
    }
    code
}

fn test(files: &[PathBuf]) -> ExitCode {
    let (mut is_refused, mut failed) = (false, 0);
    for file in files {
        match run_tests(file) {
            Ok(failures) => failed += failures,
            Err(why) => {
                refuse(&why);
                is_refused = true;
            }
        }
    }
    match (is_refused, failed) {
        (true, _) => ExitCode::from(EXIT_CONFIG),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    }
}

/// How many tests of a file failed.
#[expect(clippy::print_stdout, reason = "the results are for the person who asked")]
fn run_tests(file: &Path) -> Result<usize, String> {
    let tests = rehearse::parse(&read(file)?, file).map_err(|error| error.to_string())?;
    let rules = match &tests.rules {
        // as it stands in the file: beside it
        Some(name) => read_rules(&file.parent().unwrap_or(Path::new("")).join(name))?,
        None => built_in()?,
    };
    let outcomes = rehearse::run(&tests, &Arc::new(rules)).map_err(|error| error.to_string())?;
    for outcome in &outcomes {
        let word = if outcome.failures.is_empty() { "ok    " } else { "failed" };
        println!("{word}  {}", outcome.name);
        for (line, how) in &outcome.failures {
            println!("        {}:{line}: {how}", file.display());
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    println!("{}: {}, {failed} failed", file.display(), count(outcomes.len(), "test"));
    Ok(failed)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the rules are the output, the rest is said beside"
)]
fn import(args: &ImportArgs) -> Result<(), String> {
    let import =
        from_prometheus::import(&read(&args.file)?, &args.file).map_err(|error| error.to_string())?;
    if args.output == Path::new("-") {
        print!("{}", import.yaml);
    } else {
        fs::write(&args.output, &import.yaml)
            .map_err(|error| format!("{}: write rules: {error}", args.output.display()))?;
    }
    let say = |what: &str, remarks: &[Remark]| {
        for Remark { line, rule, text } in remarks {
            eprintln!("{}:{line}: {what} {rule}: {text}", args.file.display());
        }
    };
    say("note on", &import.notes);
    say("not imported,", &import.left_out);
    let left_out = import.left_out.len();
    eprintln!("{} imported, {left_out} not", count(import.rules, "rule"));
    Ok(())
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: read file: {error}", file.display()))
}

pub(crate) fn read_rules(file: &Path) -> Result<RuleSet, String> {
    rules::parse(&read(file)?, file).map_err(|error| error.to_string())
}

/// The rules that hold when no file is given.
pub(crate) fn built_in() -> Result<RuleSet, String> {
    rules::parse(rules::BUILT_IN, Path::new("deploy/rules/host.yaml")).map_err(|error| error.to_string())
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "rules:\n  - {name: a, metric: m, above: 1}\n";
    const TESTS: &str = "
rules: rules.yaml
tests:
  - name: t
    input_series: [{series: m, values: '2x5'}]
    alert_rule_test: [{eval_time: 10s, alertname: a, exp_alerts: [{starts: 0s}]}]
";

    fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn tests_find_their_rules_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        file(&dir, "rules.yaml", GOOD);
        assert_eq!(run_tests(&file(&dir, "good.yaml", TESTS)), Ok(0));
        assert_eq!(run_tests(&file(&dir, "bad.yaml", &TESTS.replace("starts: 0s", "starts: 5s"))), Ok(1));
        let lost =
            run_tests(&file(&dir, "lost.yaml", &TESTS.replace("rules.yaml", "nowhere.yaml"))).unwrap_err();
        assert!(lost.contains("nowhere.yaml: read file: "), "{lost}");
        let odd =
            run_tests(&file(&dir, "odd.yaml", &TESTS.replace("alertname: a", "alertname: b"))).unwrap_err();
        assert!(odd.contains("odd.yaml:6: "), "{odd}");
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let why = read_rules(&file(&dir, "bad.yaml", "rules:\n  - {name: a, metric: m}\n")).unwrap_err();
        assert!(why.contains("bad.yaml:2: "), "{why}");
        assert_eq!(read_rules(&file(&dir, "good.yaml", GOOD)).unwrap().rules.len(), 1);
    }

    #[test]
    fn what_is_imported_is_a_good_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "groups: [{name: g, rules: [{alert: A, expr: m > 1}, {alert: B, expr: sum(m) > 1}]}]";
        let output = dir.path().join("ours.yaml");
        let args = ImportArgs { file: file(&dir, "prom.yaml", text), output: output.clone() };
        import(&args).unwrap();
        let ours = fs::read_to_string(&output).unwrap();
        assert!(ours.contains("not imported") && ours.contains("`sum`"), "{ours}");
        assert_eq!(read_rules(&output).unwrap().rules.len(), 1);
    }
}
