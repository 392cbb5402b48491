//! `explain`.

use super::{Context, Error, Exit, Format};

#[expect(clippy::unused_async, reason = "written next")]
pub(super) async fn explain(_: &Context, _: &str, _: Format) -> Result<Exit, Error> {
    Err(Error::Refused("`explain` is not written yet".to_owned()))
}
