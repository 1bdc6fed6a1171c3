//! Who is who, by services account and never by nick: what a handler asks of its [`Sender`], and what a handler that is for
//! some people only ([`Spec::role`](crate::Spec::role)) has asked before it runs.

use crate::{Context, Error, Extract, Sender};

/// Whether the handler may run for this event. What people are told if not is one sentence.
///
/// # Errors
/// [`Error::Tell`] for who lacks the role, [`Error::NotForMe`] for what nobody has said, and the database's.
pub(crate) async fn check(sender: Option<Sender>, role: &str) -> Result<(), Error> {
    let Some(sender) = sender else { return Err(Error::NotForMe) };
    match sender.lacks(role).await? {
        None => Ok(()),
        Some(why) => Err(Error::tell(sender.answer(why))),
    }
}

/// Who said it, where anybody did.
pub(crate) fn sender(context: &Context) -> Option<Sender> {
    Sender::extract(context).ok()
}

#[cfg(not(feature = "store"))]
impl Sender {
    /// Nobody has a role where nothing is remembered.
    #[allow(clippy::unused_async, reason = "with the feature `store` it asks the database")]
    async fn lacks(&self, role: &str) -> Result<Option<String>, Error> {
        Ok(Some(needs(role)))
    }
}

fn needs(role: &str) -> String {
    format!("that needs the role {role}")
}

#[cfg(feature = "store")]
pub(crate) use with_store::Memory;

#[cfg(feature = "store")]
mod with_store {
    use std::fmt;
    use std::sync::Arc;

    use protocol::Ambient;
    use store::Store;
    use store::people::{Profile, Standing, Who};

    use super::needs;
    use crate::extract::misuse;
    use crate::{Context, Error, Sender};

    /// What a [`Sender`] is looked up in. It is no part of who they are: any two are equal.
    #[derive(Clone)]
    pub(crate) struct Memory {
        store: Option<Store>,
        ambient: Arc<dyn Ambient>,
    }

    impl Memory {
        pub(crate) fn of(context: &Context) -> Self {
            Memory { store: context.database.clone(), ambient: context.ambient.clone() }
        }
    }

    impl PartialEq for Memory {
        fn eq(&self, _: &Self) -> bool {
            true
        }
    }

    impl Eq for Memory {}

    impl fmt::Debug for Memory {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.store.is_some() { "a database" } else { "no database" })
        }
    }

    impl Sender {
        /// The account that they are logged in to, as the store asks for it; `None` without one, whatever the nick.
        pub fn who(&self) -> Option<Who<'_>> {
            let account = self.account.as_deref()?;
            let source_id = self.source_id.unwrap_or_else(|| protocol::source_id(&self.network, account));
            Some(Who { source_id, network: &self.network, account, nick: Some(&self.nick) })
        }

        /// Their profile, which is made when it is asked for the first time; `None` without an account. The database is asked
        /// each time.
        ///
        /// # Errors
        /// The database's; and at once where the worker has none.
        pub async fn profile(&self) -> Result<Option<Profile>, Error> {
            let store = self.memory.store.as_ref();
            let store = store.ok_or_else(|| misuse("Sender, asked for a profile,", "a worker with .database(…)"))?;
            let Some(who) = self.who() else { return Ok(None) };
            Ok(Some(store.people().profile(&who, self.memory.ambient.now()).await?))
        }

        /// Whether they have a role that counts now. Nobody has one without an account, or where the worker has no database.
        ///
        /// # Errors
        /// The database's.
        pub async fn has_role(&self, role: &str) -> Result<bool, Error> {
            Ok(self.standing(role).await? == Standing::Has)
        }

        async fn standing(&self, role: &str) -> Result<Standing, Error> {
            match (&self.memory.store, self.who()) {
                (Some(store), Some(who)) => Ok(store.people().standing(&who, role, self.memory.ambient.now()).await?),
                _ => Ok(Standing::Lacks),
            }
        }

        /// What to tell who has not got the role.
        pub(super) async fn lacks(&self, role: &str) -> Result<Option<String>, Error> {
            Ok(match self.standing(role).await? {
                Standing::Has => None,
                Standing::Lacks => Some(needs(role)),
                Standing::Rests => Some(format!(
                    "{}, and yours rests since your account was not seen for 30 days: an operator can grant it again",
                    needs(role)
                )),
            })
        }
    }
}
