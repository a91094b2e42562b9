//! Shards: the owners of a tenant divided among several exports, so that each owner is in one.
//!
//! By the highest random weight (rendezvous hashing): every shard has a weight for every owner,
//! and the owner belongs to the shard that weighs most. Nothing but the owner's object id and the
//! number of shards decides, so it is the same on every machine and every night, whoever else
//! comes or goes; and of `N` shards an added one takes its `1/(N+1)` from all the others, which
//! exchange nothing among themselves.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// One of `of` shards of a tenant, `0 <= index < of`; in text `index/of`, such as `3/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

/// A text or pair of numbers that names no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "I/N is wanted, the shard's number and how many there are: 0/16 to 15/16, N at most {}",
    Shard::MOST
)]
pub struct BadShard;

impl Shard {
    /// The most shards there may be: an owner of the shard takes as many digests. Kubernetes
    /// starts no more, either.
    pub const MOST: u32 = 100_000;

    /// The shard with this number of so many.
    ///
    /// # Errors
    /// If there is none: `index` is too large, or `of` is 0 or more than [`Shard::MOST`].
    pub fn new(index: u32, of: u32) -> Result<Self, BadShard> {
        if index < of && of <= Self::MOST { Ok(Self { index, of }) } else { Err(BadShard) }
    }

    /// How many shards the tenant has.
    #[must_use]
    pub const fn of(self) -> u32 {
        self.of
    }

    /// Whether the owner with this object id belongs to it.
    #[must_use]
    pub fn holds(self, id: &str) -> bool {
        let own = weight(id, self.index);
        // Of equal weights, which nobody will ever see, the lower number's counts.
        (0..self.index).all(|other| weight(id, other) < own)
            && (self.index + 1..self.of).all(|other| weight(id, other) <= own)
    }

    /// Whether no owner can be in both: two shards of one division, or of two that both know both
    /// numbers. A shard that only one of them has may hold owners of any of the other's.
    #[must_use]
    pub const fn is_disjoint_from(self, other: Self) -> bool {
        self.index != other.index && self.index < other.of && other.index < self.of
    }
}

/// The weight of a shard for an owner: SHA-256 of `<id>/<number>`, as a big-endian number.
fn weight(id: &str, shard: u32) -> [u8; 32] {
    Sha256::digest(format!("{id}/{shard}")).into()
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = BadShard;

    fn from_str(text: &str) -> Result<Self, BadShard> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().map_err(|_| BadShard),
            false => Err(BadShard),
        };
        let (index, of) = text.split_once('/').ok_or(BadShard)?;
        Self::new(number(index)?, number(of)?)
    }
}
