//! Content that comes from Graph itself.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::call::Call;
use crate::engine::{Engine, Reply, describe};
use crate::error::{Error, ErrorKind};

/// The raw content of a message or attachment. It occupies one of the mailbox's connections until
/// it is dropped.
#[non_exhaustive]
pub struct Body {
    /// As the service says.
    pub content_type: Option<String>,
    /// Bytes of the whole content, if known: not of a compressed answer (FACTS 3.0).
    pub content_length: Option<u64>,
    received: u64,
    reply: Reply,
    call: Call,
    engine: Arc<Engine>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("call", &self.call)
            .field("content_length", &self.content_length)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) async fn open(engine: Arc<Engine>, mut call: Call) -> Result<Body, Error> {
        let reply = engine.send(&mut call, &mut engine.attempts()).await?;
        let content_type = reply.response.headers().get(http::header::CONTENT_TYPE);
        Ok(Body {
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            content_length: reply.response.content_length(),
            received: 0,
            reply,
            call,
            engine,
        })
    }

    /// The next bytes, or none at the end. A torn body is an error that is retryable: there is no
    /// `Range` here (FACTS 4.1), the caller starts over.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let torn = || describe(&self.call, self.reply.id).with_kind(ErrorKind::Interrupted);
        match self.reply.response.chunk().await {
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                self.engine.tally.bytes(bytes.len());
                Ok(Some(bytes))
            }
            Ok(None) if self.content_length.is_some_and(|length| self.received < length) => {
                Err(torn())
            }
            Ok(None) => Ok(None),
            Err(error) => Err(torn().because(error.without_url())),
        }
    }
}
