//! Free ports below the range that the kernel takes for outgoing connections. There, a client that keeps trying to reach a server that
//! was killed could be given the server's own port, and would end up connected to itself.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;
/// Processes that run at the same time begin to search this far from each other.
const STRIDE: u32 = 97;

static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// A loopback TCP port between 20,000 and 32,000 that nobody listens on; this process is given none twice before it had all.
/// Panics when there is none.
pub fn free_port() -> u16 {
    let start = process::id().wrapping_mul(STRIDE) % COUNT;
    (0..COUNT)
        .map(|_| FIRST + (start + HANDED_OUT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free port between 20000 and 32000")
}
