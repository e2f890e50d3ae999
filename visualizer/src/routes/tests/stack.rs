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
    /// Starts the parts and waits until they answer. A port that was free may be taken a moment later: then again.
    pub(crate) fn start(parts: &str) -> Self {
        let mut said = String::new();
        for _ in 0..3 {
            match Self::try_start(parts) {
                Ok(stack) => return stack,
                Err(why) => said = why,
            }
        }
        panic!("the stack does not start: {said}");
    }

    fn try_start(parts: &str) -> Result<Self, String> {
        let folder = TempDir::new().expect("temporary folder");
        // PostgreSQL may run as another user
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let mut variables = vec![
            ("TIDEWATCH_STATE".to_owned(), folder.path().display().to_string()),
            ("TIDEWATCH_PARTS".to_owned(), parts.to_owned()),
        ];
        // held together, so that they differ
        let held = ["", "_KAFKA", "_KAFKA_CONTROLLER", "_POSTGRES", "_REDIS"]
            .map(|name| (name, TcpListener::bind("127.0.0.1:0").expect("free port")));
        for (name, listener) in &held {
            let port = listener.local_addr().expect("address").port();
            variables.push((format!("TIDEWATCH{name}_PORT"), port.to_string()));
        }
        drop(held);
        let output = folder.path().join("stack.out");
        let log = std::fs::File::create(&output).expect("log");
        let mut command = script();
        command.arg("run").envs(variables.iter().cloned()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("log")).stderr(log);
        let supervisor = command.spawn().expect("start stack");
        let mut stack = Self { supervisor, folder, variables };
        let deadline = Instant::now() + Duration::from_mins(2);
        while !stack.folder.path().join("run/ready").exists() {
            if stack.supervisor.try_wait().expect("wait").is_some() || Instant::now() > deadline {
                return Err(std::fs::read_to_string(output).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(stack)
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
