//! Reading the phones that people type into a CRM, by Google's rules (libphonenumber).

use std::{collections::HashMap, sync::OnceLock};

use derive_more::Debug;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType, Region};
use serde::Serialize;

use super::Phone;

/// A phone as the CRM spells it (trimmed), with the region it is read for. `Debug` hides it.
///
/// The state keeps it beside each acknowledged phone: a spelling that was read before need not be read again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[debug("Spelling(…)")]
#[serde(transparent)]
pub struct Spelling {
    /// The region, a blank, and the text.
    stored: Box<str>,
}

impl Spelling {
    /// Takes back what [`Self::as_str`] gave.
    pub fn from_stored(text: &str) -> Self {
        Self { stored: text.into() }
    }

    /// The region and the text, as the state keeps them.
    pub fn as_str(&self) -> &str {
        &self.stored
    }
}

/// What spellings that were read before mean; `None`: that they are no phone.
pub type KnownPhones = HashMap<Spelling, Option<Phone>>;

/// Longer texts are no phone and are not even tried: the rules would take minutes for a megabyte.
const LONGEST_SPELLING: usize = 64;

/// Reads phones for one region.
#[derive(Debug, Clone)]
pub struct PhoneReader {
    region: Region,
    known: KnownPhones,
    /// The digit that stands before national numbers, such as the 8 of `8 926 …`. Known once the library has read such a
    /// number.
    trunk_prefix: OnceLock<char>,
}

impl PhoneReader {
    /// A reader for numbers written the way they are in `region`: a two-letter code such as `RU`. The error is the end of a
    /// sentence about the region.
    pub fn new(region_code: &str) -> Result<Self, &'static str> {
        // The default is not looked up: that loads all the rules for phones, which a quiet process can do without.
        let is_known = region_code == "RU"
            || PHONE_NUMBER_UTIL
                .get_supported_regions()
                .any(|region| region.to_string() == region_code);
        let region = Region::from_code(region_code).ok().filter(|_| is_known);
        Ok(Self {
            region: region.ok_or("must be the two upper-case letters of a country")?,
            known: KnownPhones::new(),
            trunk_prefix: OnceLock::new(),
        })
    }

    /// The same reader, which need not read what is `known`.
    #[must_use]
    pub fn knowing(&self, known: KnownPhones) -> Self {
        Self { known, ..self.clone() }
    }

    /// The phone that `text` means, with its spelling; blank means none. If it is not a valid number, neither of the region
    /// nor as international digits, the error is the spelling, unless that is too long to be kept.
    pub fn read(&self, text: &str) -> Result<Option<(Phone, Spelling)>, Option<Spelling>> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        if text.chars().count() > LONGEST_SPELLING {
            return Err(None);
        }
        let spelling = Spelling {
            stored: format!("{} {text}", self.region).into(),
        };
        let phone = match self.known.get(&spelling) {
            Some(known) => *known,
            None => self.read_plain(text).or_else(|| self.read_by_the_rules(text)),
        };
        match phone {
            Some(phone) => Ok(Some((phone, spelling))),
            None => Err(Some(spelling)),
        }
    }

    /// A valid number may be written with the bare international digits of another country (`380501234567` in Russia),
    /// so what the region does not know is tried again as `+digits`.
    fn read_by_the_rules(&self, text: &str) -> Option<Phone> {
        let valid = |text: &str| {
            PhoneNumber::parse(text, Some(self.region))
                .ok()
                .filter(PhoneNumber::is_valid)
        };
        let number = valid(text).or_else(|| valid(&format!("+{text}")))?;
        self.learn_trunk_prefix(text, &number);
        Phone::parse(number.to_string().trim_start_matches('+'))
    }

    fn learn_trunk_prefix(&self, text: &str, number: &PhoneNumber) {
        let digits = plain_digits(text).unwrap_or_default();
        let before = digits.strip_suffix(&number.national_number.to_string());
        if let Some(&[prefix]) = before.map(str::as_bytes)
            && !text.starts_with('+')
            && number.country_code.to_string() != char::from(prefix).to_string()
        {
            self.trunk_prefix.get_or_init(|| prefix.into());
        }
    }

    /// Reads the region's mobile and fixed-line numbers where they are written in the usual way, with the calling code or the
    /// trunk prefix, without the library's parser, which takes fifteen times as long as asking whether a number is valid. `None`
    /// leaves the text to the parser. Where both find a number, it is the same one: a test compares them for every region.
    fn read_plain(&self, text: &str) -> Option<Phone> {
        let country_code = self.country_code()?;
        let number = |national_number| PhoneNumber {
            country_code,
            national_number,
            ..PhoneNumber::default()
        };
        let digits = plain_digits(text)?;
        let is_international = text.starts_with('+');
        // Without the `+`, all the digits may be a national number.
        if !is_international && number(digits.parse().ok()?).is_possible_with_reason().is_ok() {
            return None;
        }
        let calling_code = country_code.to_string();
        let national = match self.trunk_prefix.get() {
            Some(prefix) if !is_international && digits.starts_with(*prefix) => digits.strip_prefix(*prefix)?,
            _ => digits.strip_prefix(&calling_code)?,
        };
        if national.starts_with('0') {
            return None;
        }
        let national = national.parse().ok()?;
        // Other numbers, such as free ones, may begin with what the parser takes for a trunk prefix.
        match number(national).get_type() {
            PhoneNumberType::Mobile | PhoneNumberType::FixedLine | PhoneNumberType::FixedLineOrMobile => {
                Phone::parse(&format!("{calling_code}{national}"))
            }
            _ => None,
        }
    }

    fn country_code(&self) -> Option<i32> {
        PHONE_NUMBER_UTIL.get_country_code_for_region(self.region)
    }
}

/// The digits of a phone that has nothing but digits, blanks, hyphens and brackets, and perhaps a `+` before them.
fn plain_digits(text: &str) -> Option<String> {
    let mut digits = String::new();
    for character in text.strip_prefix('+').unwrap_or(text).chars() {
        match character {
            '0'..='9' => digits.push(character),
            ' ' | '-' | '(' | ')' => {}
            _ => return None,
        }
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The phone, `none` for a blank, or `invalid`.
    fn read(region: &str, text: &str) -> String {
        match PhoneReader::new(region).expect("a region").read(text) {
            Ok(Some((phone, _))) => phone.to_string(),
            Ok(None) => "none".to_owned(),
            Err(_) => "invalid".to_owned(),
        }
    }

    #[rstest]
    #[case("+7 (926) 123-45-67", Some("79261234567"))]
    #[case("8 926 123-45-67", Some("79261234567"))]
    #[case("79261234567", Some("79261234567"))]
    #[case(" 9261234567 ", Some("79261234567"))]
    #[case("380501234567", Some("380501234567"))]
    #[case("+44 20 7946 0958", Some("442079460958"))]
    #[case("", None)]
    #[case("  ", None)]
    fn reads(#[case] text: &str, #[case] phone: Option<&str>) {
        assert_eq!(read("RU", text), phone.unwrap_or("none"));
    }

    #[rstest]
    #[case("12345")]
    #[case("no phone")]
    #[case("+7 926 123-45")]
    #[case("0")]
    #[case("00000000000")]
    #[case("7926123456789012345")]
    #[case("+7 926 123-45-67                                                       ext")]
    fn refuses(#[case] text: &str) {
        assert_eq!(read("RU", text), "invalid");
    }

    #[test]
    fn the_region_decides() {
        assert_eq!(read("RU", "020 7946 0958"), "invalid");
        assert_eq!(read("GB", "020 7946 0958"), "442079460958");
    }

    #[test]
    fn a_known_spelling_is_believed_for_its_region_only() {
        let russian = PhoneReader::new("RU").expect("a region");
        let unreadable = russian.read("020 79261234567").expect_err("not a phone in Russia");
        let spelling = unreadable.expect("short enough to be kept");
        let invented = Phone::parse("79990000000").expect("a phone");
        let known = KnownPhones::from([(spelling.clone(), Some(invented))]);
        assert_eq!(
            russian.knowing(known.clone()).read("020 79261234567"),
            Ok(Some((invented, spelling)))
        );
        let british = PhoneReader::new("GB").expect("a region").knowing(known);
        assert!(british.read("020 79261234567").is_err());
    }

    #[test]
    fn what_is_longer_than_64_characters_is_not_even_read() {
        let reader = PhoneReader::new("RU").expect("a region");
        let padded = |length: usize| format!("+7 926{}1234567", " ".repeat(length - "+7 9261234567".len()));
        assert!(reader.read(&padded(64)).is_ok());
        assert_eq!(reader.read(&padded(65)), Err(None));
        assert_eq!(reader.read(&padded(66)), Err(None));
    }

    /// Spellings of random numbers of a country: with its calling code, with a digit that may be a trunk prefix, bare.
    #[test]
    fn plain_numbers_are_read_as_the_rules_read_them() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut compared = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let reader = PhoneReader::new(&format!("{region:?}")).expect("a region");
            let calling_code = reader.country_code().expect("a calling code");
            for _ in 0..30 {
                let length = random.usize(7..11);
                let national: String = (0..length).map(|_| random.digit(10)).collect();
                let with_trunk_prefix = format!("{}{national}", random.choice(['0', '1', '8']).expect("one"));
                reader.read_by_the_rules(&with_trunk_prefix);
                for text in [
                    format!("+{calling_code} {national}"),
                    format!("{calling_code}{national}"),
                    with_trunk_prefix,
                    national,
                ] {
                    if let Some(phone) = reader.read_plain(&text) {
                        assert_eq!(reader.read_by_the_rules(&text), Some(phone), "{text} in {region:?}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 500, "{compared} of them were read");
    }

    #[test]
    fn a_spelling_is_stored_with_its_region() {
        let reader = PhoneReader::new("RU").expect("a region");
        let (_, spelling) = reader.read(" 8 926 123-45-67 ").expect("a phone").expect("no blank");
        assert_eq!(spelling.as_str(), "RU 8 926 123-45-67");
        assert_eq!(Spelling::from_stored(spelling.as_str()), spelling);
    }
}
