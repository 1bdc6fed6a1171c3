//! `pubbot archive forget` and `remember`: what somebody said goes out of the archive, and nothing more of them comes in;
//! until they want it otherwise.

use bus::System;
use clap::Args;
use protocol::{Ambient, Target};
use store::Store;

use super::channels;
use crate::config::Config;
use crate::failure::Failure;
use crate::terminal::{grouped, tell};

const FORGET_EXAMPLES: &str = "\
Example:
  pubbot archive forget libera/alice

It goes by services accounts, since anybody can take a nick: what was said without an account, as in the logs of other \
programs, stays. `pubbot search from:alice` finds it, and `pubbot archive drop` takes it out.";
const REMEMBER_EXAMPLES: &str = "\
Example:
  pubbot archive remember libera/alice

What was taken out does not come back.";

/// Take out what an account said, and take in nothing of it any more
#[derive(Args, Debug)]
#[command(after_help = FORGET_EXAMPLES)]
pub struct Forget {
    /// network/account
    #[arg(value_name = "ACCOUNT", value_parser = account)]
    account: Target,
}

/// Take in again what an account says from now on
#[derive(Args, Debug)]
#[command(after_help = REMEMBER_EXAMPLES)]
pub struct Remember {
    /// network/account
    #[arg(value_name = "ACCOUNT", value_parser = account)]
    account: Target,
}

impl Forget {
    pub async fn run(self, store: &Store, config: &Config) -> Result<(), Failure> {
        let Target { network, channel: account } = self.account;
        check_network(&network, store, config).await?;
        store.archive().forget(&network, &account, System.now()).await?;
        let taken = store.archive().clear().await?;
        let taken = if taken == 1 { "1 line was".to_owned() } else { format!("{} lines were", grouped(taken)) };
        tell(&format!("{network}/{account} is forgotten: {taken} taken out"));
        Ok(())
    }
}

impl Remember {
    pub async fn run(self, store: &Store) -> Result<(), Failure> {
        let Target { network, channel: account } = self.account;
        match store.archive().remember(&network, &account).await? {
            true => tell(&format!("what {network}/{account} says is remembered again")),
            false => tell(&format!("{network}/{account} was not forgotten: there is nothing to do")),
        }
        Ok(())
    }
}

/// A mistyped network would seem to work, and nothing would be forgotten.
async fn check_network(network: &str, store: &Store, config: &Config) -> Result<(), Failure> {
    let mut known: Vec<String> = config.networks.iter().map(|network| network.name.clone()).collect();
    known.extend(channels(store).await?.into_iter().map(|channel| channel.network));
    known.sort();
    known.dedup();
    if known.iter().any(|known| known == network) {
        return Ok(());
    }
    let there_are = match known.as_slice() {
        [] => "there are none".to_owned(),
        known => format!("there are {}", known.join(", ")),
    };
    Err(Failure::usage(format!("there is no network {network:?} in the configuration or the archive: {there_are}")))
}

fn account(text: &str) -> Result<Target, String> {
    match text.parse::<Target>() {
        Ok(target) if !target.channel.starts_with(['#', '&']) => Ok(target),
        _ => Err("expected network/account, as in libera/alice".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_no_channel() {
        assert_eq!(account("libera/alice").unwrap().channel, "alice");
        for none in ["alice", "libera/#rust", "libera/", "li bera/x", "libera/a b"] {
            assert!(account(none).is_err(), "{none}");
        }
    }
}
