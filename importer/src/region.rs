//! Parts of the archive's file.

pub(crate) use archive::region::{Proven, Region, RegionReader};
