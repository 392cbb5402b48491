pub(super) mod json_docs;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn the_named_file_is_told_from_the_default() {
    for (arguments, is_given) in [
        (&["wazzup-sync", "status"][..], false),
        (&["wazzup-sync", "-c", "x", "status"], true),
        (&["wazzup-sync", "status", "--config", "x"], true),
    ] {
        let matches = command().try_get_matches_from(arguments).unwrap();
        let source = matches.value_source("config");
        assert_eq!(source == Some(ValueSource::CommandLine), is_given, "{arguments:?}");
        assert_eq!(Cli::from_arg_matches(&matches).unwrap().config.is_some(), is_given);
    }
}
