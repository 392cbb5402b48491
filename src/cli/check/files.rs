//! The configuration itself, and who else may read or write its files.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    super::{Context, invocation::shell_quoted},
    CheckReport,
};

pub(super) fn report(report: &mut CheckReport, context: &Context) {
    let (config, path) = (&context.config, &context.config_path);
    let found = format!("{}, account \"{}\"", path.display(), config.account);
    report.good("Configuration", found);
    let text = fs::read_to_string(path).unwrap_or_default();
    report_file(report, path, has_secret(&text));
    let secrets = [
        config.crm_url.file.as_deref(),
        config.state_url.file.as_deref(),
        config.wazzup.key.file(),
    ];
    for path in secrets.into_iter().flatten() {
        report_file(report, path, true);
    }
    let (every, unhealthy_after) = (config.every, config.unhealthy_after);
    if unhealthy_after <= every {
        let reason = format!(
            "schedule.unhealthy_after ({unhealthy_after:#}) is not longer than schedule.every ({every:#}), so \
             `healthcheck` fails between two good cycles"
        );
        let remedy = "make schedule.unhealthy_after several times as long as schedule.every";
        report.warn("Schedule", reason, remedy);
    }
}

/// Whether everybody, who is neither the owner nor in the file's group, can change the file, or read a secret in it.
fn report_file(report: &mut CheckReport, path: &Path, is_secret: bool) {
    let (forbidden, what, mode) = if is_secret {
        (0o006, "read or change", "o-rw")
    } else {
        (0o002, "change", "o-w")
    };
    // A file that cannot be looked at fails elsewhere.
    let found = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if found & forbidden == 0 {
        return;
    }
    let path = path.to_string_lossy();
    let argument = shell_quoted(&path);
    let reason = format!("every user of this machine can {what} {path}");
    let remedy = format!("run `chmod {mode} {argument}`; the daemon's own user must still be able to read it");
    report.warn("Files", reason, remedy);
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
