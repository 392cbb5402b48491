//! What tests found out, for docs/reliability.md.

use std::{fs, path::PathBuf};

/// Writes the figures of one part, as markdown, into the folder that `EVIDENCE_DIR` names. `make evidence` sets it and
/// puts the parts into docs/reliability.md; in an ordinary run nothing is written.
pub fn publish(part: &str, markdown: &str) {
    let Some(directory) = std::env::var_os("EVIDENCE_DIR").map(PathBuf::from) else {
        return;
    };
    fs::create_dir_all(&directory).expect("the folder for evidence can be made");
    fs::write(directory.join(format!("{part}.md")), markdown).expect("evidence can be written");
}

/// Whether the long version of a proof is wanted: all combinations instead of each value once.
pub fn is_wanted() -> bool {
    std::env::var_os("EVIDENCE_DIR").is_some()
}
