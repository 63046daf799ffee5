//! What fuzz targets and tests drive: not part of the interface.

pub mod pair;
pub mod program;
