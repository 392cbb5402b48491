//! Commands to suggest, as they have to be typed to mean this configuration.

use std::{borrow::Cow, path::Path};

/// How this program was called, as far as suggested commands depend on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocation {
    /// The `-c FILE` that was given, with a blank behind it.
    options: String,
}

impl Invocation {
    /// With the configuration file, if it was named.
    pub(super) fn new(config: Option<&Path>) -> Self {
        let options = config.map(|path| format!("-c {} ", shell_quoted(&path.to_string_lossy())));
        Self {
            options: options.unwrap_or_default(),
        }
    }

    /// A command to copy, between backticks: `wazzup-sync -c FILE approve --yes` for `approve --yes`.
    pub(super) fn command(&self, verb: &str) -> String {
        format!("`wazzup-sync {}{verb}`", self.options)
    }

    /// The same for a verb with one id.
    pub(super) fn command_for(&self, verb: &str, id: &str) -> String {
        let dashes = if id.starts_with('-') { "-- " } else { "" };
        self.command(&format!("{verb} {dashes}{}", shell_quoted(id)))
    }
}

/// `word` as a shell has to read it. No argument has the U+0000 that cannot be quoted.
pub(super) fn shell_quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let plain = Invocation::default();
        assert_eq!(plain.command("approve --yes"), "`wazzup-sync approve --yes`");
        assert_eq!(plain.command_for("explain", "анна.7"), "`wazzup-sync explain 'анна.7'`");
        assert_eq!(plain.command_for("explain", "12 a"), "`wazzup-sync explain '12 a'`");
        assert_eq!(
            plain.command_for("explain", "o'neill"),
            r#"`wazzup-sync explain "o'neill"`"#
        );
        assert_eq!(plain.command_for("explain", "-x"), "`wazzup-sync explain -- -x`");
        assert_eq!(plain.command_for("explain", ""), "`wazzup-sync explain ''`");
        let elsewhere = Invocation::new(Some(Path::new("my configs/sync.toml")));
        assert_eq!(
            elsewhere.command("status"),
            "`wazzup-sync -c 'my configs/sync.toml' status`"
        );
    }
}
