use anyhow::Result;
use sandbox::{Poison, PoisonReply, Wazzup};
use serde_json::{Value, json};

use crate::client::call;

#[tokio::test]
async fn the_poisoned_spoil_their_batch() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    let batch: Value = (0..4)
        .map(|id| json!({"id": id.to_string(), "name": format!("N{id}")}))
        .collect();
    let name = || vec!["name".to_owned()];
    let named = |indexes: &[usize]| -> Value {
        indexes
            .iter()
            .map(|index| json!({"index": index, "fields": ["name"]}))
            .collect()
    };
    let cases = [
        (PoisonReply::Named(name()), 400, named(&[1, 3])),
        (PoisonReply::NamedFirst(name()), 400, named(&[1])),
        (PoisonReply::OffByOne(name()), 400, named(&[2, 4])),
        (PoisonReply::NoData, 400, Value::Null),
        (PoisonReply::EmptyBody, 400, Value::Null),
        (PoisonReply::Html, 400, Value::Null),
        (PoisonReply::Status(422), 422, Value::Null),
        (PoisonReply::Status(500), 500, Value::Null),
    ];
    for (reply, status, data) in cases {
        let mut poison = Poison::ids(["1"], reply);
        poison.names.insert("N3".to_owned());
        wazzup.poison(poison);
        let answer = call(&wazzup, "POST", "/users", &batch.to_string()).await?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!((answer.status, &body["data"]), (status, &data));
        wazzup.cure();
    }
    assert!(wazzup.users().is_empty());

    wazzup.poison(Poison::ids(["1"], PoisonReply::WildIndexes));
    let wild = call(&wazzup, "POST", "/users", &batch.to_string()).await?;
    assert_eq!(wild.json()["data"][0]["index"], 100);
    wazzup.cure();
    assert_eq!(call(&wazzup, "POST", "/users", &batch.to_string()).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn removals_are_refused_too() -> Result<()> {
    let wazzup = Wazzup::start().await?;
    wazzup.put("1", "A", None);
    wazzup.put("2", "B", None);
    wazzup.refuse_removal(["1"], PoisonReply::NoData);
    assert_eq!(
        call(&wazzup, "PATCH", "/users/bulk_delete", r#"["1", "2"]"#)
            .await?
            .status,
        400
    );
    assert_eq!(call(&wazzup, "DELETE", "/users/1", "").await?.status, 400);
    assert_eq!(wazzup.users().len(), 2);
    assert_eq!(call(&wazzup, "DELETE", "/users/2", "").await?.status, 200);
    let again = r#"[{"id": "1", "name": "Ann"}]"#;
    assert_eq!(call(&wazzup, "POST", "/users", again).await?.status, 200);
    Ok(())
}
