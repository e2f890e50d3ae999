//! For tests: a real PostgreSQL and a real Redis (and Kafka for those who ask), started by the local stack's own scripts on
//! free ports in a temporary folder, as whoever runs the test.
//!
//! [`Stack::shared`] is one for the whole test program; each test takes a [`Stack::database`] and keys in Redis of its
//! own. Tests that stop a part start a [`Stack::start`] of their own. Nothing outlives the test program: the kernel ends
//! the supervisor with the thread that started it.

use std::{
    io,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use sqlx::Connection;
use tidewatch_service_kit::{Metrics, breaker, config};

use crate::{Store, StoreConfig, history::MIGRATIONS, migrate};

/// What went wrong while starting; tests give up on it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A stack of servers.
#[derive(Debug)]
pub struct Stack {
    settings: Vec<(&'static str, String)>,
    state: PathBuf,
    postgres_url: String,
    redis_url: String,
    kafka: String,
    next: AtomicU32,
    /// Dropped, it ends the thread, which ends the supervisor.
    _end: mpsc::Sender<()>,
}

/// How long servers may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// The supervisor until it is asked to end, then everything it left on disk goes.
const KEEPER: &str = r#"
"$0" run >"$TIDEWATCH_STATE/supervisor.log" 2>&1 & child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
"$0" forget >/dev/null 2>&1
rm -rf "$TIDEWATCH_STATE"
"#;

impl Stack {
    /// PostgreSQL and Redis, started once for the test program.
    pub fn shared() -> Result<&'static Self, Failure> {
        static SHARED: OnceLock<Result<Stack, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| Self::start("postgres redis").map_err(|error| error.to_string()));
        started.as_ref().map_err(|error| error.clone().into())
    }

    /// These parts (`kafka`, `postgres`, `redis`), alone. Blocks until they answer.
    pub fn start(parts: &str) -> Result<Self, Failure> {
        let state = tempfile::Builder::new().prefix("tidewatch-test-").tempdir()?.keep();
        // PostgreSQL may run as another user below it
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o711))?;
        let [page, kafka, controller, postgres, redis] = free_ports()?;
        let kafka_address = format!("127.0.0.1:{kafka}");
        let settings = vec![
            ("TIDEWATCH_STATE", state.display().to_string()),
            ("TIDEWATCH_PARTS", parts.to_owned()),
            ("TIDEWATCH_PORT", page.to_string()),
            ("TIDEWATCH_KAFKA_PORT", kafka.to_string()),
            ("TIDEWATCH_KAFKA_CONTROLLER_PORT", controller.to_string()),
            ("TIDEWATCH_POSTGRES_PORT", postgres.to_string()),
            ("TIDEWATCH_REDIS_PORT", redis.to_string()),
        ];
        let end = keep(settings.clone())?;
        let mut stack = Self {
            settings,
            state,
            postgres_url: String::new(),
            redis_url: format!("redis://127.0.0.1:{redis}/"),
            kafka: kafka_address,
            next: AtomicU32::new(0),
            _end: end,
        };
        stack.await_ready()?;
        if parts.contains("postgres") {
            stack.postgres_url = stack.address("TIDEWATCH_POSTGRES_URL")?;
        }
        Ok(stack)
    }

    fn await_ready(&self) -> Result<(), Failure> {
        let until = Instant::now() + START_TIMEOUT;
        while !self.state.join("run/ready").exists() {
            let log = std::fs::read_to_string(self.state.join("supervisor.log")).unwrap_or_default();
            if Instant::now() > until || log.contains("tidewatch: ") || log.contains("stopped, because") {
                return Err(format!("start the stack: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn address(&self, name: &str) -> Result<String, Failure> {
        let output = self.script(&["env"])?;
        let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).ok_or_else(|| format!("the stack does not say {name}").into())
    }

    fn script(&self, args: &[&str]) -> Result<String, Failure> {
        let output = Command::new(script()).args(args).envs(self.settings.iter().cloned()).output()?;
        if !output.status.success() {
            return Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends one part; `stop_part("redis")`.
    pub fn stop_part(&self, part: &str) -> Result<(), Failure> {
        self.script(&["stop", part]).map(|_| ())
    }

    /// Starts a part again, on its old port with its old data.
    pub fn start_part(&self, part: &str) -> Result<(), Failure> {
        self.script(&["start", part]).map(|_| ())
    }

    /// Kafka's address.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// A new, migrated database and keys in Redis that no other test of this stack has.
    pub async fn database(&self) -> Result<Database, Failure> {
        let database = self.empty_database().await?;
        migrate(database.store.history.pool()).await?;
        Ok(database)
    }

    /// The same as it was after an earlier migration.
    pub async fn database_at(&self, version: i64) -> Result<Database, Failure> {
        let database = self.empty_database().await?;
        MIGRATIONS.run_to(version, database.store.history.pool()).await?;
        Ok(database)
    }

    async fn empty_database(&self) -> Result<Database, Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut admin = sqlx::PgConnection::connect(&self.postgres_url).await?;
        // a crash of the machine may lose it: it is a test
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE tidewatch_{number}")))
            .execute(&mut admin)
            .await?;
        let postgres_url = format!("{}_{number}", self.postgres_url);
        let prefix = format!("test-{number}:");
        let settings = [
            ("postgres-url", postgres_url.as_str()),
            ("redis-url", self.redis_url.as_str()),
            ("redis-prefix", prefix.as_str()),
            ("postgres-connections", "4"),
        ];
        let config = config::assemble::<StoreConfig>("store", &settings)?;
        let metrics = Metrics::default();
        let store = Store::new(&config, "test", &metrics, &breaker::gauges(&metrics))?;
        Ok(Database { config, store, metrics })
    }
}

/// A database of one test.
#[derive(Debug)]
pub struct Database {
    pub config: StoreConfig,
    pub store: Store,
    pub metrics: Metrics,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/stack.sh")
}

/// Starts the supervisor from a thread that lives as long as the sender: the kernel's signal at the death of the parent
/// is that of the thread that started it, and a test's own thread may end long before the test program.
fn keep(settings: Vec<(&'static str, String)>) -> io::Result<mpsc::Sender<()>> {
    let (end, ended) = mpsc::channel();
    let (told, started) = mpsc::channel();
    std::thread::Builder::new().name("stack-keeper".to_owned()).spawn(move || {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "bash", "-c", KEEPER])
            .arg(script())
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(mut child) => {
                let _ = told.send(Ok(()));
                // only ever the end of the channel
                let _ = ended.recv();
                let _ = Command::new("kill").arg(child.id().to_string()).status();
                let _ = child.wait();
            }
            Err(error) => {
                let _ = told.send(Err(error));
            }
        }
    })?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("the keeper thread ended")))?;
    Ok(end)
}

/// Ports that are free now. All are held until all are found, so they differ.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
