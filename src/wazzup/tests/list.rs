//! Lists: what proves to be complete, and what is too much.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::super::list::ListBuilder;
use crate::plan::Coverage;

/// An array of the users `from..to`.
fn users(from: usize, to: usize) -> Value {
    (from..to)
        .map(|n| json!({"id": format!("u{n}"), "name": format!("Name {n}"), "role": "seller"}))
        .collect()
}

#[derive(Debug)]
struct FetchedList {
    names: BTreeMap<String, String>,
    coverage: Coverage,
}

fn finish(list: ListBuilder, coverage: Coverage) -> FetchedList {
    let names = list.names;
    FetchedList { names, coverage }
}

/// Reads as many of `pages` as the list asks for. Returns the offsets asked for, too.
fn read_bytes(pages: &[&[u8]]) -> (FetchedList, Vec<usize>) {
    let mut list = ListBuilder::new(0);
    let mut offsets = Vec::new();
    for page in pages {
        match list.add(page) {
            Ok(Some(offset)) => offsets.push(offset),
            Ok(None) => return (finish(list, Coverage::Complete), offsets),
            Err(reason) => return (finish(list, Coverage::Incomplete(reason)), offsets),
        }
    }
    (finish(list, Coverage::Unread), offsets)
}

fn read(pages: &[Value]) -> (FetchedList, Vec<usize>) {
    let pages: Vec<String> = pages.iter().map(Value::to_string).collect();
    let pages: Vec<&[u8]> = pages.iter().map(String::as_bytes).collect();
    read_bytes(&pages)
}

fn read_text(page: &str) -> FetchedList {
    read_bytes(&[page.as_bytes()]).0
}

fn reason(list: &FetchedList) -> &str {
    match &list.coverage {
        Coverage::Incomplete(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bare_array_is_complete() {
    for n in [0, 1, 99, 101, 1000] {
        let (list, offsets) = read(&[users(0, n)]);
        assert_eq!(
            (list.names.len(), list.coverage, offsets),
            (n, Coverage::Complete, vec![])
        );
    }
}

#[rstest]
#[case::shifted(&[users(0, 100), users(99, 150)])]
#[case::part_of_the_first(&[users(0, 100), users(0, 50)])]
#[case::repeats_later(&[users(0, 100), users(100, 200), users(100, 200)])]
#[case::another_shape(&[users(0, 100), json!({"count": 100, "data": []})])]
#[case::garbage(&[users(0, 100), json!("oops")])]
fn pages_that_do_not_fit_together_prove_nothing(#[case] pages: &[Value]) {
    let (list, _) = read(pages);
    reason(&list);
    assert!(list.names.len() >= 100, "{list:?}");
}

#[rstest]
#[case::a_full_array_with_nothing_behind_it(&[users(0, 100), json!([])], 100, &[100])]
#[case::the_offset_is_ignored(&[users(0, 100), users(0, 100)], 100, &[100])]
#[case::pages_after_all(&[users(0, 100), users(100, 150), json!([])], 150, &[100, 150])]
#[case::full_pages(&[users(0, 100), users(100, 200), json!([])], 200, &[100, 200])]
#[case::count_as_a_number(&[json!({"count": 2, "data": users(0, 2)})], 2, &[])]
#[case::count_as_a_string(&[json!({"count": "2", "data": users(0, 2)})], 2, &[])]
#[case::nobody(&[json!({"count": 0, "data": []})], 0, &[])]
#[case::envelopes(
    &[json!({"count": 250, "data": users(0, 100)}), json!({"count": 250, "data": users(100, 200)}), json!({"count": 250, "data": users(200, 250)})],
    250, &[100, 200]
)]
#[case::exactly_one_page(&[json!({"count": "100", "data": users(0, 100)})], 100, &[])]
fn a_list_is_complete_if_it_proves_to_be(#[case] pages: &[Value], #[case] count: usize, #[case] offsets: &[usize]) {
    let (list, asked) = read(pages);
    assert_eq!(
        (list.names.len(), list.coverage, asked.as_slice()),
        (count, Coverage::Complete, offsets)
    );
}

#[rstest]
#[case::fewer(&[json!({"count": 3, "data": users(0, 2)}), json!({"count": 3, "data": []})])]
#[case::more(&[json!({"count": 1, "data": users(0, 2)})])]
#[case::the_same_page_again(&[json!({"count": 150, "data": users(0, 100)}), json!({"count": 150, "data": users(0, 100)})])]
#[case::count_changes(&[json!({"count": 150, "data": users(0, 100)}), json!({"count": 149, "data": users(100, 149)})])]
#[case::no_count(&[json!({"data": users(0, 2)})])]
#[case::odd_count(&[json!({"count": 2.5, "data": users(0, 2)})])]
#[case::negative_count(&[json!({"count": -2, "data": users(0, 2)})])]
#[case::no_data(&[json!({"count": 0})])]
#[case::data_of_another_type(&[json!({"count": 0, "data": {}})])]
#[case::error_with_success(&[json!({"error": "FORBIDDEN"})])]
#[case::null(&[json!(null)])]
#[case::text(&[json!("ok")])]
#[case::no_id(&[json!([{"name": "A"}])])]
#[case::id_null(&[json!([{"id": null, "name": "A"}])])]
#[case::id_empty(&[json!([{"id": "", "name": "A"}])])]
#[case::id_object(&[json!([{"id": {}, "name": "A"}])])]
#[case::id_float(&[json!([{"id": 1.5, "name": "A"}])])]
#[case::no_name(&[json!([{"id": "1"}])])]
#[case::name_number(&[json!([{"id": "1", "name": 7}])])]
#[case::entry_as_array(&[json!([["1", "A", null]])])]
#[case::two_names(&[json!([{"id": "1", "name": "A"}, {"id": 1, "name": "B"}])])]
fn what_proves_nothing_is_incomplete(#[case] pages: &[Value]) {
    let (list, _) = read(pages);
    // A page more was asked for, or the list gave up.
    assert_ne!(list.coverage, Coverage::Complete);
}

#[rstest]
#[case::empty(b"", "it ends in the middle")]
#[case::cut(b"[{\"id\":\"1\",\"name\":\"A\"}", "it ends in the middle")]
#[case::cut_envelope(b"{\"count\":1,\"data\":[{\"id\":\"1\",\"name\":\"A\"}]", "it ends in the middle")]
#[case::web_page(b"<html>", "it is not JSON")]
#[case::not_utf8(b"\xff\xfe", "it is not JSON")]
#[case::name_not_utf8(b"[{\"id\":\"1\",\"name\":\"\xff\"}]", "it is not JSON")]
#[case::something_behind(b"[] []", "it is not JSON")]
#[case::half_a_surrogate(b"[{\"id\":\"\\ud800\",\"name\":\"A\"}]", "one of its users has no readable id")]
#[case::two_lists(
    b"{\"count\":0,\"data\":[],\"data\":[]}",
    "it is neither an array of users nor a page of them"
)]
fn broken_bytes_are_incomplete(#[case] body: &[u8], #[case] problem: &str) {
    let (list, offsets) = read_bytes(&[body]);
    assert_eq!((reason(&list), offsets), (problem, vec![]));
}

#[rstest]
#[case::count_first(r#"{"count":2,"data":[{"id":1,"name":"A"},{"id":2,"name":"B"}]}"#)]
#[case::count_last(r#"{"data":[{"id":1,"name":"A"},{"id":2,"name":"B"}],"count":"2"}"#)]
#[case::other_fields(
    r#"{"meta":{"data":[0],"x":"]}"},"data":[{"id":1,"name":"A"},{"id":2,"name":"B"}],"n":[1,2],"count":2}"#
)]
#[case::blanks("\n { \"count\" : 2 , \"data\" : [ {\"id\":1,\"name\":\"A\"} , {\"id\":2,\"name\":\"B\"} ] } \r\n")]
#[case::brackets_in_texts(r#"[{"id":"]\"},{","name":"\\"},{"id":"[","name":"a,b","x":[["]"],{}]}]"#)]
fn both_shapes_are_split_into_users(#[case] body: &str) {
    let list = read_text(body);
    assert_eq!((list.names.len(), list.coverage), (2, Coverage::Complete));
}

#[rstest]
#[case("0", "one of its entries is no user")]
#[case("null", "one of its entries is no user")]
#[case("[]", "one of its entries is no user")]
#[case("\"x\"", "one of its entries is no user")]
#[case("{}", "one of its users has no readable id")]
#[case(r#"{"name":"B"}"#, "one of its users has no readable id")]
fn an_entry_that_is_no_user_does_not_hide_the_others(#[case] entry: &str, #[case] problem: &str) {
    let list = read_text(&format!(r#"[{{"id":"1","name":"A"}},{entry},{{"id":"3","name":"C"}}]"#));
    assert_eq!((reason(&list), list.names.len()), (problem, 2));
}

#[test]
fn a_user_without_a_name_does_not_hide_the_others() {
    let (list, _) = read(&[json!([{"id": 1}, {"id": 2, "name": "B"}])]);
    assert_eq!(
        (list.names.len(), reason(&list)),
        (1, "one of its users has no readable name")
    );
}

#[test]
fn the_biggest_user_is_taken_in() {
    let (list, _) = read(&[json!([{"id": "🙂".repeat(200), "name": "🙂".repeat(200), "phone": "79261234567"}])]);
    assert_eq!((list.names.len(), list.coverage), (1, Coverage::Complete));
}

#[test]
fn ids_keep_their_exact_text() {
    let list = read_text(
        r#"[{"id":123456789012345678901234567890,"name":"A"},{"id":"007","name":"B"},{"id":-7,"name":"C"},
        {"id":9007199254740993,"name":"\u0416"}, {"id":"dup","name":"D"}, {"id":"dup","name":"D"}]"#,
    );
    let ids: Vec<_> = list.names.keys().map(String::as_str).collect();
    assert_eq!(
        ids,
        ["-7", "007", "123456789012345678901234567890", "9007199254740993", "dup"]
    );
}

#[test]
fn a_list_may_be_longer_than_expected_but_not_far_longer() {
    let mut list = ListBuilder::new(1_000);
    let room = list.room;
    assert!((4_000_000..5_000_000).contains(&room), "{room}");
    let page = users(0, 100).to_string();
    assert_eq!(list.add(page.as_bytes()), Ok(Some(100)));
    assert_eq!(list.room, room - page.len());
    assert_eq!(ListBuilder::new(usize::MAX).room, usize::MAX);
}
