//! A Microsoft 365 on loopback HTTP, for trials and tests.
