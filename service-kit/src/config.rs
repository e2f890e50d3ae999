//! One struct of settings for each service: flags, environment and a YAML file under the same names.
//!
//! A flag beats the environment, the environment beats the file, the file beats the default. Unknown keys of the file
//! are refused with file and line. A service binds nothing before its settings are good; bad ones exit with 64.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, Args, Command, FromArgMatches, error::ErrorKind};

/// The exit code for bad settings (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;

/// Why settings are no good. The message is one sentence for the person who wrote them.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: read settings: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {message}", path.display())]
    File { path: PathBuf, line: u64, message: String },
    /// clap's own words, for flags and environment; also `--help` and `--version`.
    #[error("{0}")]
    Clap(clap::Error),
}

/// Settings every service has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// YAML file of settings: the flags' names without the dashes
    #[arg(long, env = "TIDEWATCH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the settings and exit
    #[arg(long)]
    pub check_config: bool,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "TIDEWATCH_ADMIN_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub admin_listen: std::net::SocketAddr,
    /// Log level, as RUST_LOG has it
    #[arg(long = "log", env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How logs look
    #[arg(long, env = "TIDEWATCH_LOG_FORMAT", default_value = "json", value_enum)]
    pub log_format: crate::telemetry::LogFormat,
    /// How long a stop may take, for example 10s
    #[arg(long, env = "TIDEWATCH_DRAIN_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// A service's whole command: the common settings and its own.
pub fn command<C: Args>(command: Command) -> Command {
    // clap takes the doc comment of a struct of settings for the program's description
    let about = command.get_about().cloned().unwrap_or_default();
    let command = C::augment_args(Common::augment_args(command.version(crate::service::VERSION)));
    command.about(about).long_about(clap::builder::Resettable::Reset)
}

/// Parses `args` (without the program's name) into the common settings and the service's own.
pub fn parse<C: Args>(
    command: Command,
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<(Common, C), ConfigError> {
    let args: Vec<OsString> =
        std::iter::once(command.get_name().into()).chain(args.into_iter().map(Into::into)).collect();
    let mut command = self::command::<C>(command);
    // a first look only for --config: everything else may be wrong or missing still
    let file = Command::new("config")
        .disable_help_flag(true)
        .ignore_errors(true)
        .arg(Arg::new("config").long("config").env("TIDEWATCH_CONFIG").action(ArgAction::Set))
        .try_get_matches_from(&args)
        .ok()
        .and_then(|m| m.get_one::<String>("config").map(PathBuf::from));
    if let Some(path) = file {
        let settings = read_file(path, &command)?;
        for (id, setting) in &settings.values {
            let value = setting.value.clone();
            command = command.mut_arg(id, |arg| arg.default_value(value).required(false));
        }
        // the message for a bad value has to name the file, so each is tried on its own first
        for (id, setting) in &settings.values {
            check_one(&command, id).map_err(|message| settings.error(setting.line, message))?;
        }
    }
    let matches = command.try_get_matches_from(args).map_err(ConfigError::Clap)?;
    let common = Common::from_arg_matches(&matches).map_err(ConfigError::Clap)?;
    let own = C::from_arg_matches(&matches).map_err(ConfigError::Clap)?;
    Ok((common, own))
}

/// A service's settings from environment and defaults, with some set by the caller: for programs that hold several.
pub fn assemble<C: Args>(name: &'static str, set: &[(&str, &str)]) -> Result<C, ConfigError> {
    let args: Vec<String> = set.iter().map(|(key, value)| format!("--{key}={value}")).collect();
    let command = Command::new(name).disable_help_flag(true);
    let args: Vec<OsString> =
        std::iter::once(name.into()).chain(args.into_iter().map(OsString::from)).collect();
    let matches = C::augment_args(command).try_get_matches_from(args).map_err(ConfigError::Clap)?;
    C::from_arg_matches(&matches).map_err(ConfigError::Clap)
}

struct Setting {
    value: String,
    line: u64,
}

struct Settings {
    path: PathBuf,
    values: BTreeMap<String, Setting>,
}

impl Settings {
    fn error(&self, line: u64, message: String) -> ConfigError {
        ConfigError::File { path: self.path.clone(), line, message }
    }
}

/// Reads the file and finds for each key the argument it sets.
fn read_file(path: PathBuf, command: &Command) -> Result<Settings, ConfigError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    let mut settings = Settings { path, values: BTreeMap::new() };
    let parsed: BTreeMap<String, serde_json::Value> = if text.trim().is_empty() {
        BTreeMap::new()
    } else {
        serde_saphyr::from_str(&text).map_err(|error| {
            let line = error.location().map_or(1, |at| at.line());
            settings.error(line, one_line(&error.to_string()))
        })?
    };
    for (key, value) in parsed {
        let line = line_of(&text, &key);
        let flag = key.replace('_', "-");
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(&flag)) else {
            return Err(settings.error(line, format!("unknown key `{key}`")));
        };
        let value = scalar(&value)
            .ok_or_else(|| settings.error(line, format!("`{key}` has to be a value or a list of values")))?;
        settings.values.insert(arg.get_id().to_string(), Setting { value, line });
    }
    Ok(settings)
}

fn scalar(value: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The line on which a top-level key stands.
fn line_of(text: &str, key: &str) -> u64 {
    let is_key = |line: &str| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().trim_matches(['"', '\'']) == key)
    };
    text.lines().position(is_key).map_or(1, |index| index as u64 + 1)
}

fn check_one(command: &Command, id: &str) -> Result<(), String> {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == id) else { return Ok(()) };
    let alone = Command::new("config").arg(arg.clone().env(None::<&str>));
    match alone.try_get_matches_from(["config"]) {
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(one_line(&error.to_string())),
        _ => Ok(()),
    }
}

/// The first line of a message, without clap's prefix.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// `250ms`, `10s`, `5m`, `2h`, `1d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is no duration such as 250ms, 10s, 5m, 2h or 1d"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{text}` has no unit: ms, s, m, h or d")),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests;
