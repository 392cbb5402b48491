//! When two names are the same person's.

use derive_more::Debug;
use unicode_normalization::UnicodeNormalization as _;

use super::FullName;

/// A name without what people write differently: case, blanks at the ends and repeated, and the Unicode form. Two names are
/// the same if their keys are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[debug("NameKey(…)")]
pub struct NameKey(Box<str>);

impl NameKey {
    /// The key of any text.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let lower_case = name.nfc().collect::<String>().to_lowercase();
        // Lower case may come out decomposed, such as that of a capital I with a dot.
        let composed: String = lower_case.nfc().collect();
        let words: Vec<&str> = composed.split_whitespace().collect();
        Self(words.join(" ").into())
    }
}

impl FullName {
    /// Whether `other` is the same name, but for case, blanks and the Unicode form.
    #[must_use]
    pub fn is_same_as(&self, other: &str) -> bool {
        self.as_str() == other || NameKey::of(self.as_str()) == NameKey::of(other)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Anna Petrova", " anna   PETROVA ", true)]
    #[case("Zoe\u{308}", "ZO\u{cb}", true)]
    #[case("Анна\u{a0}Петрова", "анна петрова", true)]
    #[case("Anna Petrova", "Anna Petrov", false)]
    #[case("Anna Petrova", "AnnaPetrova", false)]
    fn compares(#[case] ours: &str, #[case] theirs: &str, #[case] same: bool) {
        assert_eq!(FullName::parse(ours).expect("a name").is_same_as(theirs), same);
    }
}
