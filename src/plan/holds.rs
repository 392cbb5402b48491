//! Holds: what looks like a mistake, and waits until somebody approves exactly that.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use strum::{AsRefStr, EnumIter, EnumString};

/// What a hold is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsRefStr, EnumIter, EnumString, Serialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum HoldKind {
    /// This looks like another Wazzup account: no writing request is made.
    Account,
    Remove,
    /// A change of a user's name or phone.
    Update,
    /// Renaming a user in Wazzup whom somebody else created.
    Takeover,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HoldKey {
    pub kind: HoldKind,
    /// The user concerned; empty for [`HoldKind::Account`].
    pub user_id: Box<str>,
}

impl HoldKey {
    pub fn new(kind: HoldKind, user_id: &str) -> Self {
        Self {
            kind,
            user_id: user_id.into(),
        }
    }

    pub fn account() -> Self {
        Self::new(HoldKind::Account, "")
    }

    /// The user concerned; `None` for the whole account.
    #[must_use]
    pub fn concerned_user(&self) -> Option<&str> {
        (self.kind != HoldKind::Account).then_some(&*self.user_id)
    }
}

pub type Holds = BTreeMap<HoldKey, Hold>;

/// An open hold. `Debug` hides its content and the CRM's row, which can hold names and phones.
#[derive(derive_more::Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// What exactly is held: an approval is for this content only. By kind: the fingerprint (account),
    /// since when the user is absent (remove), the new name and phone as JSON (update), the name in Wazzup (takeover).
    #[debug(skip)]
    pub content: String,
    /// Of a take-over: the CRM's row, its name and phone as JSON. An approval is for this row only.
    #[debug(skip)]
    pub crm_row: Option<String>,
    /// Why, as a sentence without a full stop.
    pub reason: String,
    /// When it was first held.
    pub since: Timestamp,
    /// It outlasts its reason: it ends by approval, or when the user is back or the CRM's values change.
    pub sticky: bool,
    #[serde(flatten)]
    pub approved: Option<Approval>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// When the order was given.
    #[serde(rename = "approved_at")]
    pub at: Timestamp,
    /// User and host.
    #[serde(rename = "approved_by")]
    pub by: String,
}

impl Hold {
    /// Since when the user of a held removal is absent: that is its content.
    pub fn absent_since(&self) -> Option<Timestamp> {
        self.content.parse().ok()
    }

    /// Whether somebody approved exactly `content`.
    pub fn is_approved_for(&self, content: &str) -> bool {
        self.approved.is_some() && self.content == content
    }

    /// The name in the CRM of somebody whose take-over is held.
    pub fn crm_name(&self) -> Option<String> {
        let row: Value = serde_json::from_str(self.crm_row.as_deref()?).ok()?;
        row["name"].as_str().map(str::to_owned)
    }
}

/// How many users may be concerned before they are held: the greater of a number and a share of the managed users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub above: u64,
    pub above_percent: u64,
}

impl Limit {
    /// The most users of `managed` that are not held.
    pub fn of(self, managed: usize) -> usize {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let share = managed.saturating_mul(whole(self.above_percent)) / 100;
        whole(self.above).max(share)
    }
}

/// What the operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `false`: nobody is ever removed.
    pub removes: bool,
    pub removals: Limit,
    /// How long a user must be absent from the CRM before it is removed.
    pub grace: SignedDuration,
    pub updates: Limit,
    /// `true`: users in Wazzup who are not ours are taken over whatever their name is.
    pub always_takes_over: bool,
}

impl Policy {
    /// When somebody may be removed who is absent since `absent_since`.
    pub fn grace_end(&self, absent_since: Timestamp) -> Timestamp {
        absent_since.checked_add(self.grace).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use strum::IntoEnumIterator as _;

    use super::*;

    #[rstest]
    #[case(0, 5)]
    #[case(50, 5)]
    #[case(59, 5)]
    #[case(60, 6)]
    #[case(1_000, 100)]
    fn a_limit_is_the_greater_of_a_number_and_a_share(#[case] managed: usize, #[case] most: usize) {
        let limit = Limit {
            above: 5,
            above_percent: 10,
        };
        assert_eq!(limit.of(managed), most);
    }

    #[test]
    fn each_kind_of_hold_is_stored_by_its_name() {
        for kind in HoldKind::iter() {
            assert_eq!(kind.as_ref().parse(), Ok(kind));
        }
        assert_eq!(HoldKind::Takeover.as_ref(), "takeover");
        assert!("phone".parse::<HoldKind>().is_err());
    }

    #[test]
    fn a_hold_on_the_account_concerns_no_user() {
        assert_eq!(HoldKey::account().concerned_user(), None);
        assert_eq!(HoldKey::new(HoldKind::Remove, "e1").concerned_user(), Some("e1"));
    }

    #[test]
    fn an_approval_is_for_one_content_only() {
        let mut hold = Hold {
            content: "Anna".to_owned(),
            crm_row: Some(r#"{"name":"Annabel","phone":null}"#.to_owned()),
            reason: String::new(),
            since: Timestamp::UNIX_EPOCH,
            sticky: false,
            approved: None,
        };
        assert!(!hold.is_approved_for("Anna"));
        hold.approved = Some(Approval {
            at: Timestamp::UNIX_EPOCH,
            by: "operator@host".to_owned(),
        });
        assert!(hold.is_approved_for("Anna") && !hold.is_approved_for("Boris"));
        assert_eq!(hold.crm_name().as_deref(), Some("Annabel"));
        assert!(!format!("{hold:?}").contains("Anna"));
    }
}
