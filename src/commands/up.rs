//! `pubbot up`: the whole bot in one process. Without a network, the chat is the terminal. The data folder has a
//! lock, so that there is one of them, and a socket by which other shells reach it.

mod console;
mod lock;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use bus::socket::Listener;
use bus::{Broker, Embedded};
use clap::Args;
use tokio_util::sync::CancellationToken;
use worker::RunError;

use self::lock::Lock;
use super::connector;
use crate::cli::{Keeping, Options};
use crate::config::{self, Config, Environment, IrcUrl, Overrides, network};
use crate::failure::Failure;
use crate::roles::Roles;
use crate::{bot, broker, database, logs, runtime, signals};

const EXAMPLES: &str = "\
Examples:
  pubbot up                                     talk to the bot at the terminal
  printf '!ping\\n' | pubbot up                  ask it something in a script
  pubbot up --irc ircs://irc.libera.chat/#a,#b  a bot in two channels
  pubbot up --config /etc/pubbot.toml           a bot as configured

While it runs, `pubbot say`, `publish` and `tail` reach it from another shell through the data folder.";

/// How often handlers get new threads when they have blocked too many: a plugin that hangs should not end the bot at once.
const NEW_THREADS: u32 = 3;

/// How long speakers go on with what is at hand once the worker has stopped.
const LINGER: Duration = Duration::from_secs(2);
/// How long they wait for a worker that has not stopped.
const HUSH_AFTER: Duration = Duration::from_secs(10);

/// Run the whole bot in one process; without a network, chat at the terminal
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    /// An IRC network besides those of the configuration, and the channels to join [may be repeated]
    #[arg(long, value_name = "ircs://HOST/#CHANNEL,…")]
    irc: Vec<IrcUrl>,
    /// The bot's nick on all networks [default: pubbot]
    #[arg(long, value_name = "NICK", value_parser = network::checked_nick)]
    nick: Option<String>,
    #[command(flatten)]
    keeping: Keeping,
}

impl Up {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &self.overrides(options))?;
        let at_the_terminal = config.networks.is_empty() && io::stderr().is_terminal();
        let default = if at_the_terminal { logs::Default::Quiet } else { logs::Default::Role };
        logs::start(options, environment, default)?;
        let _lock = Lock::take(&config.data_dir)?;
        runtime::block_on(run(config))
    }

    fn overrides(self, options: &Options) -> Overrides {
        let overrides = self.keeping.over(options.overrides());
        Overrides { networks: self.irc, nick: self.nick, ..overrides }
    }
}

/// The broker, and what only the embedded one can do.
struct Carrier {
    broker: Arc<dyn Broker>,
    embedded: Option<Embedded>,
}

async fn run(config: Config) -> Result<(), Failure> {
    let stop = signals::stop()?;
    let Some(carrier) = stop.run_until_cancelled(carrier(&config)).await else { return Ok(()) };
    let carrier = carrier?;
    let result = run_on(&carrier, &config, stop).await;
    carrier.broker.close().await;
    result
}

async fn carrier(config: &Config) -> Result<Carrier, Failure> {
    match &config.broker {
        config::Broker::RabbitMq(url) => {
            Ok(Carrier { broker: Arc::new(broker::rabbitmq(config, url, "up").await?), embedded: None })
        }
        config::Broker::Embedded => {
            let embedded = broker::embedded(config)?;
            Ok(Carrier { broker: Arc::new(embedded.clone()), embedded: Some(embedded) })
        }
    }
}

async fn run_on(
    Carrier { broker, embedded }: &Carrier,
    config: &Config,
    stop: CancellationToken,
) -> Result<(), Failure> {
    // before anybody can say anything, so that no line comes too early
    let store = database::open(config)?;
    database::prepare(&store).await?;
    let worker = bot::worker(config, &store).new_threads(NEW_THREADS).attach(broker.clone()).await?;
    let mut roles = Roles::new(stop.clone());
    let hush = CancellationToken::new();
    roles.start(bot::tidy(config, &store, &stop));
    roles.start(database::keep_trying(store, stop.clone()));
    connector::start(&mut roles, config, broker, LINGER, &hush);
    roles.start(before(worker.work(stop.clone()), stop.clone(), hush.clone()));
    if config.networks.is_empty() {
        console::start(&mut roles, broker, embedded.clone(), &stop, &hush).await?;
    }
    if embedded.is_some() {
        roles.start(serve(config, broker, &stop).await?);
    }
    roles.run().await
}

/// Works until stopped; then, when the last handlers have answered or after a while, tells the speakers to hush: so what
/// was asked before the stop is still answered.
async fn before(
    working: impl Future<Output = Result<(), RunError>>,
    stop: CancellationToken,
    hush: CancellationToken,
) -> Result<(), RunError> {
    let _hush_at_the_end = hush.clone().drop_guard();
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(HUSH_AFTER).await;
        hush.cancel();
        std::future::pending().await
    };
    tokio::select! {
        ended = working => ended,
        () = too_long => Ok(()),
    }
}

/// Lets other shells reach the embedded broker, through a socket in the data folder.
async fn serve(
    config: &Config,
    broker: &Arc<dyn Broker>,
    stop: &CancellationToken,
) -> Result<impl Future<Output = Result<(), Failure>> + Send + use<>, Failure> {
    let unusable = |why: io::Error| match why.kind() {
        io::ErrorKind::InvalidInput => {
            Failure::failed(format!("{why}: a socket needs a data folder with a shorter path"))
        }
        _ => Failure::failed(format!("the socket can't be used: {why}")),
    };
    let listener = Listener::bind(&broker::socket(&config.data_dir)).await.map_err(unusable)?;
    let (broker, stop) = (broker.clone(), stop.clone());
    Ok(async move {
        listener.serve(broker, stop).await;
        Ok(())
    })
}
