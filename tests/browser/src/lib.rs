//! The browser ring: the console driven in a real headless Chromium, against the real server and real agents.
//!
//! `browser` starts chromedriver and a session and holds the verbs of the tests, `stage` is the lab with the
//! management server in it and its door for the browser, `rehearsal` answers the page from the test instead, `accessibility` is
//! what every page must fulfil, `keys` works a page without a mouse, `smoothness` is what the browser tells of a page's work.

pub mod accessibility;
pub mod browser;
mod chromedriver;
mod keys;
pub mod rehearsal;
pub mod smoothness;
pub mod stage;
