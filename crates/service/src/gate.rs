//! Admission of connections: a bounded number, each through TLS, none that just sits there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::metrics::{GaugeGuard, Metrics};

/// Accepts connections through TLS while there is room.
#[derive(Clone)]
pub(crate) struct Gate {
    tls: RustlsAcceptor<NoDelayAcceptor>,
    slots: Arc<Semaphore>,
    stall: Duration,
    metrics: Metrics,
}

impl Gate {
    /// `handshake` bounds the TLS handshake, `stall` the time in which nothing moves on a connection.
    pub(crate) fn new(
        tls: RustlsConfig,
        connections: u32,
        handshake: Duration,
        stall: Duration,
        metrics: Metrics,
    ) -> Self {
        Self {
            tls: RustlsAcceptor::new(tls).handshake_timeout(handshake).acceptor(NoDelayAcceptor::new()),
            slots: Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(usize::MAX >> 3))),
            stall,
            metrics,
        }
    }
}

type Tls<S> = <RustlsAcceptor<NoDelayAcceptor> as Accept<TcpStream, S>>::Stream;

impl<S: Send + 'static> Accept<TcpStream, S> for Gate {
    type Stream = Held<Tls<S>>;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.metrics.connection_refused();
            return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
        };
        let open = self.metrics.connection();
        let handshake = self.tls.accept(stream, service);
        let stall = self.stall;
        Box::pin(async move {
            let (stream, service) = handshake.await?;
            Ok((Held::new(stream, stall, slot, open), service))
        })
    }
}

/// A connection that gives its slot back when dropped, and that fails once nothing moved for `stall`.
pub(crate) struct Held<S> {
    stream: S,
    stall: Duration,
    timer: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
    _open: GaugeGuard,
}

impl<S> Held<S> {
    fn new(stream: S, stall: Duration, slot: OwnedSemaphorePermit, open: GaugeGuard) -> Self {
        Self { stream, stall, timer: Box::pin(tokio::time::sleep(stall)), _slot: slot, _open: open }
    }

    /// Progress pushes the deadline back, no progress past the deadline is an error.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                let deadline = Instant::now() + self.stall;
                self.timer.as_mut().reset(deadline);
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.timer.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.watch(cx, poll)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A flush that has nothing to do is no progress: it must not keep a dead connection alive.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.watch(cx, Poll::Pending),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
