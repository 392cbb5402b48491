//! A world with what happened in it so far.

use std::fmt::Write as _;

use pure_core::delivery::Request;

use crate::world::{Action, EndedCycle, Fate, World, cycle::Reading, invariants::ids_of};

pub struct Story {
    pub world: World,
    lines: Vec<String>,
}

impl Story {
    pub fn new(world: World) -> Self {
        let mut lines = vec![format!("{:?}", world.policy), format!("{:?}", world.service)];
        lines.push(format!("{:?}", world.crm));
        Self { world, lines }
    }

    /// Has something happen. The error is the whole story.
    pub fn act(&mut self, action: &Action) -> Result<(), String> {
        let request = self.world.cycle.as_ref().and_then(|cycle| cycle.request.as_ref());
        let line = match (action, request) {
            (Action::Send(fate), Some(request)) => format!("{} → {fate:?}", described(request)),
            _ => format!("{action:?}"),
        };
        self.lines.push(line);
        let result = self.world.apply(action);
        result.map_err(|violation| self.told(&format!("{}: {}", violation.invariant, violation.seen)))
    }

    /// A cycle in which everything works, and nothing lost acts meanwhile.
    pub fn run_quiet_cycle(&mut self) -> Result<(), String> {
        self.act(&Action::StartCycle(Reading::GOOD))?;
        while self.world.cycle.is_some() {
            self.act(&Action::Send(Fate::Answered))?;
        }
        Ok(())
    }

    pub fn has_open_holds(&self) -> bool {
        self.world
            .state
            .tables
            .holds
            .values()
            .any(|hold| hold.approved.is_none())
    }

    /// The cycle that ended last.
    pub fn ended(&self) -> &EndedCycle {
        self.world.last_cycle.as_ref().expect("a cycle ended")
    }

    /// The error, if `claim` does not hold, is the whole story.
    pub fn ensure(&self, holds: bool, claim: &str) -> Result<(), String> {
        if holds { Ok(()) } else { Err(self.told(claim)) }
    }

    /// `end`, after all that happened.
    pub fn told(&self, end: &str) -> String {
        let mut text = format!("{end}\n");
        for line in self.lines.iter().map(|line| shortened(line)) {
            let _ = writeln!(text, "  {line}");
        }
        let World { service, state, .. } = &self.world;
        for line in [
            format!("Wazzup: {:?}", service.users),
            format!("state: {:?}", state.tables.users),
            format!("lost: {:?}", state.tables.lost),
            format!("failures: {:?}", state.tables.failures),
        ] {
            let _ = writeln!(text, "  {}", shortened(&line));
        }
        text
    }
}

/// A request with the names and phones that its `Debug` hides.
pub fn described(request: &Request) -> String {
    match request {
        Request::Ping => "ping".to_owned(),
        Request::Remove { .. } => {
            let ids: Vec<String> = ids_of(request).iter().map(ToString::to_string).collect();
            format!("remove {}", ids.join(" "))
        }
        Request::Upsert { entries, .. } => {
            let mut text = "upsert".to_owned();
            for entry in entries.iter().take(8) {
                let employee = &entry.employee;
                let phone = employee.phone.map_or_else(|| "-".to_owned(), |phone| phone.to_string());
                let _ = write!(
                    text,
                    " {}={}/{phone} ({})",
                    employee.id,
                    employee.name,
                    entry.change.as_ref()
                );
            }
            if entries.len() > 8 {
                let _ = write!(text, " and {} more", entries.len() - 8);
            }
            text
        }
    }
}

fn shortened(line: &str) -> String {
    const MOST: usize = 900;
    if line.chars().count() <= MOST {
        return line.to_owned();
    }
    let beginning: String = line.chars().take(MOST).collect();
    format!("{beginning}…")
}
