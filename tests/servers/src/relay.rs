//! A TCP relay between a client and a server, which can be cut, slowed down, or turned into a black hole: the network's part in a fault.
//!
//! A thread accepts; each connection has a reading and a writing thread for each direction, with what was read and not yet written
//! between them. That has no maximum: a test must take what it provokes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// A relay from a port of its own to a server's; it ends when dropped.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    server: u16,
    state: Mutex<State>,
    changed: Condvar,
    accepted: AtomicUsize,
    /// To the server, and from it.
    carried: [AtomicU64; 2],
    /// To the server.
    lines: AtomicU64,
}

#[derive(Default)]
struct State {
    over: bool,
    cut: bool,
    /// Nothing is delivered.
    held: bool,
    delay: Duration,
    connections: Vec<Arc<Connection>>,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    state: Mutex<Ends>,
}

#[derive(Default)]
struct Ends {
    /// Nothing is delivered on this connection, ever again.
    dead: bool,
    /// When the client closed it.
    left: Option<Instant>,
}

/// What was read, or the end.
type Chunk = (Instant, Option<Vec<u8>>);

impl Relay {
    /// A relay to the server on this port of 127.0.0.1, which need not be there yet.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (state, changed, accepted, carried, lines) = Default::default();
        let shared = Arc::new(Shared { server, state, changed, accepted, carried, lines });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and new ones at once.
    pub fn cut(&self) {
        let mut state = self.shared.state();
        state.cut = true;
        state.connections.drain(..).for_each(|connection| connection.close());
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Closes all connections once; new ones are welcome.
    pub fn reset(&self) {
        self.shared.state().connections.drain(..).for_each(|connection| connection.close());
    }

    /// Becomes a black hole: connections stay open, new ones too, and nothing arrives in either direction, not even an end.
    pub fn hold(&self) {
        self.shared.state().held = true;
    }

    /// All is well again. What was held arrives late, as with TCP; what was cut stays closed.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        (state.cut, state.held) = (false, false);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Only new connections are well again: those that were held stay as they are, for ever.
    pub fn abandon(&self) {
        let mut state = self.shared.state();
        state.connections.iter().for_each(|connection| connection.ends().dead = true);
        state.held = false;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Everything arrives so much later, from now on.
    pub fn delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// How many connections were accepted since the start, those that were cut at once included.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that neither was cut nor has the client left.
    pub fn open(&self) -> usize {
        self.shared.state().connections.iter().filter(|connection| connection.ends().left.is_none()).count()
    }

    /// Bytes passed on so far, to the server and from it.
    pub fn carried(&self) -> (u64, u64) {
        let [there, back] = &self.shared.carried;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }

    /// Lines passed on to the server so far.
    pub fn lines(&self) -> u64 {
        self.shared.lines.load(Ordering::Relaxed)
    }

    /// Waits until the client has left all connections that are open now: how long that took, or `None` after the limit.
    pub fn wait_until_left(&self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        let connections = self.shared.state().connections.clone();
        while start.elapsed() < limit {
            if connections.iter().all(|connection| connection.ends().left.is_some()) {
                return Some(start.elapsed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.over = true;
        state.connections.drain(..).for_each(|connection| connection.close());
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.state().over {
                return;
            }
            self.accepted.fetch_add(1, Ordering::Relaxed);
            if self.state().cut {
                continue;
            }
            // A server that is away is seen as a connection that closes at once.
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)) {
                self.connect(client, server);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).expect("a socket takes options");
        let connection = Arc::new(Connection { client, server, state: Mutex::default() });
        self.state().connections.push(Arc::clone(&connection));
        for direction in [0, 1] {
            let (sender, receiver) = mpsc::channel();
            let (reading, writing, shared) = (Arc::clone(&connection), Arc::clone(&connection), Arc::clone(self));
            thread::spawn(move || reading.read(direction, &sender));
            thread::spawn(move || shared.write(&writing, direction, &receiver));
        }
    }

    /// Writes what is read, when it may be delivered.
    fn write(&self, connection: &Arc<Connection>, direction: usize, reads: &Receiver<Chunk>) {
        let mut to = [&connection.server, &connection.client][direction];
        while let Ok((at, bytes)) = reads.recv() {
            if !self.wait_to_deliver(connection, at) {
                break;
            }
            let Some(bytes) = bytes else { break };
            self.carried[direction].fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if direction == 0 {
                let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
                self.lines.fetch_add(lines as u64, Ordering::Relaxed);
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let dead = connection.ends().dead;
        if !dead {
            connection.close();
            self.state().connections.retain(|other| !Arc::ptr_eq(other, connection));
        }
    }

    /// Whether it may be delivered at all.
    fn wait_to_deliver(&self, connection: &Connection, at: Instant) -> bool {
        let mut state = self.state();
        loop {
            if state.over || connection.ends().dead {
                return false;
            }
            let left = (at + state.delay).saturating_duration_since(Instant::now());
            state = match (state.held, left) {
                (false, Duration::ZERO) => return true,
                (false, left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                (true, _) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Connection {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        lock(&self.state)
    }

    fn read(&self, direction: usize, sender: &Sender<Chunk>) {
        let mut from = [&self.client, &self.server][direction];
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // Nobody takes what comes on a dead connection; it is read on, to see its end.
            sender.send((Instant::now(), Some(buffer[..count].to_vec()))).ok();
        }
        if direction == 0 {
            self.ends().left = Some(Instant::now());
        }
        sender.send((Instant::now(), None)).ok();
    }

    fn close(&self) {
        self.client.shutdown(Shutdown::Both).ok();
        self.server.shutdown(Shutdown::Both).ok();
    }
}

// A test that panicked elsewhere leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
