//! What only the socket has: a file, other processes that come and go, and nonsense from outside.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus::socket::{Listener, connect};
use bus::{Broker, Embedded, Error, Message};
use bytes::Bytes;
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::world::{PATIENCE, consume, event, next, number, numbers, patterns, publish, publish_all, topology};

struct Served {
    broker: Arc<Embedded>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn serve(path: &Path) -> Served {
    let (broker, stop) = (Arc::new(Embedded::new(topology())), CancellationToken::new());
    let listener = Listener::bind(path).await.unwrap();
    let serving = tokio::spawn(listener.serve(broker.clone(), stop.clone()));
    Served { broker, stop, serving }
}

#[tokio::test]
async fn the_file_is_for_its_owner_only_and_goes_with_its_process() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "something else is left in the folder");
    served.stop.cancel();
    timeout(PATIENCE, served.serving).await.unwrap().unwrap();
    assert!(!path.exists());
    assert!(matches!(connect(&path).await, Err(Error::NotRunning { .. })));
}

#[tokio::test]
async fn a_dead_process_is_replaced_and_a_living_one_is_not() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    // bound, and closed without removing the file: what a killed process leaves
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(connect(&path).await, Err(Error::NotRunning { .. })));
    let _served = serve(&path).await;
    assert_eq!(Listener::bind(&path).await.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "dear diary").unwrap();
    let refused = Listener::bind(&path).await.unwrap_err();
    assert!(refused.to_string().contains("notes.txt"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary");
    let long = folder.path().join("x".repeat(120));
    assert!(Listener::bind(&long).await.is_err());
}

#[tokio::test]
async fn what_was_settled_is_settled_when_the_other_end_says_that_it_knows() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let queue = served.broker.topology().worker("main", patterns(&["a.b"]));
    let remote = connect(&path).await.unwrap();
    let mut consumer = consume(&remote, queue.clone(), 1_000).await;
    publish_all(&remote, "a.b", 0..500).await;
    assert_eq!(numbers(&mut consumer, 500).await.len(), 500);
    remote.settled().await.unwrap();
    assert_eq!(served.broker.held(&queue.name), 0);
}

#[tokio::test]
async fn whoever_goes_without_a_word_gives_everything_back() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let queue = served.broker.topology().worker("main", patterns(&["a.b"]));
    let remote = connect(&path).await.unwrap();
    let mut consumer = consume(&remote, queue.clone(), 10).await;
    publish(&remote, event("a.b", 1)).await;
    let held = next(&mut consumer).await;
    drop((remote, consumer));
    let mut local = consume(&*served.broker, queue, 10).await;
    let again = next(&mut local).await;
    assert_eq!((number(&again), again.attempts), (1, 1));
    again.acknowledge();
    held.acknowledge();
    timeout(PATIENCE, served.broker.idle()).await.unwrap();
}

#[tokio::test]
async fn when_the_other_end_goes_consumers_end_and_publishing_fails() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let remote = connect(&path).await.unwrap();
    let mut consumer = consume(&remote, remote.topology().worker("main", patterns(&["a.b"])), 10).await;
    publish(&remote, event("a.b", 1)).await;
    assert_eq!(numbers(&mut consumer, 1).await, [1]);
    served.stop.cancel();
    timeout(PATIENCE, served.serving).await.unwrap().unwrap();
    assert!(timeout(PATIENCE, consumer.next()).await.unwrap().is_none());
    let confirm = remote.publish(event("a.b", 2)).await.await;
    assert!(matches!(confirm, Err(Error::Away { .. })), "{confirm:?}");
    assert!(remote.declare(remote.topology().dead()).await.is_err());
    timeout(Duration::from_secs(5), remote.close()).await.unwrap();
}

#[tokio::test]
async fn what_was_settled_and_published_before_closing_counts() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let remote = connect(&path).await.unwrap();
    let mut consumer = consume(&remote, remote.topology().worker("main", patterns(&["a.b"])), 10).await;
    let confirm = remote.publish(event("a.b", 1)).await;
    next(&mut consumer).await.acknowledge();
    remote.close().await;
    confirm.await.unwrap();
    timeout(PATIENCE, served.broker.idle()).await.unwrap();
    assert!(matches!(remote.publish(event("a.b", 2)).await.await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_queues_depth_is_known_on_the_other_side() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let remote = connect(&path).await.unwrap();
    let queue = remote.topology().worker("main", patterns(&["a.b"]));
    assert_eq!(remote.depth(&queue.name).await.unwrap(), None);
    remote.declare(queue.clone()).await.unwrap();
    publish_all(&remote, "a.b", 0..3).await;
    assert_eq!(remote.depth(&queue.name).await.unwrap(), Some(3));
    let mut consumer = consume(&remote, queue.clone(), 1).await;
    let _held = next(&mut consumer).await;
    assert_eq!(remote.depth(&queue.name).await.unwrap(), Some(2));
    served.stop.cancel();
    timeout(PATIENCE, served.serving).await.unwrap().unwrap();
    assert!(matches!(remote.depth(&queue.name).await, Err(Error::Away { .. })));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_on_one_side_and_buried_on_the_other() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let served = serve(&path).await;
    let remote = connect(&path).await.unwrap();
    let large = Message { body: Bytes::from(vec![b'x'; 1024 * 1024]), ..event("a.b", 1) };
    let refused = remote.publish(large.clone()).await.await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    let mut consumer = consume(&remote, remote.topology().worker("main", patterns(&["a.b"])), 10).await;
    publish(&*served.broker, large).await;
    publish(&*served.broker, event("a.b", 2)).await;
    assert_eq!(numbers(&mut consumer, 1).await, [2]);
    let mut dead = consume(&*served.broker, served.broker.topology().dead(), 1).await;
    assert_eq!(next(&mut dead).await.body.len(), 1024 * 1024);
}

#[tokio::test]
async fn nonsense_is_answered_with_an_error_and_the_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let _served = serve(&path).await;
    let framed = |json: &str| [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], json.as_bytes()].concat();
    let deep = format!("{{\"do\":{}", "[".repeat(10_000));
    let nonsense = [
        framed("hello"),
        framed(""),
        framed("\n\n\n"),
        framed(&deep),
        framed(r#"{"do":"dance","n":1}"#),
        framed(r#"{"do":"publish","n":1,"to":{"topic":"a..b"},"mandatory":false,"properties":{}}"#),
        framed(r#"{"do":"publish","n":-1,"to":{"queue":"q"},"mandatory":false,"properties":{}}"#),
        framed(r#"{"do":"declare","n":1,"queue":{"name":"q","bindings":["a b"],"exclusive":false,"arguments":[]}}"#),
        framed(
            r#"{"do":"declare","n":1,"queue":{"name":"q","bindings":[],"exclusive":false,"arguments":[["x-odd",1]]}}"#,
        ),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        u32::MAX.to_be_bytes().to_vec(),
    ];
    for bytes in nonsense {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("malformed"), "{} got {answer}", String::from_utf8_lossy(&bytes));
    }
    // half a frame, and gone
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&[0, 0, 1]).await.unwrap();
    drop(stream);
    let remote = connect(&path).await.unwrap();
    publish(&remote, event("a.b", 1)).await;
}
