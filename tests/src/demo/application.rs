//! What the demo protects: the bank ledger or Debian's PostgreSQL, as modules and as clients see them.

use crate::bank::client::{Bank, Keeper};
use crate::lab::Lab;
use crate::lab::cluster::ModulePlan;
use anyhow::{Context, Result};
use std::path::Path;

/// The heartbeat of the demo is that of the mirror template, in milliseconds.
const PULSE_MS: u32 = 250;
/// See `PULSE_MS`.
const TIMEOUT_MS: u32 = 800;

/// Where PostgreSQL listens.
const POSTGRESQL_PORT: u16 = 5432;

/// The protected application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Application {
    /// A bank ledger over HTTP on SQLite.
    Bank,
    /// The same ledger kept in Debian's PostgreSQL 15.
    Postgresql,
}

impl Application {
    /// Its module.
    pub fn plan(self) -> ModulePlan {
        match self {
            Self::Bank => ModulePlan { pulse_ms: PULSE_MS, ..ModulePlan::bank(TIMEOUT_MS) },
            Self::Postgresql => ModulePlan {
                name: "postgresql".into(),
                source: Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/postgresql.safe"),
                pulse_ms: PULSE_MS,
                timeout_ms: TIMEOUT_MS,
                directory: "/srv/postgresql".into(),
                edits: Vec::new(),
            },
        }
    }

    /// The ledger as clients see it.
    pub fn bank(self, lab: &Lab) -> Bank {
        let mut bank = lab.bank(&self.plan().name);
        if self == Self::Postgresql {
            bank.keeper = Keeper::Postgres;
            bank.doors.iter_mut().for_each(|door| door.bank.set_port(POSTGRESQL_PORT));
        }
        bank
    }

    /// Name of the process that must run on the primary.
    pub fn process_name(self) -> &'static str {
        match self {
            Self::Bank => "holdfast-bank",
            Self::Postgresql => "postgres",
        }
    }

    /// What it needs on node 1 before the first start (its data, where an installation would have made them).
    ///
    /// # Errors
    /// PostgreSQL is not installed or its cluster cannot be made.
    pub fn prepare(self, lab: &Lab) -> Result<()> {
        if self == Self::Bank {
            return Ok(());
        }
        // The clients of the demo are on the lab's own network: they are let in without password.
        let make = "chown postgres:postgres /srv/postgresql && chmod 700 /srv/postgresql && \
                    runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb --pgdata /srv/postgresql --auth trust && \
                    echo 'host all all 10.99.0.0/16 trust' >> /srv/postgresql/pg_hba.conf";
        lab.host(1).shell(make).context("PostgreSQL 15 is needed: apt-get install postgresql")?;
        lab.host(2).shell("chown postgres:postgres /srv/postgresql && chmod 700 /srv/postgresql")?;
        Ok(())
    }
}
