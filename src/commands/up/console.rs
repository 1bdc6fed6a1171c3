//! The chat at the terminal: standard input is what is said, standard output what the bot replies. When the input ends,
//! what was said is still answered.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use bus::{Broker, Embedded, System};
use connector::console::{self, Input};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, unless_closed};
use crate::roles::Roles;

/// Who says what is typed.
const USER: &str = "you";

/// Starts to read, until `stop`, and to print, until `hush`. When the input has ended and everything is answered, all
/// stops.
pub async fn start(
    roles: &mut Roles,
    broker: &Arc<dyn Broker>,
    embedded: Option<Embedded>,
    stop: &CancellationToken,
    hush: &CancellationToken,
) -> Result<(), Failure> {
    let (input, output) = console::open(broker.clone(), Arc::new(System), USER).await?;
    if io::stdin().is_terminal() {
        greet();
    }
    let (stopping, hush, reading) = (stop.clone(), hush.clone(), stop.clone());
    roles.start(async move {
        let printed = output.print(tokio::io::stdout(), hush).await;
        // nobody reads the answers any more
        stopping.cancel();
        unless_closed(printed)
    });
    roles.start(async move { reading.run_until_cancelled(read(input, embedded, &reading)).await.unwrap_or(Ok(())) });
    Ok(())
}

fn greet() {
    let greeting = format!("pubbot {}: type !help and Enter; Ctrl-D ends.", env!("CARGO_PKG_VERSION"));
    writeln!(io::stderr(), "{greeting}").ok();
}

/// Reads to the end of the input, waits until everything is answered, and stops.
async fn read(input: Input, embedded: Option<Embedded>, stop: &CancellationToken) -> Result<(), Failure> {
    input.read(tokio::io::stdin()).await.map_err(Failure::failed)?;
    match embedded {
        Some(embedded) => {
            embedded.idle().await;
            stop.cancel();
        }
        // over RabbitMQ anybody may answer, so nobody knows when all have
        None => tracing::info!("the input has ended; answers are printed until Ctrl-C"),
    }
    Ok(())
}
