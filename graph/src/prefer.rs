//! Request headers that are not remembered by a link and so go with every page (FACTS 3.0).

/// What a caller prefers, repeated on each page of a list (FACTS 3.1). `IdType="ImmutableId"` is
/// added by itself in [`crate::Scope::Mailbox`].
#[derive(Clone, Debug, Default)]
pub struct Prefer {
    values: Vec<String>,
    page_size: Option<u32>,
    eventual: bool,
}

impl Prefer {
    /// No preference.
    pub fn none() -> Prefer {
        Prefer::default()
    }

    /// `odata.maxpagesize`: halved when the first page is too much for the service (FACTS 2.7).
    pub fn page_size(items: u32) -> Prefer {
        Prefer { page_size: Some(items), ..Prefer::default() }
    }

    /// One more preference, as it stands in the header: `outlook.body-content-type="text"`.
    pub fn and(mut self, preference: impl Into<String>) -> Prefer {
        self.values.push(preference.into());
        self
    }

    /// `ConsistencyLevel: eventual`, for advanced queries on directory objects (FACTS 3.0).
    pub fn eventual(mut self) -> Prefer {
        self.eventual = true;
        self
    }

    pub(crate) fn is_eventual(&self) -> bool {
        self.eventual
    }

    /// Halves the page size, unless there is none or it is 1.
    pub(crate) fn halve(&mut self) -> bool {
        match self.page_size.as_mut().filter(|size| **size > 1) {
            Some(size) => {
                *size /= 2;
                true
            }
            None => false,
        }
    }

    /// The one `Prefer` header, all preferences in it.
    pub(crate) fn header(&self, immutable_ids: bool) -> Option<String> {
        let mut values = Vec::new();
        if immutable_ids {
            values.push("IdType=\"ImmutableId\"".to_owned());
        }
        values.extend(self.page_size.map(|size| format!("odata.maxpagesize={size}")));
        values.extend(self.values.iter().cloned());
        (!values.is_empty()).then(|| values.join(", "))
    }
}
