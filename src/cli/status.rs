//! `status`.

use super::{Context, Error, Exit, Format};

#[expect(clippy::unused_async, reason = "written next")]
pub(super) async fn status(_: &Context, _: Format) -> Result<Exit, Error> {
    Err(Error::Refused("`status` is not written yet".to_owned()))
}
