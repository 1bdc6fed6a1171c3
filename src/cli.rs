//! The command line: what the help says is said here, and next to each command's arguments. The parser, the help and
//! the completions are made from it.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::commands::{
    archive, check, completions, connector, dead, migrate, people, publish, say, search, settings, tail, up, worker,
};
use crate::config::{Environment, Overrides};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  pubbot up                                        talk to the bot at the terminal
  pubbot up --irc ircs://irc.libera.chat/#channel  a bot in a channel, in one process
  pubbot say libera/#channel hello                 say something from another shell
  pubbot tail 'chat.#'                             watch what happens
  pubbot search 'release from:alice'               find what was said

Exit status: 0 done, 1 failed, 2 used wrongly, 78 wrong configuration.
Configuration: pubbot.toml, PUBBOT_… variables over it, options over both.";

/// A chat bot that scales like a web service
///
/// `pubbot up` is the whole bot in one process. `pubbot connector` and `pubbot worker` are the same bot spread over
/// RabbitMQ: one connector owns the chat connections, any number of workers answer.
#[derive(Debug, Parser)]
#[command(name = "pubbot", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command has.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Options {
    /// The configuration file [default: pubbot.toml, if it is there] [env: PUBBOT_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The broker: `embedded:` or amqp://user:password@host:5672/vhost [env: PUBBOT_BROKER_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub broker_url: Option<String>,
    /// The database: sqlite:PATH or postgres://user:password@host:5432/database [default: sqlite:data/pubbot.db]
    /// [env: PUBBOT_DATABASE_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Log more; twice: everything, also of libraries [env: PUBBOT_LOG takes a filter such as info,bus=debug]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// Options of the roles that keep something on disk.
#[derive(Args, Debug, Default)]
pub struct Keeping {
    /// Where queues and journals, the socket and the lock are [default: data] [env: PUBBOT_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// What accepted messages survive: the end of the process (`process`), or a power failure, too (`power`)
    /// [default: process] [env: PUBBOT_DURABILITY]
    #[arg(long, value_name = "process|power")]
    durability: Option<String>,
}

impl Keeping {
    /// What they say over the configuration, too.
    pub fn over(self, mut overrides: Overrides) -> Overrides {
        overrides.keys.extend(self.data_dir.map(|folder| ("--data-dir", &["data_dir"][..], folder)));
        overrides.keys.extend(self.durability.map(|word| ("--durability", &["durability"][..], word)));
        overrides
    }
}

/// What pubbot can do. The variants are in the order of the help.
#[derive(Debug, Subcommand)]
pub enum Command {
    Up(up::Up),
    Connector(connector::Connector),
    Worker(worker::Worker),
    Say(say::Say),
    Publish(publish::Publish),
    Tail(tail::Tail),
    Search(search::Search),
    Archive(archive::Archive),
    Dead(dead::Dead),
    Settings(settings::Settings),
    People(people::People),
    Migrate(migrate::Migrate),
    Check(check::Check),
    Completions(completions::Completions),
}

impl Command {
    /// Does it.
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        match self {
            Command::Up(command) => command.run(options, environment),
            Command::Connector(command) => command.run(options, environment),
            Command::Worker(command) => command.run(options, environment),
            Command::Say(command) => command.run(options, environment),
            Command::Publish(command) => command.run(options, environment),
            Command::Tail(command) => command.run(options, environment),
            Command::Search(command) => command.run(options, environment),
            Command::Archive(command) => command.run(options, environment),
            Command::Dead(command) => command.run(options, environment),
            Command::Settings(command) => command.run(options, environment),
            Command::People(command) => command.run(options, environment),
            Command::Migrate(command) => command.run(options, environment),
            Command::Check(command) => command.run(options, environment),
            Command::Completions(command) => command.run(),
        }
    }
}

impl Options {
    /// What the options say over the configuration.
    pub fn overrides(&self) -> Overrides {
        let broker = self.broker_url.iter().map(|url| ("--broker-url", &["broker", "url"][..], url.clone()));
        let database = self.database_url.iter().map(|url| ("--database-url", &["database", "url"][..], url.clone()));
        Overrides { config: self.config.clone(), keys: broker.chain(database).collect(), ..Overrides::default() }
    }

    /// The same for a command that says nothing to a network itself.
    pub fn overrides_without_secrets(&self) -> Overrides {
        Overrides { without_secrets: true, ..self.overrides() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_help_text_and_each_command_an_example() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands() {
            helps(command);
        }
    }

    fn helps(command: &clap::Command) {
        if command.get_name() == "help" {
            return;
        }
        assert!(command.get_about().is_some(), "{}", command.get_name());
        assert!(command.get_after_help().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
        }
        command.get_subcommands().for_each(helps);
    }

    #[test]
    fn what_follows_the_target_is_text_whatever_it_begins_with() {
        let cli = Cli::try_parse_from(["pubbot", "say", "libera/#c", "-5", "degrees", "--help"]).unwrap();
        let Command::Say(say) = cli.command else { panic!() };
        assert_eq!(say.text, ["-5", "degrees", "--help"]);
    }

    #[test]
    fn options_may_follow_what_is_searched_for() {
        let cli = Cli::try_parse_from(["pubbot", "search", "rust", "lang -python", "--limit", "5"]).unwrap();
        let Command::Search(search) = cli.command else { panic!() };
        assert_eq!((search.words.join(" ").as_str(), search.limit), ("rust lang -python", 5));
    }

    #[test]
    fn nothing_to_do_an_unknown_command_and_a_bad_argument_are_status_2() {
        for arguments in [
            &["pubbot"][..],
            &["pubbot", "dance"],
            &["pubbot", "publish", "music..track", "{}"],
            &["pubbot", "tail", "a b"],
            &["pubbot", "up", "--irc", "ircs://irc.libera.chat"],
            &["pubbot", "up", "--nick", "a b"],
            &["pubbot", "worker", "--group", "a.b"],
            &["pubbot", "up", "-q", "-v"],
            &["pubbot", "dead"],
            &["pubbot", "settings", "set"],
            &["pubbot", "settings", "list", "--in", "#no-network"],
            &["pubbot", "say", "--tag", "a b", "text"],
            &["pubbot", "dead", "show"],
            &["pubbot", "dead", "retry"],
            &["pubbot", "dead", "retry", "--all", "x"],
            &["pubbot", "dead", "drop", "--all"],
            &["pubbot", "dead", "list", "--limit", "0"],
            &["pubbot", "people", "grant", "alice", "admin"],
            &["pubbot", "people", "grant", "libera/alice", "Admin!"],
            &["pubbot", "people", "merge", "1"],
            &["pubbot", "search"],
            &["pubbot", "search", "x", "--limit", "0"],
            &["pubbot", "search", "x", "--limit", "1000"],
            &["pubbot", "search", "x", "--before", "yesterday"],
            &["pubbot", "search", "x", "--zone", "Europe/Berlin"],
            &["pubbot", "archive"],
            &["pubbot", "archive", "import"],
            &["pubbot", "archive", "import", "x.log", "--network", "a b"],
            &["pubbot", "archive", "import", "x.log", "--channel", "libera/#c"],
            &["pubbot", "archive", "import", "x.log", "--format", "ircd"],
            &["pubbot", "archive", "export", "--channel", "#c"],
            &["pubbot", "archive", "forget", "alice"],
            &["pubbot", "archive", "forget", "libera/#c"],
            &["pubbot", "archive", "drop", "x"],
        ] {
            assert_eq!(Cli::try_parse_from(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
