//! What a broker promises, tested on every broker there is: the same functions run on the embedded one in memory and on
//! disk, on the embedded one reached through a Unix socket, and on RabbitMQ, each test under a prefix of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod conformance {
    mod broken_connections;
    mod later;
    mod locks;
    mod ordered;
    mod rules;
    mod socket;
    mod world;

    /// Not through a socket, which knows neither locks nor streams.
    macro_rules! on_brokers_of_ones_own {
        ($($test:ident),* $(,)?) => {
            mod own_embedded {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::embedded();
                    super::rules::$test(&*world.broker).await;
                })*
            }
            mod own_rabbitmq {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::rabbitmq().await;
                    super::rules::$test(&*world.broker).await;
                    world.broker.close().await;
                })*
            }
        };
    }

    on_brokers_of_ones_own! {
        a_lock_has_one_holder_at_a_time,
        whoever_stops_waiting_for_a_lock_leaves_it_free,
        the_depth_of_a_queue_is_what_waits_in_it,
        a_stream_is_read_from_its_beginning_to_its_end_by_anybody,
        of_a_long_stream_the_last_messages_are_read,
    }

    macro_rules! on_every_broker {
        ($($test:ident),* $(,)?) => {
            mod embedded {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::embedded();
                    super::rules::$test(&*world.broker).await;
                })*
            }
            mod durable {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::durable();
                    super::rules::$test(&*world.broker).await;
                })*
            }
            mod power {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::power();
                    super::rules::$test(&*world.broker).await;
                })*
            }
            mod remote {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::remote().await;
                    super::rules::$test(&*world.broker).await;
                })*
            }
            mod rabbitmq {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let world = super::world::rabbitmq().await;
                    super::rules::$test(&*world.broker).await;
                    world.broker.close().await;
                })*
            }
        };
    }

    on_every_broker! {
        patterns_follow_the_topic_rules,
        workers_of_a_group_share_its_events,
        each_group_gets_a_copy,
        a_queue_with_several_matching_patterns_gets_one_copy,
        what_is_acknowledged_never_comes_again,
        what_is_given_back_or_dropped_comes_again_and_is_counted,
        no_more_than_the_prefetch_is_unsettled,
        one_consumer_sees_the_order_also_after_giving_back,
        acknowledging_in_any_order_acknowledges_exactly_that,
        what_is_buried_is_in_the_queue_of_dead_letters,
        a_reply_queue_has_one_active_consumer_at_a_time,
        a_reply_to_nobody_is_unroutable_and_only_that_one,
        an_event_for_nobody_is_fine_unless_it_is_mandatory,
        a_thousand_pipelined_events_are_confirmed_and_keep_their_order,
        a_tail_goes_away_with_its_consumer,
        properties_and_any_body_survive,
        a_queue_can_not_be_declared_with_other_arguments,
        a_declared_queue_keeps_events_until_somebody_consumes,
        a_dropped_consumer_gives_back_what_nobody_saw_and_still_settles_the_rest,
        a_consumer_that_is_dropped_while_events_pour_in_loses_none,
        closing_ends_the_consumers,
        who_stops_waiting_for_a_consumer_leaves_none_behind,
        a_delivery_tells_its_queue_and_the_key_that_its_header_has,
        what_is_to_come_later_comes_on_time_to_its_queue_and_nowhere_else,
        what_is_to_come_later_to_nobody_is_gone_and_disturbs_nobody,
    }
}
