//! How a server is reached: which, when, and whom we believe.

pub(crate) mod backoff;
pub(crate) mod check;
pub(crate) mod dial;
pub(crate) mod fingerprint;
pub(crate) mod hostname;
pub(crate) mod pem;
pub(crate) mod reason;
pub(crate) mod resolve;
pub(crate) mod server;
pub(crate) mod sts;
pub(crate) mod tls;
pub(crate) mod trust;
