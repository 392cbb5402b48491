pub(super) mod json_docs;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn the_named_file_is_told_from_the_default() {
    for (arguments, expected) in [
        (&["wazzup-sync", "status"][..], "`wazzup-sync check`"),
        (&["wazzup-sync", "-c", "x", "status"], "`wazzup-sync -c x check`"),
        (&["wazzup-sync", "status", "--config", "x"], "`wazzup-sync -c x check`"),
    ] {
        let cli = Cli::try_parse_from(arguments).unwrap();
        let invocation = Invocation::new(cli.config.as_deref());
        assert_eq!(invocation.command("check"), expected, "{arguments:?}");
    }
}
