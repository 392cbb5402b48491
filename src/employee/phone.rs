//! Reading the phones that people type into a CRM, by Google's rules (libphonenumber).

use std::{collections::HashMap, fmt};

use rlibphonenumber::{PhoneNumber, Region};

use super::{InvalidPhone, Phone};

/// A phone as the CRM spells it (trimmed), with the region it is read for. `Debug` hides it.
///
/// The state keeps it beside each acknowledged phone: a spelling that was read before need not be read again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spelling(Box<str>);

impl Spelling {
    /// Takes back what [`Self::as_str`] gave.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The region and the text, as the state keeps them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spelling(…)")
    }
}

/// What spellings that were read before mean; `None`: that they are no phone.
pub type KnownPhones = HashMap<Spelling, Option<Phone>>;

/// Longer texts are no phone and are not even tried: the rules would take minutes for a megabyte.
const LONGEST_SPELLING: usize = 64;

/// `crm.phone_region` names no region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the two upper-case letters of a country, such as `RU`")]
pub struct UnknownRegion;

/// Reads phones for one region.
#[derive(Debug, Clone)]
pub struct PhoneReader {
    region: Region,
    region_code: String,
    known: KnownPhones,
}

impl PhoneReader {
    /// A reader for numbers written the way they are in `region`: a two-letter code such as `RU`.
    pub fn new(region: &str) -> Result<Self, UnknownRegion> {
        Ok(Self {
            region: Region::from_code(region).map_err(|_| UnknownRegion)?,
            region_code: region.to_owned(),
            known: KnownPhones::new(),
        })
    }

    /// The same reader, which need not read what is `known`.
    #[must_use]
    pub fn knowing(&self, known: KnownPhones) -> Self {
        Self { known, ..self.clone() }
    }

    /// How the CRM spells the trimmed `text`.
    fn spelling(&self, text: &str) -> Spelling {
        Spelling(format!("{} {text}", self.region_code).into())
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
        let spelling = self.spelling(text);
        let phone = match self.known.get(&spelling) {
            Some(known) => *known,
            None => self.read_by_the_rules(text).ok(),
        };
        match phone {
            Some(phone) => Ok(Some((phone, spelling))),
            None => Err(Some(spelling)),
        }
    }

    /// A valid number may be written with the bare international digits of another country (`380501234567` in Russia),
    /// so what the region does not know is tried again as `+digits`.
    fn read_by_the_rules(&self, text: &str) -> Result<Phone, InvalidPhone> {
        let valid = |text: &str| {
            PhoneNumber::parse(text, Some(self.region))
                .ok()
                .filter(PhoneNumber::is_valid)
        };
        let number = valid(text).or_else(|| valid(&format!("+{text}"))).ok_or(InvalidPhone)?;
        number.to_string().trim_start_matches('+').parse()
    }
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
        let invented: Phone = "79990000000".parse().expect("a phone");
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

    #[test]
    fn a_spelling_is_stored_with_its_region() {
        let reader = PhoneReader::new("RU").expect("a region");
        let (_, spelling) = reader.read(" 8 926 123-45-67 ").expect("a phone").expect("no blank");
        assert_eq!(spelling.as_str(), "RU 8 926 123-45-67");
        assert_eq!(Spelling::from_stored(spelling.as_str()), spelling);
    }
}
