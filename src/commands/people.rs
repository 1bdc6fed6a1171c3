//! `pubbot people`: whom the bot knows, what they may do, and who is who. It works on the database, whether the bot runs or not;
//! what is changed counts from the next line on that somebody says.

mod whom;

use std::io::{self, Write};

use bus::System;
use clap::{Args, Subcommand};
use protocol::Ambient;
use serde_json::{Value, json};
use store::Store;
use store::people::{Change, Found, Identity, Profile};

use self::whom::Whom;
use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::nearest::did_you_mean;
use crate::{bot, database};

const EXAMPLES: &str = "\
Examples:
  pubbot people list                           everybody who has a profile
  pubbot people grant libera/alice admin       let the account alice on libera do what admins may
  pubbot people revoke 3 admin                 take that back from profile 3
  pubbot people merge libera/alice oftc/al     these two accounts are one person
  pubbot people unlink libera/alice            this account is somebody else's now
  pubbot people changes                        who has changed what

People are known by their services accounts, letter for letter, and never by a nick. A network tells no more of an account
than its name: one that was dropped may belong to somebody else by now. So roles rest for an account that was not seen for 30
days, until it is named in a grant again; of one that changed hands sooner, only you can know: unlink it.";
const LIST_EXAMPLES: &str = "\
Examples:
  pubbot people list
  pubbot people list --role admin
  pubbot people list --json | jq 'select(.roles | length > 0)'";
const GRANT_EXAMPLES: &str = "\
Examples:
  pubbot people grant libera/alice admin
  pubbot people grant 3 admin
  pubbot people grant libera/alice dj --new    a role that none of these plugins asks for";
const REVOKE_EXAMPLES: &str = "\
Examples:
  pubbot people revoke libera/alice admin
  pubbot people revoke 3 admin";
const MERGE_EXAMPLES: &str = "\
Examples:
  pubbot people merge libera/alice oftc/al
  pubbot people merge 3 7";
const UNLINK_EXAMPLES: &str = "\
Example:
  pubbot people unlink libera/alice";
const CHANGES_EXAMPLES: &str = "\
Examples:
  pubbot people changes
  pubbot people changes --limit 1000 --json";

/// Who has made a change here.
const OPERATOR: &str = "the operator";
/// Profiles that are read at a time.
const PAGE: u16 = 500;

/// See whom the bot knows, and say what they may do
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct People {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Grant(Grant),
    Revoke(Revoke),
    Merge(Merge),
    Unlink(Unlink),
    Changes(Changes),
}

/// List profiles: number, accounts, roles, when and by which nick they were seen last
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// Only those who have this role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Print each as one JSON object
    #[arg(long)]
    json: bool,
}

/// Give somebody a role
#[derive(Args, Debug)]
#[command(after_help = GRANT_EXAMPLES)]
struct Grant {
    /// NETWORK/ACCOUNT, which may never have been seen, or a profile's number
    #[arg(value_name = "WHO", value_parser = whom::read)]
    whom: Whom,
    /// The role: letters, digits, - and _
    #[arg(value_parser = role)]
    role: String,
    /// The role, or an account that differs from a known one only in the case of its letters, is new on purpose
    #[arg(long)]
    new: bool,
}

/// Take a role from somebody
#[derive(Args, Debug)]
#[command(after_help = REVOKE_EXAMPLES)]
struct Revoke {
    /// NETWORK/ACCOUNT, or a profile's number
    #[arg(value_name = "WHO", value_parser = whom::read)]
    whom: Whom,
    /// The role
    #[arg(value_parser = role)]
    role: String,
}

/// Make two profiles one, with the accounts and the roles of both
#[derive(Args, Debug)]
#[command(after_help = MERGE_EXAMPLES)]
struct Merge {
    /// NETWORK/ACCOUNT, or a profile's number
    #[arg(value_name = "WHO", value_parser = whom::read)]
    one: Whom,
    /// NETWORK/ACCOUNT, or a profile's number
    #[arg(value_name = "WHO", value_parser = whom::read)]
    other: Whom,
}

/// Take an account out of its profile: it has a new one without roles, and what it leaves stays with the old one
#[derive(Args, Debug)]
#[command(after_help = UNLINK_EXAMPLES)]
struct Unlink {
    /// NETWORK/ACCOUNT
    #[arg(value_name = "WHO", value_parser = whom::read)]
    whom: Whom,
}

/// List what was changed, the newest first: when, by whom, which profile, what, and what was before
#[derive(Args, Debug)]
#[command(after_help = CHANGES_EXAMPLES)]
struct Changes {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print each as one JSON object
    #[arg(long)]
    json: bool,
}

/// A role's name.
fn role(text: &str) -> Result<String, String> {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_');
    match text {
        _ if (1..=32).contains(&text.len()) && text.chars().all(fits) => Ok(text.to_owned()),
        _ => Err("a role is 1 to 32 small letters, digits, '-' or '_'".to_owned()),
    }
}

impl People {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        database::command(options, environment, database::open, async |config, store| match self.command {
            Command::List(list) => list.run(store).await,
            Command::Grant(grant) => grant.run(store, config).await,
            Command::Revoke(revoke) => revoke.run(store).await,
            Command::Merge(merge) => merge.run(store).await,
            Command::Unlink(unlink) => unlink.run(store).await,
            Command::Changes(changes) => changes.run(store).await,
        })
    }
}

impl List {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let (mut behind, mut listed) = (0, 0_usize);
        loop {
            let page = store.people().list(behind, PAGE).await?;
            let Some(last) = page.last() else { break };
            behind = last.id;
            for profile in page.iter().filter(|profile| self.wants(profile)) {
                print(&if self.json { as_json(profile).to_string() } else { line(profile) })?;
                listed += 1;
            }
        }
        if listed == 0 {
            tell("nobody is known yet; `pubbot people grant NETWORK/ACCOUNT ROLE` is where it begins");
        }
        Ok(())
    }

    fn wants(&self, profile: &Profile) -> bool {
        self.role.as_ref().is_none_or(|role| profile.roles.contains(role))
    }
}

impl Grant {
    async fn run(self, store: &Store, config: &Config) -> Result<(), Failure> {
        let Grant { whom, role, new } = self;
        if !new {
            is_known(store, config, &role).await?;
        }
        let found = match (whom::find(store, &whom).await?, &whom) {
            (Some(found), _) => found,
            (None, Whom::Profile(_)) => return Err(whom::unknown(store, &whom).await?),
            (None, Whom::Account { network, account }) => {
                whom::may_be_new(store, config, network, account, new).await?;
                tell(&format!("{network}/{account} was never seen: it has to be the account's name letter for letter"));
                store.people().introduce(network, account, System.now()).await?
            }
        };
        let granted = store.people().grant(found, &role, OPERATOR, System.now()).await?;
        let profile = store.people().numbered(found.profile).await?;
        tell(&if granted { format!("granted {role}") } else { format!("the role {role} was granted before") });
        resting(&profile, found);
        print(&line(&profile))
    }
}

/// An account whose roles don't count, although somebody has just given it one.
fn resting(profile: &Profile, found: Found) {
    let now = System.now();
    let rests = |identity: &&Identity| identity.rests(now) && Some(identity.source_id) != found.identity;
    for Identity { network, account, .. } in profile.identities.iter().filter(rests) {
        tell(&format!(
            "{network}/{account} was not seen for 30 days: the roles don't count for it until a grant names it"
        ));
    }
}

/// Whether a plugin asks for the role, or somebody has it.
async fn is_known(store: &Store, config: &Config, role: &str) -> Result<(), Failure> {
    let mut known = store.people().roles().await?;
    let plugins = bot::plugins(config, store);
    known.extend(plugins.iter().flat_map(|plugin| plugin.specs()).filter_map(|spec| spec.needs()).map(str::to_owned));
    known.push(bot::ADMIN.to_owned());
    known.sort();
    known.dedup();
    if known.iter().any(|other| other == role) {
        return Ok(());
    }
    let near = did_you_mean(role, known.iter().map(String::as_str));
    let known = known.join(", ");
    Err(Failure::usage(format!("nothing here asks for a role {role:?}{near} (known: {known}; --new takes any other)")))
}

impl Revoke {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let found = whom::known(store, &self.whom).await?;
        if !store.people().revoke(found.profile, &self.role, OPERATOR, System.now()).await? {
            let roles = store.people().numbered(found.profile).await?.roles;
            let has = if roles.is_empty() { "no roles".to_owned() } else { format!("only {}", roles.join(", ")) };
            return Err(Failure::failed(format!("{} has no role {}: {has}", self.whom, self.role)));
        }
        tell(&format!("revoked {}", self.role));
        print(&line(&store.people().numbered(found.profile).await?))
    }
}

impl Merge {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let (one, other) = (whom::known(store, &self.one).await?, whom::known(store, &self.other).await?);
        if one.profile == other.profile {
            tell("they are one profile already");
        }
        let merged = store.people().merge(one.profile, other.profile, OPERATOR, System.now()).await?;
        print(&line(&store.people().numbered(merged).await?))
    }
}

impl Unlink {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let found = whom::known(store, &self.whom).await?;
        let Some(identity) = found.identity else {
            return Err(Failure::usage(format!("{} is a profile: name an account, NETWORK/ACCOUNT", self.whom)));
        };
        let new = store.people().unlink(identity, OPERATOR, System.now()).await?;
        for profile in [found.profile, new] {
            print(&line(&store.people().numbered(profile).await?))?;
        }
        Ok(())
    }
}

impl Changes {
    async fn run(self, store: &Store) -> Result<(), Failure> {
        let changes = store.people().changes(self.limit).await?;
        if changes.is_empty() {
            tell("nothing was changed yet");
        }
        for Change { at, by, profile, what, before } in changes {
            print(&match self.json {
                true => {
                    let before: Value = serde_json::from_str(&before).unwrap_or(Value::Null);
                    json!({"at": at, "by": by, "profile": profile, "what": what, "before": before}).to_string()
                }
                false => format!("{at}  {by}  profile {profile}: {what}  (before: {before})"),
            })?;
        }
        Ok(())
    }
}

/// `3  libera/alice (alice, seen 2026-11-28T12:00:00.000Z), oftc/al  roles: admin`
fn line(profile: &Profile) -> String {
    let Profile { id, identities, roles } = profile;
    let accounts: Vec<String> = identities.iter().map(account).collect();
    let accounts = if accounts.is_empty() { "no account".to_owned() } else { accounts.join(", ") };
    let roles = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
    format!("{id}  {accounts}  roles: {roles}").replace(char::is_control, "?")
}

fn account(identity: &Identity) -> String {
    let Identity { network, account, nick, last_seen, .. } = identity;
    let seen = last_seen.map_or("never seen".to_owned(), |at| format!("seen {at}"));
    let nick = nick.as_ref().map(|nick| format!("nick {nick}, ")).unwrap_or_default();
    let rests = if identity.rests(System.now()) { ", roles rest" } else { "" };
    format!("{network}/{account} ({nick}{seen}{rests})")
}

fn as_json(Profile { id, identities, roles }: &Profile) -> Value {
    let now = System.now();
    let identity = |identity: &Identity| {
        json!({
            "source_id": identity.source_id, "network": identity.network, "account": identity.account,
            "nick": identity.nick, "first_seen": identity.first_seen, "last_seen": identity.last_seen,
            "rests": identity.rests(now),
        })
    };
    json!({"profile": id, "accounts": identities.iter().map(identity).collect::<Vec<_>>(), "roles": roles})
}

fn print(text: &str) -> Result<(), Failure> {
    unless_closed(writeln!(io::stdout(), "{text}"))
}

/// For people, beside what is printed.
fn tell(text: &str) {
    // who closed standard error wants to know nothing
    writeln!(io::stderr(), "{text}").ok();
}
