//! Async functions as handlers: parameters are extracted, the return value becomes replies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Action, Context, Error, Extract, Reply};

/// An async function whose parameters are [`Extract`]ed and whose result is [`IntoReplies`]. Up to 8 parameters.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    note = "a handler is an `async fn` of up to 8 parameters that implement `worker::Extract`, \
            and returns something that implements `worker::IntoReplies`"
)]
pub trait Handler<A>: Send + Sync + 'static {
    /// Runs it for one event.
    fn call(&self, context: Context) -> impl Future<Output = Result<Vec<Reply>, Error>> + Send;
}

/// What a handler may return.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    note = "handlers return (), text, Reply, Action, Option, Vec and pairs of them, and Result<…, worker::Error>"
)]
pub trait IntoReplies {
    /// The replies in the order they are to be said.
    ///
    /// # Errors
    /// The handler's error.
    fn into_replies(self) -> Result<Vec<Reply>, Error>;
}

impl IntoReplies for () {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        Ok(Vec::new())
    }
}

impl IntoReplies for Reply {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        Ok(vec![self])
    }
}

impl IntoReplies for Action {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        Ok(vec![self.into()])
    }
}

/// One after the other.
impl<A: IntoReplies, B: IntoReplies> IntoReplies for (A, B) {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        let (first, second) = (self.0.into_replies()?, self.1.into_replies()?);
        Ok(first.into_iter().chain(second).collect())
    }
}

impl IntoReplies for String {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        Ok(vec![Reply::text(self)])
    }
}

impl IntoReplies for &str {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        Ok(vec![Reply::text(self)])
    }
}

impl<R: IntoReplies> IntoReplies for Option<R> {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        self.map_or(Ok(Vec::new()), R::into_replies)
    }
}

impl<R: IntoReplies> IntoReplies for Vec<R> {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        let replies: Result<Vec<Vec<Reply>>, Error> = self.into_iter().map(R::into_replies).collect();
        Ok(replies?.into_iter().flatten().collect())
    }
}

impl<R: IntoReplies, E: Into<Error>> IntoReplies for Result<R, E> {
    fn into_replies(self) -> Result<Vec<Reply>, Error> {
        self.map_err(Into::into).and_then(R::into_replies)
    }
}

macro_rules! handlers {
    ($($parameter:ident),*) => {
        impl<F, Fut, R, $($parameter),*> Handler<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: IntoReplies,
            $($parameter: Extract + Send,)*
        {
            #[allow(unused_variables, reason = "a handler without parameters needs no context")]
            async fn call(&self, context: Context) -> Result<Vec<Reply>, Error> {
                self($($parameter::extract(&context)?),*).await.into_replies()
            }
        }
    };
}

handlers!();
handlers!(A);
handlers!(A, B);
handlers!(A, B, C);
handlers!(A, B, C, D);
handlers!(A, B, C, D, E);
handlers!(A, B, C, D, E, G);
handlers!(A, B, C, D, E, G, H);
handlers!(A, B, C, D, E, G, H, I);

/// A handler at work.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Vec<Reply>, Error>> + Send>>;

/// A handler of any parameters.
pub(crate) type Erased = Arc<dyn Fn(Context) -> Running + Send + Sync>;

pub(crate) fn erase<A>(handler: impl Handler<A>) -> Erased {
    let handler = Arc::new(handler);
    Arc::new(move |context| {
        let handler = handler.clone();
        Box::pin(async move { handler.call(context).await })
    })
}
