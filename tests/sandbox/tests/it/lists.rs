use anyhow::Result;
use sandbox::{ListStyle, Wazzup};
use serde_json::{Value, json};

use crate::client::call;

async fn list(wazzup: &Wazzup, query: &str) -> Result<Value> {
    Ok(call(wazzup, "GET", &format!("/users{query}"), "").await?.json())
}

fn ids(items: &Value) -> Vec<&str> {
    items
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(|item| item["id"].as_str())
        .collect()
}

#[tokio::test]
async fn every_shape() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    for number in 0..150 {
        wazzup.put(&format!("u{:03}", 149 - number), &format!("Name {number:03}"), None);
    }
    let everyone = list(&wazzup, "").await?;
    assert_eq!((ids(&everyone).len(), ids(&everyone)[0]), (150, "u149"));
    assert_eq!(list(&wazzup, "?offset=100").await?, everyone);

    wazzup.vary(|variant| variant.list = ListStyle::ArrayPaged);
    assert_eq!(ids(&list(&wazzup, "").await?).len(), 100);
    assert_eq!(ids(&list(&wazzup, "?offset=100").await?).len(), 50);
    assert_eq!(list(&wazzup, "?offset=200").await?, json!([]));
    wazzup.vary(|variant| variant.offset_ignored = true);
    assert_eq!(ids(&list(&wazzup, "?offset=100").await?)[0], "u149");

    wazzup.vary(|variant| (variant.list, variant.offset_ignored) = (ListStyle::Pages, false));
    let page = list(&wazzup, "?offset=100").await?;
    assert_eq!((&page["count"], ids(&page["data"]).len()), (&json!(150), 50));
    wazzup.vary(|variant| variant.list = ListStyle::PagesTextCount);
    assert_eq!(list(&wazzup, "").await?["count"], json!("150"));
    Ok(())
}

#[tokio::test]
async fn items_with_numbers_and_phones() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.put("42", "A", Some("79261234567"));
    wazzup.put("042", "B", None);
    let plain = json!([{"id": "42", "name": "A"}, {"id": "042", "name": "B"}]);
    assert_eq!(list(&wazzup, "").await?, plain);
    wazzup.vary(|variant| (variant.numeric_ids, variant.list_phones) = (true, true));
    let rich = json!([{"id": 42, "name": "A", "phone": "79261234567"}, {"id": "042", "name": "B"}]);
    assert_eq!(list(&wazzup, "").await?, rich);
    assert_eq!(call(&wazzup, "GET", "/users/42", "").await?.json()["id"], json!(42));
    Ok(())
}
