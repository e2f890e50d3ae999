//! `tidewatch backtest`: what rules and the learned detector would have said of the history in PostgreSQL.
//!
//! ```text
//! windows of 10 s -> read -> frames -> play -> differ -> report
//!                    an hour  as the    the     other     counts, and the first few
//!                             analyzer  core    rules, or in words; or json
//!                             had them          what was said
//! ```
//! Server after server, some beside each other: what is held is the models of these and an hour of each. Keeps: nothing is
//! written, to no database and no topic.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tidewatch_analyzer::rules::{Matcher, RuleSet};
use tidewatch_schemas::{Alert, time::rfc3339};
use tidewatch_service_kit::{Metrics, breaker, config::duration};
use tidewatch_store::{AlertQuery, History, Server, Store, StoreConfig};

use crate::{
    export::time,
    rules::{built_in, read_rules},
};

mod differ;
mod frames;
mod json;
mod play;
mod read;
mod report;

use differ::{Changes, differ};
use frames::Frames;
use play::{Found, GRACE_MS, MOST, Player};
use read::Reader;
use report::Report;

#[derive(Debug, Clone, Args)]
pub(crate) struct BacktestArgs {
    #[command(flatten)]
    store: StoreConfig,
    /// The rules; those that are built in otherwise
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Other rules: what they would have said beside, and what they would not have said
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Compare with the alerts that were really said in that time
    #[arg(long)]
    against_history: bool,
    /// Alerts that fire at this time or later, RFC 3339 or a day (2026-11-23, UTC)
    #[arg(long, value_parser = time)]
    from: i64,
    /// Windows that start before this time, RFC 3339 or a day
    #[arg(long, value_parser = time)]
    to: i64,
    /// Servers by their name, as rules name them: web-1, web-*, =~web-.*; may be repeated. All of them otherwise
    #[arg(long = "server", value_name = "PATTERN", value_parser = Matcher::parse)]
    servers: Vec<Matcher>,
    /// How long before --from the models begin to learn, and waits to run
    #[arg(long, value_parser = duration, default_value = "7d", value_name = "TIME")]
    warm: Duration,
    /// How many alerts of each rule are told in words
    #[arg(long, default_value_t = 3, value_name = "N")]
    first: usize,
    /// Servers played beside each other at most; as many as there are processors otherwise
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    jobs: Option<u16>,
    /// One JSON object a line: each alert, each difference, a summary at last
    #[arg(long)]
    json: bool,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

/// The rules that are tried.
#[derive(Debug)]
pub(crate) struct Books {
    rules: Arc<RuleSet>,
    compare: Option<Arc<RuleSet>>,
}

impl Books {
    /// Before anything else: a file that is no good is refused with its line.
    pub(crate) fn read(args: &BacktestArgs) -> Result<Self, String> {
        let read = |file: &Path| read_rules(file).map(Arc::new);
        let rules = args.rules.as_deref().map_or_else(|| built_in().map(Arc::new), read)?;
        Ok(Self { rules, compare: args.compare.as_deref().map(read).transpose()? })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<RuleSet>> {
        [&self.rules].into_iter().chain(&self.compare)
    }
}

/// Which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// Models learn from here on.
    warm_from: i64,
    /// Alerts count from here on.
    from: i64,
    to: i64,
}

/// What would have been said of one server.
#[derive(Debug, Default)]
struct Heard {
    /// In order of time.
    found: Vec<Found>,
    /// Of each rule, how many alerts were open when the asked time began.
    already: BTreeMap<String, usize>,
    /// Windows in the asked time.
    windows: u64,
    /// Start of the first window, of the time before too.
    known_from: Option<i64>,
    /// What other rules change.
    compared: Option<Changes>,
    /// From what was said to what would have been said.
    history: Option<Changes>,
}

#[expect(clippy::print_stdout, reason = "the answer is for the person who asked")]
pub(crate) async fn run(args: BacktestArgs, books: Books) -> anyhow::Result<()> {
    ensure!(args.from < args.to, "--from has to be before --to");
    let metrics = Metrics::default();
    let store = Store::new(&args.store, "backtest", &metrics, &breaker::gauges(&metrics))?;
    let all = store.history.servers().await.context("read servers")?;
    let span = span(&args, &all)?;
    let servers = chosen(all, &args.servers)?;
    let bar = progress(&span, servers.len(), args.quiet);
    let mut report = Report::new(&books.rules, span, args.first);
    let against_history = args.against_history;
    let work = Arc::new(Work { history: store.history, books, span, against_history, bar: bar.clone() });
    for some in servers.chunks(jobs(&args)) {
        let play = |server: &Server| tokio::spawn(Arc::clone(&work).server(server.clone()));
        let running: Vec<_> = some.iter().map(play).collect();
        for task in running {
            let heard = task.await.context("play a server")??;
            if args.json {
                let lines = json::lines(&heard)?;
                bar.suspend(|| {
                    for line in &lines {
                        println!("{line}");
                    }
                });
            }
            report.add(heard);
        }
    }
    bar.finish_and_clear();
    if report.windows() == 0 {
        bail!("{}", nothing(&span, report.known_from()));
    }
    if args.json {
        println!("{}", json::summary(&report));
    } else {
        print!("{}", report.text());
    }
    Ok(())
}

/// The history ends where the newest window of any server does: what came after that is not known, and no silence.
fn span(args: &BacktestArgs, servers: &[Server]) -> anyhow::Result<Span> {
    let Some(end) = servers.iter().map(|server| server.last_seen_ms).max() else {
        bail!("there is no server in the history yet");
    };
    let warm = i64::try_from(args.warm.as_millis()).unwrap_or(i64::MAX);
    let span = Span {
        warm_from: args.from.saturating_sub(warm).max(0).min(args.from),
        from: args.from,
        to: args.to.min(end + GRACE_MS),
    };
    ensure!(
        span.from < span.to,
        "there is no history from {} on: it ends at {}",
        rfc3339(span.from),
        rfc3339(end)
    );
    Ok(span)
}

fn nothing(span: &Span, known_from: Option<i64>) -> String {
    let (from, to) = (rfc3339(span.from), rfc3339(span.to));
    let before = known_from.map_or_else(String::new, |at| format!("; there is some from {} on", rfc3339(at)));
    format!(
        "these servers have no windows of 10 s between {from} and {to}{before} (longer windows are not judged)"
    )
}

/// Servers that fit one of the patterns.
fn chosen(mut servers: Vec<Server>, patterns: &[Matcher]) -> anyhow::Result<Vec<Server>> {
    let fits_none = |pattern: &&Matcher| !servers.iter().any(|server| pattern.is_match(&server.name));
    if let Some(unknown) = patterns.iter().find(fits_none) {
        bail!("there is no server that fits `{}`", unknown.source());
    }
    if !patterns.is_empty() {
        servers.retain(|server| patterns.iter().any(|pattern| pattern.is_match(&server.name)));
    }
    Ok(servers)
}

/// Each has a question to PostgreSQL at a time.
fn jobs(args: &BacktestArgs) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    args.jobs.map_or_else(processors, usize::from).min(args.store.postgres_connections as usize)
}

/// What the players of all servers share.
#[derive(Debug)]
struct Work {
    history: History,
    books: Books,
    span: Span,
    against_history: bool,
    bar: ProgressBar,
}

impl Work {
    async fn server(self: Arc<Self>, server: Server) -> anyhow::Result<Heard> {
        let Span { warm_from, from, to } = self.span;
        let mut heard = Heard::default();
        let (reader, metas) = Reader::open(&self.history, &server).await?;
        let since = reader.oldest(warm_from, to).await?.unwrap_or(to);
        self.advance(warm_from, since);
        let mut frames = Frames::new(&server.name, metas);
        let mut players: Vec<Player> =
            self.books.all().map(|rules| Player::new(Arc::clone(rules), since)).collect();
        for (begin, end) in reader.stretches(since, to) {
            let rows = reader.rows(begin, end).await?;
            let spoke = reader.heard(&rows, begin, end).await?;
            let play = || {
                frames.rebuild(rows, &spoke, |frame| {
                    heard.known_from.get_or_insert(frame.window_start);
                    heard.windows += u64::from(frame.window_start >= from);
                    for player in &mut players {
                        player.window(frame);
                    }
                });
            };
            tokio::task::block_in_place(play);
            if let Some(rule) = players.iter().find_map(Player::too_much) {
                bail!("{} has more than {MOST} alerts, most of them of `{rule}`", server.name);
            }
            self.advance(begin, end);
        }
        let mut played: Vec<Vec<Found>> = players.into_iter().map(|player| player.finish(to)).collect();
        let is_asked = |found: &Found| found.fired_at >= from;
        if let [all, others] = &played[..] {
            let mut changes = differ(all, others);
            changes.keep(is_asked, is_asked);
            heard.compared = Some(changes);
        }
        let all = played.swap_remove(0);
        if self.against_history {
            let mut changes = differ(&self.said(&server).await?, &all);
            changes.keep(is_asked, |said| self.is_asked(said));
            heard.history = Some(changes);
        }
        let (found, before): (Vec<Found>, Vec<Found>) = all.into_iter().partition(is_asked);
        for open in before.iter().filter(|found| found.ends_at.is_none_or(|end| end > from)) {
            *heard.already.entry(open.alert.rule.clone()).or_default() += 1;
        }
        heard.found = found;
        Ok(heard)
    }

    /// What was really said of a server, in order of time. When an alert fired is not kept.
    async fn said(&self, server: &Server) -> anyhow::Result<Vec<Found>> {
        let query = AlertQuery {
            status: None,
            server_id: Some(server.id),
            from_ms: Some(self.span.from),
            to_ms: Some(self.span.to),
            limit: MOST,
        };
        let said = self.history.alerts(&query).await.context("read alerts")?;
        ensure!(said.len() < MOST, "{MOST} alerts or more were said of {}", server.name);
        let found = |alert: Alert| Found { fired_at: alert.starts_at, ends_at: alert.ends_at, alert };
        let mut said: Vec<Found> = said.into_iter().map(|stored| found(stored.alert)).collect();
        said.sort_by(|a, b| (a.fired_at, &a.alert.alert_id).cmp(&(b.fired_at, &b.alert.alert_id)));
        Ok(said)
    }

    /// Whether what was said belongs to the asked time: one that began shortly before its end fired after it.
    fn is_asked(&self, said: &Found) -> bool {
        let wait = self.books.rules.by_name(&said.alert.rule).map_or(0, |rule| rule.hold_ms);
        said.alert.starts_at >= self.span.from && said.alert.starts_at + wait < self.span.to
    }

    fn advance(&self, begin: i64, end: i64) {
        self.bar.inc(((end - begin) / 1_000).max(0) as u64);
    }
}

/// In seconds of history.
fn progress(span: &Span, servers: usize, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(((span.to - span.warm_from) / 1_000) as u64 * servers as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent} %  {eta}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests;
