//! Tells a service manager how things stand, by the protocol of systemd's sd_notify(3): for units with `Type=notify`.
//! Without a manager that asks for it, nothing happens.

use sd_notify::NotifyState;

/// Everything is set up: what depends on pubbot may start.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// It was told to stop, and finishes what it has begun.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(why) = sd_notify::notify(false, &[state]) {
        tracing::debug!(%why, "the service manager could not be told");
    }
}
