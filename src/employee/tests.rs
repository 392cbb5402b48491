//! Ids, names and phones as values.

use rstest::rstest;
use strum::IntoEnumIterator as _;

use super::*;

#[rstest]
#[case("e1", true)]
#[case("a b%?#", true)]
#[case("...", true)]
#[case(".", false)]
#[case("..", false)]
#[case("bulk_delete", false)]
#[case("a/b", false)]
#[case("a\\b", false)]
fn some_ids_cannot_be_named_by_a_url(#[case] id: &str, #[case] has_own_url: bool) {
    assert_eq!(EmployeeId::parse(id).expect("an id").has_own_url(), has_own_url);
}

#[rstest]
#[case("1", true)]
#[case("123456789012345", true)]
#[case("1234567890123456", false)]
#[case("079261234567", false)]
#[case("+79261234567", false)]
#[case("7926 1234567", false)]
#[case("", false)]
fn a_stored_phone_is_at_most_15_bare_digits(#[case] text: &str, #[case] is_phone: bool) {
    assert_eq!(Phone::parse(text).is_some(), is_phone);
}

#[test]
fn an_entry_is_what_wazzup_takes() {
    let mut employee = Employee {
        id: EmployeeId::parse("e 1").expect("an id"),
        name: FullName::parse(" Anna ").expect("a name"),
        phone: Some(Phone::parse("79261234567").expect("a phone")),
    };
    let json = |employee: &Employee| serde_json::to_string(employee).expect("it can be written");
    assert_eq!(json(&employee), r#"{"id":"e 1","name":"Anna","phone":"79261234567"}"#);
    assert_eq!(
        format!("{} {} {}", employee.id, employee.name, employee.phone.expect("a phone")),
        "e 1 Anna 79261234567"
    );
    // Without a phone the key is left out.
    employee.phone = None;
    assert_eq!(json(&employee), r#"{"id":"e 1","name":"Anna"}"#);
}

#[test]
fn what_is_personal_stays_out_of_debug() {
    let name = FullName::parse("Anna").expect("a name");
    let phone = Phone::parse("79261234567").expect("a phone");
    let spelling = Spelling::from_stored("RU 89261234567");
    let shown = format!("{name:?} {phone:?} {spelling:?} {:?}", NameKey::of("Anna"));
    assert_eq!(shown, "FullName(…) Phone(…) Spelling(…) NameKey(…)");
}

#[test]
fn each_row_problem_is_stored_by_its_code_and_has_a_reason_and_a_remedy() {
    for problem in RowProblem::iter() {
        assert_eq!(problem.as_ref().parse(), Ok(problem));
        assert!(problem.reason().contains(' ') && problem.remedy().contains(' '));
    }
    assert_eq!(RowProblem::DuplicateId.as_ref(), "DUPLICATE_ID");
    assert_eq!("INVALID_USERS_DATA".parse::<RowProblem>().ok(), None);
}
