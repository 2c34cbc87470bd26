//! Components of the console before answers that only a test can order: every state, every message, late and lost answers.

mod badge;
mod catalogue;
mod clocks;
mod crowd;
mod editor;
mod left;
mod log;
mod wizard;

use anyhow::Result;
use holdfast_api::console::{LiveSnapshot, UserRole};
use holdfast_browser::rehearsal::{Rehearsal, world};
use holdfast_browser::stage::pictures_folder;

/// A page for somebody with this role, its pictures in a folder of its own: they fail beside the story.
async fn rehearse(role: UserRole, snapshot: &LiveSnapshot) -> Result<Rehearsal> {
    Rehearsal::begin(&world::session(role), snapshot, &pictures_folder().join("components")).await
}
