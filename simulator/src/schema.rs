//! What Graph v1.0 accepts: entity sets, types, properties, bound functions and query options.
//!
//! A simulator that answers any question flatters its client: a misspelt property in `$select`
//! would pass every test and fail in every tenant. So each request is walked through a table of the
//! published schema first and refused as the service would refuse it. The table is plain text
//! (`schema/*.txt`), complete for every type it names, and compared with Microsoft's own CSDL by
//! `tests/csdl.rs`. A type that is only mentioned there (as the target of a navigation, say) is
//! accepted whatever follows; describing it is how a new service is added.
//!
//! Names are compared exactly. The service forgives a wrong case in some places and not in others;
//! a client of ours has no reason to rely on that.

mod filter;
mod model;
mod options;
mod path;

pub use model::{Kind, Model, Shape, Type, Value, model};

/// Why the service would refuse a request before looking at any data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// `error.code` of the answer's body.
    pub code: &'static str,
    /// `error.message` of the answer's body.
    pub message: String,
}

impl Refusal {
    fn bad_request(message: impl Into<String>) -> Self {
        Self { status: 400, code: "BadRequest", message: message.into() }
    }

    fn no_segment(segment: &str) -> Self {
        Self::bad_request(format!("Resource not found for the segment '{segment}'."))
    }

    fn method() -> Self {
        Self {
            status: 405,
            code: "Request_BadRequest",
            message: "Specified HTTP method is not allowed for the request target.".into(),
        }
    }
}

/// Checks a request line: `path` is what follows `/v1.0`, `query` what follows `?`, both still
/// percent-encoded.
///
/// # Errors
/// The refusal that Graph would answer with.
pub fn check(method: &str, path: &str, query: Option<&str>) -> Result<(), Refusal> {
    let resource = path::walk(model(), path)?;
    if !resource.allows(method) {
        return Err(Refusal::method());
    }
    options::check(model(), resource, query.unwrap_or(""))
}

#[cfg(test)]
mod tests;
