//! Working a page by keyboard alone: Tab to a control in the order of the page, see where the focus is, press it.

use crate::browser::{Browser, PATIENCE, css};
use anyhow::{Result, bail, ensure};
use std::time::Instant;
use thirtyfour::{Key, TypingData};

/// Rounds of pressing Tab after which a control counts as out of reach.
const ROUNDS: usize = 40;

/// How many presses of Tab lie between the focus and the control with this `data-testid`, and what it is. Of a group of
/// radio buttons only one is reached by Tab, the others by arrows.
const WAY: &str = r"
    const target = document.querySelector(SELECTOR);
    if (!target) return [null, ''];
    const modal = document.querySelector('dialog[open]') ?? document;
    const group = (e) => [...modal.querySelectorAll('input[type=radio]')].filter((other) => other.name === e.name);
    const stops = [...modal.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex], [data-editor=ready]')]
        .filter((e) => (e.tabIndex >= 0 || e.dataset.editor) && !e.disabled && e.checkVisibility({ visibilityProperty: true }))
        .filter((e) => e.type !== 'radio' || e.checked || (e === group(e)[0] && !group(e).some((other) => other.checked)));
    const kind = target.getAttribute('role') === 'menuitem' ? 'menuitem' : target.type ?? target.tagName;
    const stop = kind === 'radio' ? stops.find((e) => group(target).includes(e)) : target;
    const here = document.activeElement;
    if (here === target || (kind === 'radio' && group(target).includes(here))) return [0, kind];
    return [stops.indexOf(stop) < 0 ? null : stops.indexOf(stop) - stops.indexOf(here), kind];";

/// Whether it can be seen where the focus is.
const SEEN: &str =
    "const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && s.outlineWidth !== '0px'";

impl Browser {
    /// From now on [`Browser::click`] and [`Browser::fill`] use the keyboard alone, or the mouse again.
    pub fn use_keys(&self, on: bool) {
        self.keys.store(on, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn uses_keys(&self) -> bool {
        self.keys.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Moves the focus to the control with this `data-testid` by Tab; what kind of control it is.
    ///
    /// # Errors
    /// Tab does not reach it, or it cannot be seen that it has the focus.
    pub(crate) async fn reach(&self, testid: &str) -> Result<String> {
        let began = Instant::now();
        let script = WAY.replace("SELECTOR", &format!("{:?}", css(testid)));
        let mut round = 0;
        loop {
            let way = self.script(&script).await?;
            let kind = way[1].as_str().unwrap_or_default().to_owned();
            match way[0].as_i64() {
                Some(0) => {
                    ensure!(self.script(SEEN).await? == true, "it cannot be seen that {testid} has the focus");
                    return Ok(kind);
                }
                Some(presses) if round < ROUNDS => {
                    round += 1;
                    self.tab(presses).await?;
                }
                Some(_) => bail!("Tab does not reach {testid}; the focus is on {}", self.focused().await?),
                // Not there yet, or not to be used yet.
                None if began.elapsed() < PATIENCE => tokio::time::sleep(crate::browser::POLL).await,
                None => bail!("{testid} cannot be reached by Tab"),
            }
        }
    }

    /// Works the control with this `data-testid` by keyboard.
    pub(crate) async fn press_control(&self, testid: &str) -> Result<()> {
        let kind = self.script(&WAY.replace("SELECTOR", &format!("{:?}", css(testid)))).await?[1].clone();
        if kind == "menuitem" {
            return self.pick_from_menu(testid).await;
        }
        match self.reach(testid).await?.as_str() {
            "radio" => self.choose(testid).await,
            "checkbox" => self.type_keys(" ").await,
            _ => self.type_keys(Key::Enter + "").await,
        }
    }

    /// Walks a menu that is open down to an item and takes it.
    async fn pick_from_menu(&self, testid: &str) -> Result<()> {
        let began = Instant::now();
        let focused = format!("return document.activeElement === document.querySelector({:?})", css(testid));
        while self.script(&focused).await? != true {
            ensure!(began.elapsed() < PATIENCE, "the arrows do not reach {testid}");
            let before = self.focused().await?;
            self.type_keys(Key::Down + "").await?;
            // The focus moves with the next picture drawn.
            while self.focused().await? == before && began.elapsed() < PATIENCE {
                tokio::time::sleep(crate::browser::POLL / 10).await;
            }
        }
        self.type_keys(Key::Enter + "").await
    }

    /// Chooses a radio button of the group that has the focus.
    async fn choose(&self, testid: &str) -> Result<()> {
        let state = |of: &str| format!("const e = document.querySelector({:?}); return {of}", css(testid));
        for _ in 0..ROUNDS {
            if self.script(&state("document.activeElement === e")).await? == true {
                break;
            }
            self.type_keys(Key::Down + "").await?;
        }
        if self.script(&state("e.checked")).await? != true {
            self.type_keys(" ").await?;
        }
        ensure!(self.script(&state("e.checked")).await? == true, "{testid} cannot be chosen by keyboard");
        Ok(())
    }

    /// Presses Tab so often, with Shift if negative.
    async fn tab(&self, presses: i64) -> Result<()> {
        let keys = (Key::Tab + "").to_string().repeat(usize::try_from(presses.unsigned_abs())?.max(1));
        let chain = self.driver.action_chain();
        let chain = if presses >= 0 {
            chain.send_keys(keys)
        } else {
            chain.key_down(Key::Shift).send_keys(keys).key_up(Key::Shift)
        };
        Ok(chain.perform().await?)
    }

    /// Types where the focus is.
    pub(crate) async fn type_keys(&self, keys: impl Into<TypingData>) -> Result<()> {
        Ok(self.driver.action_chain().send_keys(keys).perform().await?)
    }
}
