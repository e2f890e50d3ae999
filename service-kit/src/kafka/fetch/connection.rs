//! A plaintext connection to a broker, one request under way at a time, or the next one before the last one's answer is used.
//!
//! Blocking, with short timeouts: between two of them it is seen whether all is to end.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::wire::Malformed;

const CONNECT: Duration = Duration::from_secs(3);
/// How long nothing may come: the broker itself waits a tenth of a second at most.
const SILENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(250);
/// A response is not believed to be larger.
const MAX_RESPONSE: usize = 256 << 20;
/// What a buffer grows by before more has come.
const STEP: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// In good order, and without a word in answer to the connection's first request.
    #[error("connection closed at its first request")]
    Refused,
    #[error("wished to end")]
    Stopped,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("read response: {0}")]
    Malformed(#[from] Malformed),
    #[error("error {0} of the broker")]
    Broker(i16),
}

#[derive(Debug)]
pub(super) struct Connection<'a> {
    stream: TcpStream,
    correlation: i32,
    answered: bool,
    stopped: &'a AtomicBool,
}

impl<'a> Connection<'a> {
    /// To the first of the host's addresses that takes it.
    pub(super) fn open(host: &str, port: u16, stopped: &'a AtomicBool) -> Result<Self, ConnectionError> {
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{host} has no address"));
        for address in (host, port).to_socket_addrs()? {
            if stopped.load(Ordering::Relaxed) {
                return Err(ConnectionError::Stopped);
            }
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(LOOK))?;
                    stream.set_write_timeout(Some(SILENCE))?;
                    return Ok(Self { stream, correlation: 0, answered: false, stopped });
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Sends what is written for a correlation id.
    pub(super) fn send(&mut self, request: impl FnOnce(i32) -> Vec<u8>) -> Result<(), ConnectionError> {
        self.correlation = self.correlation.wrapping_add(1);
        Ok(self.stream.write_all(&request(self.correlation))?)
    }

    /// The answer to the last request, to the beginning of `buffer`; how long it is.
    pub(super) fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<usize, ConnectionError> {
        let mut head = [0; 8];
        self.fill(&mut head)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = i32::from_be_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(length).ok().filter(|n| (4..MAX_RESPONSE).contains(n));
        let length = length.ok_or(Malformed)? - 4;
        if i32::from_be_bytes([c0, c1, c2, c3]) != self.correlation {
            return Err(Malformed.into());
        }
        self.answered = true;
        let mut filled = 0;
        while filled < length {
            // grows with what really comes
            let end = length.min(buffer.len().max(filled + STEP));
            if end > buffer.len() {
                buffer.resize(length.min(end.max(2 * filled)), 0);
            }
            let end = length.min(buffer.len());
            self.fill(&mut buffer[filled..end])?;
            filled = end;
        }
        Ok(length)
    }

    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), ConnectionError> {
        let (whole, mut silent) = (into.len(), Duration::ZERO);
        while !into.is_empty() {
            match self.stream.read(into) {
                Ok(0) if !self.answered && into.len() == whole => return Err(ConnectionError::Refused),
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => {
                    into = &mut into[count..];
                    silent = Duration::ZERO;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    silent += LOOK;
                    if self.stopped.load(Ordering::Relaxed) {
                        return Err(ConnectionError::Stopped);
                    }
                    if silent >= SILENCE {
                        return Err(io::Error::new(ErrorKind::TimedOut, "no answer").into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// `host:port` of a list as librdkafka takes it: a protocol before it, a port that may be missing.
pub(super) fn addresses(brokers: &str) -> Vec<(String, u16)> {
    let address = |entry: &str| {
        let entry = entry.rsplit("://").next().unwrap_or(entry);
        let (host, port) = match entry.rsplit_once(':') {
            // an IPv6 address without a port
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (entry, 9092),
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (entry, 9092),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| (host.to_owned(), port))
    };
    brokers.split(',').map(str::trim).filter(|entry| !entry.is_empty()).filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn brokers_are_named_as_for_librdkafka() {
        let found = addresses("a:1, PLAINTEXT://b:2,c,[::1]:3,[::2],::3,:4,d:x,");
        let expected = [("a", 1), ("b", 2), ("c", 9092), ("::1", 3), ("::2", 9092), ("::3", 9092)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
    }
}
