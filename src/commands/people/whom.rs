//! Whom a command is about: `network/account`, or a profile's number. Who is not known is told who is.

use std::fmt;

use store::Store;
use store::people::Found;

use crate::config::Config;
use crate::config::network::CONSOLE;
use crate::failure::Failure;
use crate::nearest::did_you_mean;

/// How many accounts an error looks at, for one that may have been meant, and how many it names.
const LOOKED_AT: u16 = 1000;
const NAMED: usize = 10;

/// Somebody, as an operator names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// By the profile's number.
    Profile(i64),
    /// By an account.
    Account {
        /// The network's name.
        network: String,
        /// The account, letter for letter.
        account: String,
    },
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::Profile(number) => write!(f, "profile {number}"),
            Whom::Account { network, account } => write!(f, "{network}/{account}"),
        }
    }
}

/// Reads it. A nick is refused by that: it has no network before it.
pub fn read(text: &str) -> Result<Whom, String> {
    if let Ok(number) = text.parse() {
        return Ok(Whom::Profile(number));
    }
    match text.split_once('/') {
        Some((network, account)) if !network.is_empty() && !account.trim().is_empty() => {
            Ok(Whom::Account { network: network.to_owned(), account: account.to_owned() })
        }
        _ => {
            Err("expected NETWORK/ACCOUNT, as in libera/alice, or a profile's number: a nick is nobody's name"
                .to_owned())
        }
    }
}

/// Who that is, if anybody.
pub async fn find(store: &Store, whom: &Whom) -> Result<Option<Found>, Failure> {
    match whom {
        Whom::Profile(number) => Ok(store.people().find(*number).await?),
        Whom::Account { network, account } => match store.people().find_account(network, account).await?.as_slice() {
            [] => Ok(None),
            [found] => Ok(Some(*found)),
            several => {
                let numbers: Vec<String> = several.iter().map(|found| found.profile.to_string()).collect();
                let numbers = numbers.join(", ");
                Err(Failure::failed(format!("{whom} is ambiguous: name one of the profiles {numbers} by its number")))
            }
        },
    }
}

/// Who that is.
pub async fn known(store: &Store, whom: &Whom) -> Result<Found, Failure> {
    match find(store, whom).await? {
        Some(found) => Ok(found),
        None => Err(unknown(store, whom).await?),
    }
}

/// Nobody is called that: who is.
pub async fn unknown(store: &Store, whom: &Whom) -> Result<Failure, Failure> {
    let profiles = store.people().list(0, LOOKED_AT).await?;
    let names: Vec<String> = match whom {
        Whom::Profile(_) => profiles.iter().map(|profile| profile.id.to_string()).collect(),
        Whom::Account { .. } => {
            let identities = profiles.iter().flat_map(|profile| &profile.identities);
            identities.map(|identity| format!("{}/{}", identity.network, identity.account)).collect()
        }
    };
    let near = match whom {
        Whom::Profile(_) => String::new(),
        whom => did_you_mean(&whom.to_string(), names.iter().map(String::as_str)),
    };
    let known = match names.len() {
        0 => "nobody yet".to_owned(),
        1..=NAMED => names.join(", "),
        all => format!("{} and others; `pubbot people list` shows all {all}", names[..NAMED].join(", ")),
    };
    Ok(Failure::failed(format!("{whom} is not known{near} (known: {known})")))
}

/// Whether an account that was never seen may be meant all the same.
pub async fn may_be_new(
    store: &Store,
    config: &Config,
    network: &str,
    account: &str,
    on_purpose: bool,
) -> Result<(), Failure> {
    let networks: Vec<&str> = config.networks.iter().map(|network| network.name.as_str()).chain([CONSOLE]).collect();
    if !networks.contains(&network) {
        let near = did_you_mean(network, networks.iter().copied());
        let known = networks.join(", ");
        return Err(Failure::usage(format!("there is no network {network:?}{near} (known: {known})")));
    }
    match store.people().twins(network, account).await?.first() {
        Some(twin) if !on_purpose => Err(Failure::usage(format!(
            "{network}/{account} was never seen, but {network}/{twin} was: did you mean that? (--new takes the other; the \
             case of letters counts)"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_network_and_may_have_anything_in_its_name() {
        let account = |network: &str, account: &str| Whom::Account { network: network.into(), account: account.into() };
        assert_eq!(read("libera/alice"), Ok(account("libera", "alice")));
        assert_eq!(read("libera/a/b c"), Ok(account("libera", "a/b c")));
        assert_eq!(read("libera/3"), Ok(account("libera", "3")));
        assert_eq!(read("3"), Ok(Whom::Profile(3)));
        for nobody in ["", "alice", "/alice", "libera/", "libera/ "] {
            assert!(read(nobody).is_err(), "{nobody}");
        }
    }
}
