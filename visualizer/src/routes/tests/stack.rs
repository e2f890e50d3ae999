//! Real parts for the tests: PostgreSQL, Redis, Kafka from the scripts of the local stack, on free ports, with all their
//! data in a folder that goes with the test.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tidewatch_service_kit::config::assemble;

use crate::Config;

pub(crate) struct Stack {
    supervisor: Child,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Stack {
    /// Starts the parts and waits until they answer.
    pub(crate) fn start(parts: &str) -> Self {
        let folder = TempDir::new().expect("temporary folder");
        // PostgreSQL may run as another user
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let mut variables = vec![
            ("TIDEWATCH_STATE".to_owned(), folder.path().display().to_string()),
            ("TIDEWATCH_PARTS".to_owned(), parts.to_owned()),
        ];
        for name in ["", "_KAFKA", "_KAFKA_CONTROLLER", "_POSTGRES", "_REDIS"] {
            variables.push((format!("TIDEWATCH{name}_PORT"), free_port().to_string()));
        }
        let log = std::fs::File::create(folder.path().join("stack.out")).expect("log");
        let mut command = script();
        command.arg("run").envs(variables.iter().cloned()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("log")).stderr(log);
        let supervisor = command.spawn().expect("start stack");
        let mut stack = Self { supervisor, folder, variables };
        let deadline = Instant::now() + Duration::from_mins(2);
        while !stack.folder.path().join("run/ready").exists() {
            let ended = stack.supervisor.try_wait().expect("wait").is_some();
            let said = || std::fs::read_to_string(stack.folder.path().join("stack.out")).unwrap_or_default();
            assert!(!ended && Instant::now() < deadline, "the stack does not start: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        stack
    }

    fn tell(&self, arguments: &[&str]) -> String {
        let output =
            script().args(arguments).envs(self.variables.iter().cloned()).output().expect("run stack.sh");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn stop_part(&self, part: &str) {
        self.tell(&["stop", part]);
    }

    pub(crate) fn start_part(&self, part: &str) {
        self.tell(&["start", part]);
    }

    /// The settings of a visualizer on these parts.
    pub(crate) fn config(&self) -> Config {
        let addresses = self.tell(&["env"]);
        let value = |name: &str| {
            addresses.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).expect("address")
        };
        assemble(
            "visualizer",
            &[
                ("kafka-brokers", value("TIDEWATCH_KAFKA_BROKERS")),
                ("postgres-url", value("TIDEWATCH_POSTGRES_URL")),
                ("redis-url", value("TIDEWATCH_REDIS_URL")),
                ("postgres-connect-timeout", "500ms"),
            ],
        )
        .expect("settings")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for last in ["down", "forget"] {
            let mut command = script();
            let _ = command.arg(last).envs(self.variables.iter().cloned()).output();
        }
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn script() -> Command {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(repository.join("deploy/local/stack.sh"));
    command.env_remove("TIDEWATCH_LOCKED");
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("free port").port()
}
