//! What all text for people has in common: counted nouns, and nothing in it that controls a terminal or misleads a reader's
//! eye, whoever wrote it.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// `1 row`, `2 rows`.
pub(crate) fn counted(count: impl Copy + Display + PartialEq + From<u8>, noun: &str) -> String {
    let plural = if count == 1.into() { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Whether a character does something to a terminal or a reader's eye instead of being seen: control and format
/// characters (bidirectional marks, zero-width and tag characters), line and paragraph separators.
pub(crate) fn is_harmful(character: char) -> bool {
    matches!(
        character.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// `text`, with each harmful character written as `\u{1b}`. Everything that a stranger could have written (names, ids,
/// codes, hosts, messages of a database) passes here before it is shown.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_harmful(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// JSON in which every harmful character is written as `\u001b`.
pub(crate) fn printable_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        // Line breaks are the layout's own: within strings they are escaped already. So are all others below U+0020.
        if character == '\n' || !is_harmful(character) {
            safe.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nouns_are_counted() {
        assert_eq!(
            [0_usize, 1, 2].map(|count| counted(count, "row")),
            ["0 rows", "1 row", "2 rows"]
        );
    }

    #[test]
    fn nothing_harmful_is_printed() {
        let harmful = [
            '\0',
            '\t',
            '\n',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2066}',
            '\u{feff}',
            '\u{e0041}',
        ];
        for character in harmful {
            let text = format!("a{character}b");
            assert_eq!(printable(&text), format!("a{}b", character.escape_unicode()));
        }
        let harmless = "Анна-Мария O’Neill 王小明 🙂 é e\u{301}";
        assert!(matches!(printable(harmless), Cow::Borrowed(text) if text == harmless));
    }

    #[test]
    fn json_has_nothing_harmful_raw() {
        let value = json!({"name": "a\u{9b}\u{202e}\u{e0041}\n\u{7f}é"});
        let text = printable_json(&format!("{value:#}"));
        assert_eq!(text, "{\n  \"name\": \"a\\u009b\\u202e\\udb40\\udc41\\n\\u007fé\"\n}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, value);
    }
}
