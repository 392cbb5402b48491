//! `check`.

use super::{Context, Error, Exit, Format};

#[expect(clippy::unused_async, reason = "written next")]
pub(super) async fn check(_: &Context, _: Format) -> Result<Exit, Error> {
    Err(Error::Refused("`check` is not written yet".to_owned()))
}
