//! The configuration itself, and who else may read or write its files.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    super::{invocation::shell_quoted, page::Advice},
    Report, Setup,
};

/// Bits of a file's mode: everybody who is neither the owner nor in the file's group.
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

pub(super) fn report(report: &mut Report, setup: Setup<'_>, config_path: &Path) {
    let config = setup.config;
    let path = config_path.display();
    report.add(
        "Configuration",
        Advice::good(format!("{path}, account \"{}\"", config.account)),
    );
    report_file(report, config_path, forbidden_of_configuration(config_path));
    let secrets = [
        config.crm_url.file.as_deref(),
        config.state_url.file.as_deref(),
        config.wazzup.key.file(),
    ];
    for path in secrets.into_iter().flatten() {
        report_file(report, path, OTHERS_READ | OTHERS_WRITE);
    }
    let (every, unhealthy_after) = (config.every, config.unhealthy_after);
    if unhealthy_after <= every {
        let reason = format!(
            "schedule.unhealthy_after ({unhealthy_after:#}) is not longer than schedule.every ({every:#}), so \
             `healthcheck` fails between two good cycles"
        );
        let remedy = "make schedule.unhealthy_after several times as long as schedule.every";
        report.add("Schedule", Advice::warning(reason).with(remedy));
    }
}

fn report_file(report: &mut Report, path: &Path, forbidden: u32) {
    // A file that cannot be looked at fails elsewhere.
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    let found = metadata.permissions().mode() & forbidden;
    let (what, mode) = match (found & OTHERS_READ != 0, found & OTHERS_WRITE != 0) {
        (false, false) => return,
        (true, false) => ("read", "o-r"),
        (false, true) => ("change", "o-w"),
        (true, true) => ("read and change", "o-rw"),
    };
    let argument = shell_quoted(&path.to_string_lossy());
    let reason = format!("every user of this machine can {what} {}", path.display());
    let remedy = format!("run `chmod {mode} {argument}`; the daemon's own user must still be able to read it");
    report.add("Files", Advice::warning(reason).with(remedy));
}

/// Everybody may read a configuration that has no secret in it.
fn forbidden_of_configuration(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_default();
    if has_secret(&text) {
        OTHERS_READ | OTHERS_WRITE
    } else {
        OTHERS_WRITE
    }
}

fn has_secret(text: &str) -> bool {
    let Ok(table) = text.parse::<toml::Table>() else {
        return true;
    };
    let value = |section: &str, key: &str| table.get(section)?.get(key)?.as_str();
    let has_password = |section: &str| {
        let url = value(section, "url").and_then(|url| reqwest::Url::parse(url).ok());
        url.is_some_and(|url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password"))
    };
    value("wazzup", "api_key").is_some() || has_password("crm") || has_password("state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_the_configuration_is_seen() {
        for (text, expected) in [
            ("[wazzup]\napi_key_file = '/key'", false),
            ("[wazzup]\napi_key = 'x'", true),
            ("[crm]\nurl = 'postgres://reader@db/crm'", false),
            ("[crm]\nurl = 'postgres://reader:secret@db/crm'", true),
            ("[state]\nurl = 'postgres://db/crm?user=a&password=b'", true),
        ] {
            assert_eq!(has_secret(text), expected, "{text}");
        }
    }
}
