//! Events taken many at a time: what a batch is, and async functions of one as handlers. For work that costs less for
//! many at once than for each alone, as writing to a database does.

use std::any::TypeId;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use protocol::Chat;

use crate::plugin::States;
use crate::{Error, State};

/// Events in a batch at most.
pub const LARGEST_BATCH: usize = 1_000;

/// Events in the order of their delivery: at least one, at most [`LARGEST_BATCH`].
#[derive(Clone, Debug, Default)]
pub struct Batch {
    events: Vec<BatchEvent>,
}

/// One event of a batch.
#[derive(Clone, Debug)]
pub struct BatchEvent {
    /// The event as it came: its key, its id, its body.
    pub event: protocol::Event,
    /// Its body, where somebody said something.
    pub chat: Option<Chat>,
}

impl Batch {
    pub(crate) fn of(events: Vec<BatchEvent>) -> Self {
        Batch { events }
    }
}

impl Deref for Batch {
    type Target = [BatchEvent];

    fn deref(&self) -> &[BatchEvent] {
        &self.events
    }
}

impl IntoIterator for Batch {
    type Item = BatchEvent;
    type IntoIter = std::vec::IntoIter<BatchEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a BatchEvent;
    type IntoIter = std::slice::Iter<'a, BatchEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.iter()
    }
}

/// An async function of a [`Batch`] and up to 4 [`State`]s that returns `Result<(), worker::Error>`. What its errors mean
/// stands at [`Plugin::in_batches`](crate::Plugin::in_batches).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of batches",
    note = "a handler of batches is an `async fn(Batch, State<…>, …) -> Result<(), worker::Error>` with up to 4 states"
)]
pub trait BatchHandler<A>: Send + Sync + 'static {
    /// The types that it takes as states, and their names.
    fn needs(&self) -> Vec<(TypeId, &'static str)>;

    /// Runs it for one batch.
    fn call(&self, work: BatchContext) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A batch before its handler, with what the plugin shares.
pub struct BatchContext {
    batch: Batch,
    states: Arc<States>,
}

macro_rules! batch_handlers {
    ($($state:ident),*) => {
        impl<F, Fut, $($state),*> BatchHandler<($($state,)*)> for F
        where
            F: Fn(Batch $(, State<$state>)*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<(), Error>> + Send,
            $($state: Send + Sync + 'static,)*
        {
            fn needs(&self) -> Vec<(TypeId, &'static str)> {
                vec![$((TypeId::of::<$state>(), std::any::type_name::<$state>())),*]
            }

            async fn call(&self, work: BatchContext) -> Result<(), Error> {
                self(work.batch $(, State::<$state>::of(&work.states)?)*).await
            }
        }
    };
}

batch_handlers!();
batch_handlers!(A);
batch_handlers!(A, B);
batch_handlers!(A, B, C);
batch_handlers!(A, B, C, D);

type Running = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A handler of batches with any states.
pub(crate) type Erased = Arc<dyn Fn(Batch, Arc<States>) -> Running + Send + Sync>;

pub(crate) fn erase<A>(handler: impl BatchHandler<A>) -> Erased {
    let handler = Arc::new(handler);
    Arc::new(move |batch, states| {
        let handler = handler.clone();
        Box::pin(async move { handler.call(BatchContext { batch, states }).await })
    })
}
