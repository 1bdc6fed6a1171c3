//! `pubbot migrate`: brings the database's tables to the shape that this version needs, tells which steps they have had, or
//! takes steps back.

use std::io::{self, Write};

use clap::Args;
use store::{Schema, Step, Store};

use crate::cli::Options;
use crate::config::Environment;
use crate::failure::{Failure, unless_closed};
use crate::{bot, database};

const EXAMPLES: &str = "\
Examples:
  pubbot migrate             take all steps that are to come
  pubbot migrate --status    list the steps, taken or not
  pubbot migrate --down 1    take the last step back, with all that is in its tables

`pubbot up` does the first by itself. Several steps are taken together or not at all.";

/// Bring the database's tables to the shape that this version needs
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Migrate {
    /// List the steps; nothing is changed
    #[arg(long)]
    status: bool,
    /// Take so many steps back: what is in their tables is lost
    #[arg(long, value_name = "COUNT", conflicts_with = "status", value_parser = clap::value_parser!(u32).range(1..))]
    down: Option<u32>,
    /// Of the steps to this plugin's own tables
    #[arg(long, value_name = "NAME", requires = "down")]
    plugin: Option<String>,
}

impl Migrate {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        database::command(options, environment, database::open, async |config, store| {
            // they say which tables they need
            bot::plugins(config, store);
            let done = match self {
                Migrate { status: true, .. } => store.schema().await.map(|schema| told(&schema)),
                Migrate { down: Some(steps), plugin: Some(plugin), .. } => {
                    store.migrate_plugin_back(&plugin, steps).await.map(|steps| taken("back", &steps))
                }
                Migrate { down: Some(steps), .. } => store.migrate_back(steps).await.map(|steps| taken("back", &steps)),
                Migrate { .. } => store.migrate().await.map(|steps| taken("taken", &steps)),
            };
            unless_closed(io::stdout().write_all((done? + &at(store)).as_bytes()))
        })
    }
}

fn at(store: &Store) -> String {
    format!("database: {}\n", store.place())
}

fn told(Schema { steps }: &Schema) -> String {
    let word = |step: &Step| match step {
        Step { known: false, .. } => "unknown",
        Step { taken: true, .. } => "taken",
        Step { .. } => "to come",
    };
    steps.iter().map(|step| format!("{:<8} {}\n", word(step), step.name)).collect()
}

fn taken(word: &str, steps: &[String]) -> String {
    match steps {
        [] => "nothing to do\n".to_owned(),
        steps => steps.iter().map(|step| format!("{word:<8} {step}\n")).collect(),
    }
}
