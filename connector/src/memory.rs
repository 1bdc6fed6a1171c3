//! What was said on a network, remembered on the broker: whoever speaks there next reads it first. A reply is
//! acknowledged only when this memory is safe, so that nobody says again what was proved to be said. With it stands up to
//! when everything was heard.

use std::collections::VecDeque;
use std::sync::Arc;

use bus::{Address, Broker, Error, Message, Properties, Queue};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::APP_ID;
use crate::heard::{Heard, Places};
use crate::recent::Recent;
use crate::said::{Chosen, Entry, Progress, Record, Said};

/// The memory of one network, with what is not yet written down.
pub(crate) struct Memory {
    broker: Arc<dyn Broker>,
    stream: Queue,
    said: Said,
    /// To be written next.
    waiting: Vec<Entry>,
    /// Being written, by their numbers.
    writing: VecDeque<(u64, Vec<Entry>, Places)>,
    last_write: u64,
    pub heard: Heard,
    /// Of the last events, the handler whose answer was chosen.
    chosen: Recent<Uuid, String>,
    /// Who wrote last.
    holder: Option<Uuid>,
}

/// How many choices are remembered.
const CHOICES: usize = 4_096;
/// How many records may be on their way at once. What waits meanwhile shares the next one.
const WRITES: usize = 4;

/// A record on its way to the broker: its number, and what became of it.
pub(crate) type Writing = BoxFuture<'static, (u64, Result<(), Error>)>;

impl Memory {
    pub fn new(broker: Arc<dyn Broker>, proto: &str, network: &str) -> Self {
        let stream = broker.topology().said(proto, network);
        let (waiting, writing, chosen, heard) = (Vec::new(), VecDeque::new(), Recent::new(CHOICES), Heard::default());
        Memory { broker, stream, said: Said::default(), waiting, writing, last_write: 0, heard, chosen, holder: None }
    }

    /// Where it is kept.
    pub fn stream(&self) -> &Queue {
        &self.stream
    }

    /// Learns what others wrote down. What can't be read is left out: it costs a repetition at worst.
    pub fn learn(&mut self, records: &[Bytes]) {
        for record in records {
            match serde_json::from_slice::<Record>(record) {
                Ok(record) => {
                    record.said.iter().for_each(|entry| self.said.note(entry.id(), entry.progress()));
                    self.holder = record.holder.or(self.holder);
                    self.heard.learn(record.heard);
                    record.chosen.into_iter().for_each(|chosen| self.note_choice(chosen));
                }
                Err(why) => tracing::warn!(stream = self.stream.name, %why, "a record of what was said is left out"),
            }
        }
        self.heard.is_read();
    }

    /// Reads all that was written down; tells who else wrote last, and writes down that it is us from now on.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn take_over(&mut self, ourselves: Uuid) -> Result<Option<Uuid>, Error> {
        let records = self.broker.read_stream(self.stream.clone()).await?;
        self.learn(&records);
        self.publish(&Record { holder: Some(ourselves), ..Record::default() }).await?;
        Ok(self.holder.replace(ourselves).filter(|before| *before != ourselves))
    }

    /// How much of a reply was said.
    pub fn progress(&self, id: Uuid) -> Progress {
        self.said.progress(id)
    }

    /// So much of a reply was proved to be said; to be written down.
    pub fn note(&mut self, id: Uuid, progress: Progress) {
        self.said.note(id, progress);
        self.waiting.push(Entry::new(id, progress));
    }

    /// So much of a reply was said, for this process alone to know.
    pub fn note_here(&mut self, id: Uuid, progress: Progress) {
        self.said.note(id, progress);
    }

    /// Whose answer to the event was chosen.
    pub fn choice(&self, event: Uuid) -> Option<&str> {
        self.chosen.get(&event).map(String::as_str)
    }

    /// Writes a choice down. It counts once that is done: [`Memory::note_choice`].
    pub fn choose(&self, chosen: Chosen) -> BoxFuture<'static, Result<(), Error>> {
        self.publish(&Record { chosen: Some(chosen), ..Record::default() })
    }

    /// The choice counts from now on.
    pub fn note_choice(&mut self, chosen: Chosen) {
        let Chosen { event, handler } = chosen;
        *self.chosen.note(event, String::new) = handler;
    }

    /// How many lines are not yet written down.
    pub fn unwritten(&self) -> usize {
        self.waiting.len() + self.writing.iter().map(|(_, entries, _)| entries.len()).sum::<usize>()
    }

    /// Begins to write down what waits, unless nothing waits or enough is being written. `last`: there will be no other
    /// time, so nothing waits for a better one.
    pub fn write(&mut self, last: bool) -> Option<Writing> {
        if self.writing.len() >= WRITES {
            return None;
        }
        let heard = self.heard.to_write(last).unwrap_or_default();
        if self.waiting.is_empty() && heard.is_empty() {
            return None;
        }
        let record = Record { said: std::mem::take(&mut self.waiting), heard, ..Record::default() };
        let (number, publishing) = (self.last_write + 1, self.publish(&record));
        self.last_write = number;
        self.writing.push_back((number, record.said, record.heard));
        Some(Box::pin(async move { (number, publishing.await) }))
    }

    /// A record is safe: the replies that are whole with it.
    pub fn written(&mut self, number: u64) -> Vec<Uuid> {
        let (written, _) = self.take(number);
        let written = written.into_iter();
        written.filter(|entry| entry.progress() == Progress::Whole).map(|entry| entry.id()).collect()
    }

    /// A record could not be written, and waits again. Whether it told of replies, which wait for it.
    pub fn not_written(&mut self, number: u64) -> bool {
        let (entries, heard) = self.take(number);
        let told_of_replies = !entries.is_empty();
        self.waiting.extend(entries);
        self.heard.not_written(&heard);
        told_of_replies
    }

    /// Nobody asks any more what became of the records on their way: all wait again.
    pub fn forsake(&mut self) {
        for (_, entries, heard) in self.writing.drain(..) {
            self.waiting.extend(entries);
            self.heard.not_written(&heard);
        }
    }

    fn take(&mut self, number: u64) -> (Vec<Entry>, Places) {
        let index = self.writing.iter().position(|(writing, ..)| *writing == number);
        let written = index.and_then(|index| self.writing.remove(index));
        written.map(|(_, entries, heard)| (entries, heard)).unwrap_or_default()
    }

    fn publish(&self, record: &Record) -> BoxFuture<'static, Result<(), Error>> {
        let broker = self.broker.clone();
        let body = serde_json::to_vec(record).unwrap_or_default();
        let properties =
            Properties { kind: Some("said".to_owned()), app_id: Some(APP_ID.to_owned()), ..Properties::default() };
        let stream = self.stream.clone();
        let message =
            Message { to: Address::Queue(self.stream.name.clone()), mandatory: true, properties, body: body.into() };
        Box::pin(async move {
            match broker.publish(message.clone()).await.await {
                // somebody has deleted it: what others wrote there is gone, what we say from now on is kept
                Err(Error::Unroutable(_)) => {
                    broker.declare(stream).await?;
                    broker.publish(message).await.await
                }
                written => written,
            }
        })
    }
}
