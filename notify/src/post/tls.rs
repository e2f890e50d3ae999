//! A connection, plain or by TLS of the system's library (OpenSSL), which the database's client brings anyway.
//!
//! The library reads and writes as if it waited; the socket beneath never does, and says "would block" instead. We
//! remember what it wanted when it did, wait for that, and let the library go on where it was.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use native_tls::{HandshakeError, TlsConnector, TlsStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<Socket>>),
}

impl Stream {
    /// TLS with whoever proves to be `host`.
    pub(crate) async fn secure(tls: &TlsConnector, host: &str, tcp: TcpStream) -> io::Result<Self> {
        let mut step = tls.connect(host, Socket { tcp, wants: Wants::Write });
        loop {
            match step {
                Ok(stream) => return Ok(Self::Secure(Box::new(stream))),
                Err(HandshakeError::Failure(error)) => return Err(io::Error::other(error)),
                Err(HandshakeError::WouldBlock(middle)) => {
                    std::future::poll_fn(|cx| middle.get_ref().poll_ready(cx)).await?;
                    step = middle.handshake();
                }
            }
        }
    }
}

/// A socket that does not wait.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    wants: Wants,
}

/// What was tried last.
#[derive(Debug, Clone, Copy)]
enum Wants {
    Read,
    Write,
}

impl Socket {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.wants {
            Wants::Read => self.tcp.poll_read_ready(cx),
            Wants::Write => self.tcp.poll_write_ready(cx),
        }
    }
}

impl io::Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wants = Wants::Read;
        self.tcp.try_read(buf)
    }
}

impl io::Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wants = Wants::Write;
        self.tcp.try_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lets the library try until it is through or has to wait.
fn drive<T>(
    tls: &mut TlsStream<Socket>,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut(&mut TlsStream<Socket>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt(tls) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(tls.get_ref().poll_ready(cx))?,
            result => return Poll::Ready(result),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Secure(tls) => {
                let read = |tls: &mut TlsStream<Socket>| io::Read::read(tls, buf.initialize_unfilled());
                let count = ready!(drive(tls, cx, read))?;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Secure(tls) => drive(tls, cx, |tls| io::Write::write(tls, buf)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Secure(tls) => drive(tls, cx, io::Write::flush),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Secure(tls) => drive(tls, cx, TlsStream::shutdown),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        thread,
    };

    use native_tls::{Certificate, Identity, TlsAcceptor};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    // of nobody: made for this test, valid for localhost until 2126
    const CERTIFICATE: &[u8] = include_bytes!("../../tests/fixtures/localhost.crt");
    const KEY: &[u8] = include_bytes!("../../tests/fixtures/localhost.key");
    /// More than any buffer on the way holds, so that both sides have to wait in between.
    const BYTES: usize = 8 << 20;

    /// Sends back every byte of the first connection, after it has read them all.
    fn echo() -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::new(Identity::from_pkcs8(CERTIFICATE, KEY).unwrap()).unwrap();
        thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            // who is not believed hears of it by an error
            let Ok(mut tls) = acceptor.accept(tcp) else { return };
            let mut all = vec![0; BYTES];
            tls.read_exact(&mut all).unwrap();
            tls.write_all(&all).unwrap();
            let _ = tls.shutdown();
        });
        address
    }

    #[tokio::test]
    async fn bytes_go_both_ways() {
        let connector = TlsConnector::builder()
            .add_root_certificate(Certificate::from_pem(CERTIFICATE).unwrap())
            .build()
            .unwrap();
        let tcp = TcpStream::connect(echo()).await.unwrap();
        let mut stream = Stream::secure(&connector, "localhost", tcp).await.unwrap();
        let sent: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
        stream.write_all(&sent).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = vec![0; BYTES];
        stream.read_exact(&mut back).await.unwrap();
        assert!(back == sent);
    }

    #[tokio::test]
    async fn a_stranger_is_not_believed() {
        let connector = TlsConnector::new().unwrap();
        let tcp = TcpStream::connect(echo()).await.unwrap();
        let error = Stream::secure(&connector, "localhost", tcp).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}
