//! What a profile means, and a machine that runs what it was compiled to.

pub(super) mod machine;
pub(super) mod meaning;
