//! A worker whose handlers do everything that handlers must not, as a process of its own: this test executable, started once more. It
//! prints what it runs on standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{RabbitMq, System, Topology};
use servers::{Program, Service};
use tokio_util::sync::CancellationToken;
use worker::{Args, Error, Plugin, Worker, command, trigger};

use crate::world::{World, test_environment};

/// How long a handler here may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// How many lines the handler that never stops talking says.
const FLOOD: usize = 10_000;
/// Where the process finds its broker, and what its names there begin with.
const URL: &str = "PUBBOT_TEST_WORKER_URL";
const PREFIX: &str = "PUBBOT_TEST_WORKER_PREFIX";

/// Starts one in a world over RabbitMQ, supervised.
pub fn start(world: &World) -> Service {
    let environment = [(URL, world.broker_url().to_owned()), (PREFIX, world.prefix().to_owned())];
    let service = Service::start("bad worker", move || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "faults::bad_worker::works_until_it_is_killed"]);
        command.envs(environment.iter().cloned());
        Program::spawn(command)
    });
    service.wait_for_stderr("ready", super::stage::RECOVERY);
    service
}

/// Runs only as a process of the other tests.
#[test]
#[ignore = "other tests start it as a process"]
fn works_until_it_is_killed() {
    let (url, prefix) = (test_environment(URL), test_environment(PREFIX));
    let worked = super::outside::runtime().block_on(async {
        let broker = RabbitMq::connect(&url, Topology::new(&prefix), "bad worker", Arc::new(System)).await.unwrap();
        let attached = Worker::new("bad").plugin(plugin()).attach(Arc::new(broker)).await.unwrap();
        eprintln!("ready");
        attached.work(CancellationToken::new()).await
    });
    if let Err(why) = worked {
        eprintln!("{why}");
        // without waiting for the threads that don't come back
        std::process::exit(1);
    }
}

fn plugin() -> Plugin {
    Plugin::new("bad")
        .on(command("ok"), ok)
        .on(command("panic"), panic)
        .on(command("shaky"), shaky)
        .on(command("abort"), abort)
        .on(command("hang").timeout(TIMEOUT), hang)
        .on(command("block").timeout(TIMEOUT), block)
        .on(command("flood"), flood)
        .on(trigger("marco"), marco)
}

async fn ok(args: Args) -> String {
    args.0
}

async fn panic(_: Args) -> String {
    eprintln!("panics");
    panic!("on purpose")
}

/// Panics the first time only.
async fn shaky(args: Args) -> String {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    eprintln!("shakes");
    assert!(TRIES.fetch_add(1, Ordering::SeqCst) > 0, "the first time");
    args.0
}

async fn abort(_: Args) -> String {
    eprintln!("aborts");
    std::process::abort()
}

async fn hang(_: Args) -> String {
    eprintln!("hangs");
    std::future::pending().await
}

async fn block(_: Args) -> Result<String, Error> {
    eprintln!("blocks");
    std::thread::sleep(Duration::from_secs(3_600));
    Err(Error::tell("never"))
}

async fn flood(_: Args) -> Vec<String> {
    (0..FLOOD).map(|number| format!("flood {number}")).collect()
}

async fn marco() -> &'static str {
    "marco"
}
