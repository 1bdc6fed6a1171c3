//! Queues on RabbitMQ that are not as this version wants them.

use std::sync::Arc;

use bus::{Broker, Queue, RabbitMq, System, Topology};

use crate::world::{Kind, World, fresh_prefix};

/// Nobody listens there: neither role gets that far.
const NO_IRC_PORT: u16 = 1;

#[test]
fn a_queue_with_other_arguments_ends_a_role_and_the_error_says_which_and_what_to_do() {
    let prefix = fresh_prefix();
    let topology = Topology::new(&prefix);
    declare_with_one_byte(&topology, topology.worker("main", vec![]));
    declare_with_one_byte(&topology, topology.replies("irc", "test"));
    let world = World::with_prefix(&prefix, Kind::Spread, NO_IRC_PORT, &[]);
    for (role, queue, bytes) in [
        ("worker", format!("{prefix}.worker.main"), 268_435_456),
        ("connector", format!("{prefix}.replies.irc.test"), 67_108_864),
    ] {
        let output = world.run(&[role]);
        assert_eq!(output.status.code(), Some(1), "{role}: {output:?}");
        let error = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        let expected = format!(
            "error: the queue {queue} exists with other arguments: its x-max-length-bytes is 1, not {bytes} as asked \
             for; delete that queue when it is empty, or set broker.prefix to another prefix"
        );
        assert_eq!(error, expected, "{role}: {output:?}");
    }
}

/// Declares the queue as another program could have done.
fn declare_with_one_byte(topology: &Topology, mut queue: Queue) {
    for (name, value) in &mut queue.arguments {
        if *name == "x-max-length-bytes" {
            *value = 1.into();
        }
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = servers::RabbitMq::shared().url();
        let broker = RabbitMq::connect(url, topology.clone(), "test", Arc::new(System)).await.unwrap();
        broker.declare(queue).await.unwrap();
        broker.close().await;
    });
}
