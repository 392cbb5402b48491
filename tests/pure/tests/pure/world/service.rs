//! Wazzup in memory, with every variant of what its documentation leaves open.

use std::collections::BTreeMap;

use pure_core::{
    delivery::{Answer, BatchEntry, Interruption, InvalidEntry, Loss, Refusal, RefusalCode, Request, Verdict},
    employee::{EmployeeId, Phone},
};

/// A user of the account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteUser {
    pub name: String,
    pub phone: Option<u64>,
    /// Somebody else created the user, and nothing of ours acted on it yet.
    pub is_foreign: bool,
    /// We may touch the user all the same: it has the employee's name, or somebody approved it.
    pub may_be_touched: bool,
    /// Created or adopted by a request that was refused all the same. A refusal counts as known: nothing acted. So whoever leaves the
    /// CRM before the entry was sent again stays.
    pub is_left_by_refusal: bool,
}

/// What is documented nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// A refused request changes nothing; otherwise the entries before the refused one act.
    pub is_atomic: bool,
    /// An update without a phone leaves the old phone where it is.
    pub keeps_omitted_phone: bool,
    pub naming: Naming,
    pub names_duplicate_phone: bool,
}

/// What a refusal says about which entries are invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Naming {
    Right,
    /// Another entry than the culprit.
    Wrong,
    Nothing,
}

/// What happens to a request with a certain user in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Poison {
    /// 400.
    Invalid,
    /// 400 while the entry has a phone.
    InvalidPhone,
    /// 403 by something in front of the service.
    Forbidden,
    /// 500.
    Fails,
    /// 502: the worker dies, the gateway answers.
    Dies,
    /// Nothing, until the time-out.
    Silence,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    pub variant: Variant,
    pub users: BTreeMap<String, RemoteUser>,
    pub seat_limit: Option<usize>,
    /// Users about whom no upsert goes well, and of whom no removal does.
    pub poisonous_upserts: BTreeMap<String, Poison>,
    pub poisonous_removals: BTreeMap<String, Poison>,
    /// Foreign users who were changed or removed, as sentences.
    pub trespasses: Vec<String>,
}

/// Why a request is not done.
#[derive(Clone, Copy)]
enum Objection {
    Poison { poison: Poison, index: usize },
    DuplicatePhone(Phone),
    Full,
}

impl Objection {
    /// Whether it is answered with a 4xx that counts as a decision.
    fn is_refusal(self) -> bool {
        match self {
            Self::Poison { poison, .. } => matches!(poison, Poison::Invalid | Poison::InvalidPhone | Poison::Forbidden),
            Self::DuplicatePhone(_) | Self::Full => true,
        }
    }
}

impl Variant {
    pub const USUAL: Self = Self {
        is_atomic: true,
        keeps_omitted_phone: false,
        naming: Naming::Right,
        names_duplicate_phone: true,
    };
}

impl RemoteUser {
    /// A user whom somebody else created.
    pub fn foreign(name: &str, phone: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            phone,
            is_foreign: true,
            may_be_touched: false,
            is_left_by_refusal: false,
        }
    }
}

impl Service {
    /// An account without users, in which everything works.
    pub fn new(variant: Variant) -> Self {
        Self {
            variant,
            users: BTreeMap::new(),
            seat_limit: None,
            poisonous_upserts: BTreeMap::new(),
            poisonous_removals: BTreeMap::new(),
            trespasses: Vec::new(),
        }
    }

    /// Does what the request says, as far as the service does, and answers.
    pub fn handle(&mut self, request: &Request) -> Answer {
        match request {
            Request::Ping => accepted(Vec::new()),
            Request::Upsert { entries, .. } => match self.upsert(entries) {
                Ok(()) => accepted(Vec::new()),
                Err(objection) => self.answer_to(objection, entries.len()),
            },
            Request::Remove { user_ids, .. } => match self.remove(user_ids) {
                Ok(absent) => accepted(absent),
                Err(objection) => self.answer_to(objection, user_ids.len()),
            },
        }
    }

    fn upsert(&mut self, entries: &[BatchEntry]) -> Result<(), Objection> {
        let before = self.users.clone();
        for (index, entry) in entries.iter().enumerate() {
            if let Err(objection) = self.upsert_one(index, entry) {
                if self.variant.is_atomic {
                    self.users = before;
                } else if objection.is_refusal() {
                    self.note_left_by_refusal(&before);
                }
                return Err(objection);
            }
        }
        for entry in entries {
            if let Some(user) = self.users.get_mut(entry.employee.id.as_str()) {
                user.is_left_by_refusal = false;
            }
        }
        Ok(())
    }

    fn note_left_by_refusal(&mut self, before: &BTreeMap<String, RemoteUser>) {
        for (id, user) in &mut self.users {
            let was_ours = before.get(id).is_some_and(|user| !user.is_foreign);
            user.is_left_by_refusal |= !was_ours && !user.is_foreign;
        }
    }

    fn upsert_one(&mut self, index: usize, entry: &BatchEntry) -> Result<(), Objection> {
        let id = entry.employee.id.as_str();
        let phone = entry.employee.phone;
        if let Some(poison) = self.poisonous_upserts.get(id).copied()
            && (poison != Poison::InvalidPhone || phone.is_some())
        {
            return Err(Objection::Poison { poison, index });
        }
        let is_new = !self.users.contains_key(id);
        if is_new && self.seat_limit.is_some_and(|limit| self.users.len() >= limit) {
            return Err(Objection::Full);
        }
        if let Some(phone) = phone
            && self
                .users
                .iter()
                .any(|(other, user)| other != id && user.phone == Some(phone.digits()))
        {
            return Err(Objection::DuplicatePhone(phone));
        }
        let user = self.users.entry(id.to_owned()).or_insert(RemoteUser {
            name: String::new(),
            phone: None,
            is_foreign: false,
            may_be_touched: true,
            is_left_by_refusal: false,
        });
        if !user.may_be_touched {
            self.trespasses.push(format!("{id} was changed"));
        }
        user.is_foreign = false;
        user.name = entry.employee.name.to_string();
        if phone.is_some() || !self.variant.keeps_omitted_phone {
            user.phone = phone.map(Phone::digits);
        }
        Ok(())
    }

    fn remove(&mut self, user_ids: &[EmployeeId]) -> Result<Vec<EmployeeId>, Objection> {
        for (index, id) in user_ids.iter().enumerate() {
            if let Some(poison) = self.poisonous_removals.get(id.as_str()).copied() {
                return Err(Objection::Poison { poison, index });
            }
        }
        let mut absent = Vec::new();
        for id in user_ids {
            match self.users.remove(id.as_str()) {
                None => absent.push(id.clone()),
                Some(user) if !user.may_be_touched => self.trespasses.push(format!("{id} was removed")),
                Some(_) => {}
            }
        }
        Ok(absent)
    }

    fn answer_to(&self, objection: Objection, length: usize) -> Answer {
        match objection {
            Objection::Full => refused(Refusal {
                limit: self.seat_limit,
                ..bare(RefusalCode::UserLimitExceeded)
            }),
            Objection::DuplicatePhone(phone) => refused(Refusal {
                phone: Some(phone).filter(|_| self.variant.names_duplicate_phone),
                ..bare(RefusalCode::DuplicatePhoneNumber)
            }),
            Objection::Poison { poison, index } => match poison {
                Poison::Invalid => refused(self.invalid(index, length, &[])),
                Poison::InvalidPhone => refused(self.invalid(index, length, &["phone"])),
                Poison::Forbidden => undecided(RefusalCode::Status(403), Loss::None),
                Poison::Fails => undecided(RefusalCode::Status(500), Loss::Over),
                Poison::Dies => undecided(RefusalCode::Status(502), Loss::MayLand),
                Poison::Silence => undecided(RefusalCode::NoAnswer, Loss::MayLand),
            },
        }
    }

    fn invalid(&self, index: usize, length: usize, fields: &[&str]) -> Refusal {
        let named = match self.variant.naming {
            Naming::Right => Some(index),
            Naming::Wrong => Some((index + 1) % (length + 1)),
            Naming::Nothing => None,
        };
        let entry = |index| InvalidEntry {
            index: Some(index),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        };
        Refusal {
            invalid: named.map(entry).into_iter().collect(),
            ..bare(RefusalCode::InvalidUsersData)
        }
    }
}

pub fn accepted(absent: Vec<EmployeeId>) -> Answer {
    Answer {
        verdict: Verdict::Accepted { absent },
        loss: Loss::None,
    }
}

pub fn refused(refusal: Refusal) -> Answer {
    Answer {
        verdict: Verdict::Refused(refusal),
        loss: Loss::None,
    }
}

pub fn undecided(code: RefusalCode, loss: Loss) -> Answer {
    Answer {
        verdict: Verdict::NoDecision(bare(code)),
        loss,
    }
}

pub fn interrupted(interruption: Interruption) -> Answer {
    Answer {
        verdict: Verdict::Interrupted(interruption),
        loss: Loss::None,
    }
}

pub fn unavailable() -> Answer {
    interrupted(Interruption::Unavailable("nobody was reached".to_owned()))
}

/// A refusal that says nothing but its code.
pub fn bare(code: RefusalCode) -> Refusal {
    Refusal {
        code,
        request_id: None,
        invalid: Vec::new(),
        phone: None,
        limit: None,
    }
}
