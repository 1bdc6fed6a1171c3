//! Which network and channel a log is of, as far as its path tells: the clients name their files for them.

use super::Format;
use super::entry::CHANNELS;

/// What a path tells. Nothing but a suggestion: folders can be named anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The network, as the client calls it.
    pub network: Option<String>,
    /// The channel, if it is one: a log of what was said to a person has none, nor has one of a client's own window.
    pub channel: Option<String>,
}

impl Place {
    /// The network and channel of a log at `path`, in folders as the clients make them unless told otherwise:
    ///
    /// - irssi: `irclogs/libera/#rust.log`
    /// - WeeChat: `irc.libera.#rust.weechatlog`
    /// - ZNC: `alice/libera/#rust/2026-11-28.log`
    ///
    /// ```
    /// use store::logs::{Format, Place};
    ///
    /// let place = Place::of(Format::Znc, "log/alice/libera/#rust/2026-11-28.log");
    /// assert_eq!((place.network.as_deref(), place.channel.as_deref()), (Some("libera"), Some("#rust")));
    /// ```
    pub fn of(format: Format, path: &str) -> Place {
        let mut parts = path.rsplit(['/', '\\']);
        let file = parts.next().unwrap_or_default();
        match format {
            Format::Irssi => Place::new(parts.next(), file.strip_suffix(".log")),
            Format::Znc => {
                let channel = parts.next();
                Place::new(parts.next(), channel)
            }
            Format::Weechat => {
                let name = file.strip_prefix("irc.").and_then(|name| name.strip_suffix(".weechatlog"));
                let (network, channel) = name.and_then(|name| name.split_once('.')).unzip();
                Place::new(network, channel)
            }
            Format::Energymech | Format::Json => Place::default(),
        }
    }

    fn new(network: Option<&str>, channel: Option<&str>) -> Self {
        let channel = channel.filter(|name| name.starts_with(CHANNELS));
        let network = network.filter(|name| channel.is_some() && !name.is_empty() && !name.starts_with('.'));
        Place { network: network.map(str::to_owned), channel: channel.map(str::to_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_network_and_channel_where_the_client_put_them() {
        for (format, path, network, channel) in [
            (Format::Irssi, "irclogs/libera/#rust.log", Some("libera"), Some("#rust")),
            (Format::Irssi, "#rust.log", None, Some("#rust")),
            (Format::Irssi, "./#rust.log", None, Some("#rust")),
            (Format::Irssi, "irclogs/libera/bob.log", None, None),
            (Format::Weechat, "logs/irc.libera.##c.net.weechatlog", Some("libera"), Some("##c.net")),
            (Format::Weechat, "logs/irc.server.libera.weechatlog", None, None),
            (Format::Weechat, "logs/core.weechat.weechatlog", None, None),
            (Format::Znc, "alice/libera/#rust/2026-11-28.log", Some("libera"), Some("#rust")),
            (Format::Znc, "alice/libera/status/2026-11-28.log", None, None),
            (Format::Znc, "2026-11-28.log", None, None),
            (Format::Energymech, "libera/#rust_20261128.log", None, None),
        ] {
            let place = Place::of(format, path);
            assert_eq!((place.network.as_deref(), place.channel.as_deref()), (network, channel), "{path}");
        }
    }
}
