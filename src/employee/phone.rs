//! Reading the phones that people type into a CRM, by Google's rules (libphonenumber).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroUsize,
    thread::ScopedJoinHandle,
};

use rlibphonenumber::{PhoneNumber, Region};

use super::{InvalidPhone, Phone};

/// A fingerprint of how the CRM spells a phone, together with the region it is read for.
///
/// The state keeps it beside each acknowledged phone. Google's rules cost 4 ms to load and 15 µs a number; a spelling that
/// was read before needs neither, so a cycle without news reads no phone at all. A fingerprint that is lost or that a
/// newer compiler computes otherwise only costs that time again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Spelling(pub i64);

/// A phone, and how the CRM spells it.
pub type Reading = (Phone, Spelling);

/// So many phones are worth a thread.
const WORTH_A_THREAD: usize = 100;

/// Reads phones for one region.
#[derive(Debug)]
pub struct PhoneReader {
    region: Region,
    known: HashMap<Spelling, Phone>,
}

impl PhoneReader {
    /// A reader for numbers written the way they are in `region`: a two-letter code such as `RU`.
    ///
    /// # Errors
    /// If `region` is not a two-letter code.
    pub fn new(region: &str) -> Result<Self, rlibphonenumber::InvalidRegionError> {
        Ok(Self {
            region: Region::from_code(region)?,
            known: HashMap::new(),
        })
    }

    /// A reader for the same region that knows these earlier readings.
    #[must_use]
    pub fn knowing(&self, known: impl IntoIterator<Item = (Spelling, Phone)>) -> Self {
        Self {
            region: self.region,
            known: known.into_iter().collect(),
        }
    }

    /// The phone that `text` means, with its spelling; blank means none.
    ///
    /// # Errors
    /// If it is not a valid number, neither of the region nor as international digits.
    pub fn read(&self, text: &str) -> Result<Option<Reading>, InvalidPhone> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let reading = match self.recall(text) {
            Some(reading) => reading,
            None => (self.by_googles_rules(text)?, self.spelling(text)),
        };
        Ok(Some(reading))
    }

    /// What the trimmed `text` means, if it was read before: without any rules.
    pub(super) fn recall(&self, text: &str) -> Option<Reading> {
        let spelling = self.spelling(text);
        let phone = self.known.get(&spelling).filter(|phone| ends_alike(text, **phone))?;
        Some((*phone, spelling))
    }

    /// Reads many phones, on all cores.
    pub(super) fn read_all(&self, texts: &[Box<str>]) -> Vec<Result<Option<Reading>, InvalidPhone>> {
        let read = |texts: &[Box<str>]| texts.iter().map(|text| self.read(text)).collect::<Vec<_>>();
        if texts.len() < 2 * WORTH_A_THREAD {
            return read(texts);
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = cores.min(texts.len() / WORTH_A_THREAD);
        std::thread::scope(|scope| {
            let parts = texts.chunks(texts.len().div_ceil(threads));
            let parts: Vec<_> = parts.map(|part| scope.spawn(|| read(part))).collect();
            let parts = parts.into_iter().map(ScopedJoinHandle::join);
            parts
                .flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn spelling(&self, text: &str) -> Spelling {
        let mut hasher = DefaultHasher::new();
        (self.region, text).hash(&mut hasher);
        Spelling(hasher.finish().cast_signed())
    }

    /// A valid number may be written with the bare international digits of another country (`380501234567` in Russia),
    /// so what the region does not know is tried again as `+digits`.
    fn by_googles_rules(&self, text: &str) -> Result<Phone, InvalidPhone> {
        let valid = |text: &str| {
            PhoneNumber::parse(text, Some(self.region))
                .ok()
                .filter(PhoneNumber::is_valid)
        };
        let number = valid(text).or_else(|| valid(&format!("+{text}"))).ok_or(InvalidPhone)?;
        number.to_string().trim_start_matches('+').parse()
    }
}

/// Guards against two spellings with one fingerprint: the subscriber's digits are the same in each way to write a number.
fn ends_alike(text: &str, phone: Phone) -> bool {
    let mut typed = text.bytes().rev().filter(u8::is_ascii_digit);
    let digits = phone.to_string();
    digits.bytes().rev().take(4).all(|digit| typed.next() == Some(digit))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
        let read = PhoneReader::new("RU").expect("a region").read(text).expect("a phone");
        assert_eq!(read.map(|(phone, _)| phone.to_string()).as_deref(), phone);
    }

    #[rstest]
    #[case("12345")]
    #[case("no phone")]
    #[case("+7 926 123-45")]
    #[case("0")]
    #[case("00000000000")]
    #[case("7926123456789012345")]
    fn refuses(#[case] text: &str) {
        assert_eq!(PhoneReader::new("RU").expect("a region").read(text), Err(InvalidPhone));
    }

    #[test]
    fn the_region_decides() {
        let read = |region| PhoneReader::new(region).expect("a region").read("020 7946 0958");
        assert_eq!(read("RU"), Err(InvalidPhone));
        assert_eq!(
            read("GB").expect("a phone").map(|(phone, _)| phone.digits()),
            Some(442_079_460_958)
        );
    }

    #[test]
    fn a_known_spelling_is_read_alike_and_a_collision_is_noticed() {
        let fresh = PhoneReader::new("RU").expect("a region");
        let (phone, spelling) = fresh.read("8 926 123-45-67").expect("a phone").expect("not blank");
        let knowing = PhoneReader::new("RU").expect("a region").knowing([(spelling, phone)]);
        assert_eq!(knowing.read("8 926 123-45-67"), Ok(Some((phone, spelling))));
        let colliding = PhoneReader::new("RU")
            .expect("a region")
            .knowing([(spelling, "79990000000".parse().expect("a phone"))]);
        assert_eq!(colliding.read("8 926 123-45-67"), Ok(Some((phone, spelling))));
    }
}
