//! A small HTTP receiver that does as it is told: answers, answers late, hangs, or closes. Keeps all that it saw.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    /// 429, and when to come again.
    Busy {
        seconds: u64,
    },
    /// Never answers.
    Hang,
    /// Reads it and closes.
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    answer: Answer,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The alerts of an Alertmanager's request.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).expect("a list of alerts")
    }
}

type Decide = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    decide: Arc<Decide>,
}

/// An address at which nobody listens.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("address")
}

impl Receiver {
    /// `decide` is told how many requests with the same `webhook-id` came before.
    pub(crate) async fn start(
        address: &str,
        decide: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind");
        let address = listener.local_addr().expect("address");
        let receiver = Self { address, seen: Arc::default(), decide: Arc::new(decide) };
        let accepting = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that were answered with success.
    pub(crate) fn taken(&self) -> Vec<Seen> {
        let is_good = |seen: &Seen| matches!(seen.answer, Answer::Status(200..=299));
        self.seen().into_iter().filter(is_good).collect()
    }

    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(seen) = self.read(&mut stream).await {
            let answer = seen.answer;
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            let head = match answer {
                Answer::Status(204) => "204 No Content\r\n".to_owned(),
                Answer::Status(status) => format!("{status} Said\r\ncontent-length: 4\r\n"),
                Answer::Busy { seconds } => {
                    format!("429 Busy\r\ncontent-length: 4\r\nretry-after: {seconds}\r\n")
                }
                Answer::Hang => return tokio::time::sleep(Duration::from_mins(1)).await,
                Answer::Close => return,
            };
            let body = if answer == Answer::Status(204) { "" } else { "said" };
            let text = format!("HTTP/1.1 {head}\r\n{body}");
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn read(&self, stream: &mut BufReader<TcpStream>) -> Option<Seen> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let at = Instant::now();
        let path = lines.first()?.split(' ').nth(1)?.to_owned();
        let headers: HashMap<String, String> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
        let mut seen = Seen { path, headers, body, at, answer: Answer::Close };
        let id = seen.header("webhook-id");
        let before = self.seen().iter().filter(|other| other.header("webhook-id") == id).count();
        seen.answer = (self.decide)(&seen, before);
        Some(seen)
    }
}
