//! Lists: what proves to be complete, and what is too much.

use rstest::rstest;
use serde_json::{Value, json};

use super::super::{
    list::{FetchedList, ListBuilder},
    page::{PageReader, Room},
};
use crate::plan::Coverage;

/// An array of the users `from..to`.
fn users(from: usize, to: usize) -> Value {
    (from..to)
        .map(|n| json!({"id": format!("u{n}"), "name": format!("Name {n}"), "role": "seller"}))
        .collect()
}

/// Reads as many of `pages` as the list asks for, in parts of `part_length` bytes. Returns the offsets asked for, too.
fn read_bytes(pages: &[&[u8]], part_length: usize) -> (FetchedList, Vec<usize>) {
    let mut list = ListBuilder::new();
    let mut offsets = Vec::new();
    let mut coverage = Coverage::Unread;
    for page in pages {
        let mut reader = PageReader::new(list.room());
        for part in page.chunks(part_length) {
            if !reader.feed(part) {
                break;
            }
        }
        match list.add(reader.finish()) {
            Ok(Some(offset)) => offsets.push(offset),
            Ok(None) => {
                coverage = Coverage::Complete;
                break;
            }
            Err(reason) => {
                coverage = Coverage::Incomplete(reason);
                break;
            }
        }
    }
    (list.finish(coverage), offsets)
}

/// The same result, whatever the parts.
fn read(pages: &[Value]) -> (FetchedList, Vec<usize>) {
    let pages: Vec<String> = pages.iter().map(Value::to_string).collect();
    let pages: Vec<&[u8]> = pages.iter().map(String::as_bytes).collect();
    let whole = read_bytes(&pages, usize::MAX);
    for part_length in [1, 7] {
        assert!(read_bytes(&pages, part_length) == whole, "parts of {part_length} bytes");
    }
    whole
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
#[case::nothing_behind_it(&[users(0, 100), json!([])], 100, &[100])]
#[case::the_offset_is_ignored(&[users(0, 100), users(0, 100)], 100, &[100])]
#[case::pages_after_all(&[users(0, 100), users(100, 150), json!([])], 150, &[100, 150])]
#[case::full_pages(&[users(0, 100), users(100, 200), json!([])], 200, &[100, 200])]
fn an_array_of_a_page_s_length_has_to_prove_it(
    #[case] pages: &[Value],
    #[case] count: usize,
    #[case] offsets: &[usize],
) {
    let (list, asked) = read(pages);
    assert_eq!(
        (list.names.len(), list.coverage, asked.as_slice()),
        (count, Coverage::Complete, offsets)
    );
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
#[case::count_as_a_number(&[json!({"count": 2, "data": users(0, 2)})], 2, &[])]
#[case::count_as_a_string(&[json!({"count": "2", "data": users(0, 2)})], 2, &[])]
#[case::nobody(&[json!({"count": 0, "data": []})], 0, &[])]
#[case::pages(
    &[json!({"count": 250, "data": users(0, 100)}), json!({"count": 250, "data": users(100, 200)}), json!({"count": 250, "data": users(200, 250)})],
    250, &[100, 200]
)]
#[case::exactly_one_page(&[json!({"count": "100", "data": users(0, 100)})], 100, &[])]
fn an_envelope_is_complete_if_its_count_says_so(
    #[case] pages: &[Value],
    #[case] count: usize,
    #[case] offsets: &[usize],
) {
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
#[case::empty(b"")]
#[case::web_page(b"<html>")]
#[case::cut(b"[{\"id\":\"1\",\"name\":\"A\"}")]
#[case::cut_envelope(b"{\"count\":1,\"data\":[{\"id\":\"1\",\"name\":\"A\"}]")]
#[case::not_utf8(b"\xff\xfe")]
#[case::name_not_utf8(b"[{\"id\":\"1\",\"name\":\"\xff\"}]")]
#[case::half_a_surrogate(b"[{\"id\":\"\\ud800\",\"name\":\"A\"}]")]
#[case::comma_at_the_end(b"[{\"id\":\"1\",\"name\":\"A\"},]")]
#[case::comma_alone(b"[,]")]
#[case::no_comma(b"[{\"id\":\"1\",\"name\":\"A\"}{\"id\":\"2\",\"name\":\"B\"}]")]
#[case::wrong_bracket(b"[}")]
#[case::wrong_inner_bracket(b"[{\"id\":\"1\",\"name\":\"A\",\"x\":[}]}]")]
#[case::something_behind(b"[] []")]
#[case::envelope_ends_with_a_comma(b"{\"count\":0,\"data\":[],}")]
#[case::envelope_begins_with_a_comma(b"{,\"count\":0,\"data\":[]}")]
#[case::two_lists(b"{\"count\":0,\"data\":[],\"data\":[]}")]
#[case::data_twice(b"{\"count\":0,\"data\":[],\"data\":{}}")]
#[case::bracket_of_the_envelope(b"{\"count\":0,\"data\":[]]")]
#[case::something_between(b"{\"count\":0,\"data\":[] 1}")]
#[case::odd_member(b"{\"count\":0,\"data\":[],oops}")]
fn broken_bytes_are_incomplete(#[case] body: &[u8]) {
    for part_length in [usize::MAX, 1] {
        let (list, offsets) = read_bytes(&[body], part_length);
        reason(&list);
        assert!(offsets.is_empty());
    }
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
    for part_length in [usize::MAX, 1, 2, 3, 5] {
        let (list, _) = read_bytes(&[body.as_bytes()], part_length);
        assert_eq!((list.names.len(), list.coverage), (2, Coverage::Complete));
    }
}

#[test]
fn a_list_is_given_up_at_the_first_entry_that_is_no_user() {
    for entry in ["0", "null", "[]", "\"x\"", "{}", r#"{"name":"B"}"#] {
        let body = format!(r#"[{{"id":"1","name":"A"}},{entry},{{"id":"3","name":"C"}}]"#);
        let (list, _) = read_bytes(&[body.as_bytes()], usize::MAX);
        assert!(reason(&list).starts_with("one of its entries"), "{entry}");
        // Who was shown before is there all the same.
        assert_eq!(list.names.len(), 1);
    }
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
fn a_fat_user_is_not_taken_in() {
    let name = "x".repeat(5_000);
    let (list, _) = read(&[json!([{"id": 1, "name": name}])]);
    assert_eq!(reason(&list), "one of its users or fields is bigger than 4 KiB");
    let (list, _) = read(&[json!({"count": 0, "data": [], "note": name})]);
    assert_eq!(reason(&list), "one of its users or fields is bigger than 4 KiB");
    assert!(list.names.is_empty());
}

#[test]
fn a_list_has_room_for_so_much() {
    let room = Room { items: 3, bytes: 400 };
    let read = |users: Value| {
        let mut reader = PageReader::new(room);
        reader.feed(users.to_string().as_bytes());
        reader.finish()
    };
    assert_eq!(read(users(0, 3)).problem, None);
    assert_eq!(read(users(0, 4)).problem, Some("it has too many users"));
    let long = "x".repeat(300);
    let page = read(json!([{"id": 1, "name": "A"}, {"id": 2, "name": long}]));
    assert_eq!((page.problem, page.names.len()), (Some("it is too long to be kept"), 1));
    // One user again and again takes no memory, and ends as well.
    let page =
        read(json!([{"id": 1, "name": "A"}, {"id": 1, "name": "A"}, {"id": 1, "name": "A"}, {"id": 1, "name": "A"}]));
    assert_eq!((page.problem, page.names.len()), (Some("it has too many users"), 1));
}

#[test]
fn an_endless_page_ends() {
    let mut reader = PageReader::new(Room::OF_A_LIST);
    assert!(reader.feed(b"["));
    let blanks = vec![b' '; 1 << 20];
    let mut mebibytes = 0;
    while reader.feed(&blanks) {
        mebibytes += 1;
    }
    assert_eq!((mebibytes, reader.finish().problem), (63, Some("it is too big")));
}

#[test]
fn endless_pages_end() {
    let mut list = ListBuilder::new();
    let mut page_count = 0;
    loop {
        let mut reader = PageReader::new(list.room());
        reader.feed(users(page_count * 100, page_count * 100 + 100).to_string().as_bytes());
        page_count += 1;
        match list.add(reader.finish()) {
            Ok(next) => assert_eq!(next, Some(page_count * 100)),
            Err(reason) => {
                assert_eq!(reason, "it has more than 1000 pages");
                break;
            }
        }
    }
}

#[test]
fn ids_keep_their_exact_text() {
    let body = r#"[{"id":123456789012345678901234567890,"name":"A"},{"id":"007","name":"B"},{"id":-7,"name":"C"},
        {"id":9007199254740993,"name":"\u0416"}, {"id":"dup","name":"D"}, {"id":"dup","name":"D"}]"#;
    let (list, _) = read_bytes(&[body.as_bytes()], usize::MAX);
    assert_eq!(list.coverage, Coverage::Complete);
    let ids: Vec<_> = list.names.keys().map(String::as_str).collect();
    assert_eq!(
        ids,
        ["-7", "007", "123456789012345678901234567890", "9007199254740993", "dup"]
    );
    assert_eq!(format!("{list:?}"), "FetchedList { users: 5, coverage: Complete }");
}
