//! `explain ID`: one person's whole way, from the CRM's row to what to do.
//!
//! Here, on the terminal of an operator who asked, names and phones are shown.

mod facts;
mod json;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

use super::{
    Context, Error, Exit, Format,
    page::{self, Page},
    setup,
};

pub(super) async fn explain(context: &Context, id: &str, format: Format) -> Result<Exit, Error> {
    if id.trim().is_empty() {
        let problem = if id.is_empty() { "is empty" } else { "is blank" };
        let plan = context.invocation.command("plan");
        return Err(Error::Usage(format!(
            "the id {problem}: no user can have it; name the id of an employee; {plan} counts the CRM's rows without an \
             id"
        )));
    }
    let engine = setup::engine(&context.config)?;
    let facts = facts::collect(&engine, id, &context.invocation).await;
    match format {
        Format::Text => {
            let mut page = Page::new(text::MARGIN);
            text::write(&mut page, &facts);
            page.print()?;
        }
        Format::Json => page::print_json(&json::to_json(&facts))?,
    }
    let is_known = facts.crm.is_ok() || facts.state.is_ok();
    Ok(if is_known { Exit::Ok } else { Exit::Failed })
}
