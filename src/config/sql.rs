//! The two places where the file speaks SQL: names, and the query. Both are only looked at as far as a helpful message
//! needs; what is run safely is the business of the CRM reader, which quotes names and wraps the query.

/// The longest identifier that Postgres keeps, in bytes. It cuts longer ones silently, and then finds another object.
const MAX_BYTES: usize = 63;

/// A name, or a query, that Postgres could not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSql(&'static str);

/// Splits `table` or `schema.table` into its one or two names. A name with a dot, a quote or blanks at an end stands in
/// double quotes, as in SQL; unlike in SQL, upper case counts without them too.
///
/// # Errors
/// If a name is empty or longer than 63 bytes, a quote is not closed, or there are more than two names.
pub fn split_identifier(text: &str) -> Result<Vec<String>, InvalidSql> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => plain(rest)?,
        };
        identifier(&part)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return Err(InvalidSql("has text behind a closing quote")),
        }
    }
    if parts.len() > 2 {
        return Err(InvalidSql(
            "has more parts than a schema and a table; a name with a dot stands in double quotes",
        ));
    }
    Ok(parts)
}

/// The name up to the next dot.
fn plain(text: &str) -> Result<(String, &str), InvalidSql> {
    let (name, after) = text.split_at(text.find('.').unwrap_or(text.len()));
    if name.trim() != name || name.contains('"') {
        return Err(InvalidSql(
            "has a name with a quote, or with blanks at an end, that is not in double quotes",
        ));
    }
    Ok((name.to_owned(), after))
}

/// The name up to its closing quote; a doubled quote is one that belongs to the name.
fn unquote(text: &str) -> Result<(String, &str), InvalidSql> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest
            .split_once('"')
            .ok_or(InvalidSql("has a double quote that is not closed"))?;
        name.push_str(piece);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None => return Ok((name, after)),
        }
    }
}

/// Whether `name` can be the name of anything in Postgres, once it is quoted.
pub(super) fn identifier(name: &str) -> Result<(), InvalidSql> {
    match name {
        _ if name.trim().is_empty() => Err(InvalidSql("has an empty name")),
        _ if name.len() > MAX_BYTES => Err(InvalidSql(
            "has a name of more than 63 bytes, the most that Postgres keeps",
        )),
        _ if name.contains('\0') => Err(InvalidSql("has a NUL character in a name")),
        _ => Ok(()),
    }
}

/// What a query is made of, as far as we look.
enum Token {
    Blank,
    Word,
    Open,
    Close,
    Semicolon,
    Other,
}

/// The query without blanks, comments and semicolons at its ends, so that it can stand in parentheses.
pub(super) fn single_query(text: &str) -> Result<String, InvalidSql> {
    let (mut offset, mut depth) = (0, 0_u32);
    let (mut start, mut end) = (None, 0);
    let mut verb = "";
    let mut ended = false;
    while let Some(rest) = text.get(offset..).filter(|rest| !rest.is_empty()) {
        let (token, length) = token(rest)?;
        match token {
            Token::Blank => {}
            Token::Semicolon => ended = true,
            _ if ended => return Err(InvalidSql("holds more than one statement, but must be one SELECT")),
            Token::Open => depth += 1,
            Token::Close if depth == 0 => return Err(InvalidSql("closes a parenthesis that is not open")),
            Token::Close => depth -= 1,
            Token::Word if verb.is_empty() => verb = &rest[..length],
            Token::Word | Token::Other => {}
        }
        if !matches!(token, Token::Blank | Token::Semicolon) {
            start = start.or(Some(offset));
            end = offset + length;
        }
        offset += length;
    }
    if depth > 0 {
        return Err(InvalidSql("leaves a parenthesis open"));
    }
    if !["select", "with", "values", "table"].contains(&verb.to_ascii_lowercase().as_str()) {
        return Err(InvalidSql("must be one SELECT (or WITH, VALUES, TABLE)"));
    }
    Ok(text[start.unwrap_or(end)..end].to_owned())
}

/// The token that `text`, which is not empty, begins with, and its length in bytes.
fn token(text: &str) -> Result<(Token, usize), InvalidSql> {
    const OPEN_QUOTE: InvalidSql = InvalidSql("has a quote that is not closed");
    let first = text.chars().next().unwrap_or(' ');
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    Ok(match first {
        _ if text.starts_with("--") => (Token::Blank, text.find('\n').unwrap_or(text.len())),
        _ if text.starts_with("/*") => (Token::Blank, comment(text)?),
        _ if first.is_whitespace() => (Token::Blank, first.len_utf8()),
        ';' => (Token::Semicolon, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        // A doubled quote reads as two strings side by side, which ends at the same place.
        '\'' | '"' => (Token::Other, 2 + text[1..].find(first).ok_or(OPEN_QUOTE)?),
        'e' | 'E' if text[1..].starts_with('\'') => (Token::Other, escaped(text).ok_or(OPEN_QUOTE)?),
        '$' => (Token::Other, dollar_quoted(text)?),
        _ if is_word(first) => (Token::Word, text.find(|c| !is_word(c)).unwrap_or(text.len())),
        _ => (Token::Other, first.len_utf8()),
    })
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> Result<usize, InvalidSql> {
    let (mut depth, mut offset) = (0, 0);
    while let Some(next) = text[offset..].find(['/', '*']) {
        offset += next;
        let step = match text.get(offset..offset + 2) {
            Some("/*") => 1,
            Some("*/") => -1,
            _ => 0,
        };
        depth += step;
        offset += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return Ok(offset);
        }
    }
    Err(InvalidSql("has a comment that is not closed"))
}

/// The length of `E'…'`, in which a backslash protects the next character.
fn escaped(text: &str) -> Option<usize> {
    let mut protected = false;
    for (offset, c) in text.char_indices().skip(2) {
        match c {
            _ if protected => protected = false,
            '\\' => protected = true,
            '\'' if text[offset + 1..].starts_with('\'') => protected = true,
            '\'' => return Some(offset + 1),
            _ => {}
        }
    }
    None
}

/// The length of `$tag$…$tag$`, or 1 for a `$` that opens no string.
fn dollar_quoted(text: &str) -> Result<usize, InvalidSql> {
    let Some(length) = text[1..].find('$').map(|offset| offset + 2) else {
        return Ok(1);
    };
    let tag = &text[1..length - 1];
    if tag.starts_with(|c: char| c.is_ascii_digit()) || !tag.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Ok(1);
    }
    let body = text[length..]
        .find(&text[..length])
        .ok_or(InvalidSql("has a dollar quote that is not closed"))?;
    Ok(body + 2 * length)
}
