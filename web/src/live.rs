//! The live socket: snapshots into signals, reconnecting with back-off; silence makes the page stale.

use crate::platform;
use crate::store::{Console, Link};
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt};
use gloo_net::websocket::Message;
use gloo_net::websocket::futures::WebSocket;
use gloo_timers::future::TimeoutFuture;
use holdfast_api::console::LiveSnapshot;
use leptos::prelude::*;

const ADDRESS: &str = "/api/v1/live";
/// Silence after which a connection is given up.
const SILENCE_MS: u32 = 15_000;
const BACK_OFF_MIN_MS: u32 = 250;
const BACK_OFF_MAX_MS: u32 = 10_000;

/// Keeps the snapshot fresh for as long as somebody is logged in.
pub fn run(console: Console) {
    leptos::task::spawn_local(async move {
        let mut back_off_ms = BACK_OFF_MIN_MS;
        while logged_in(console) {
            if receive(console).await {
                back_off_ms = BACK_OFF_MIN_MS;
            }
            mark_stale(console);
            if !logged_in(console) {
                break;
            }
            TimeoutFuture::new(back_off_ms).await;
            back_off_ms = (back_off_ms * 2).min(BACK_OFF_MAX_MS);
            recheck_session(console).await;
        }
        console.forget_snapshot();
    });
}

fn logged_in(console: Console) -> bool {
    console.session.with_untracked(|session| session.as_ref().is_some_and(|session| session.user.is_some()))
}

/// Receives until the connection ends or falls silent; true if anything came.
async fn receive(console: Console) -> bool {
    let Some(mut socket) = platform::socket_address(ADDRESS).and_then(|address| WebSocket::open(&address).ok()) else {
        return false;
    };
    let mut anything = false;
    while logged_in(console) {
        let silence = TimeoutFuture::new(SILENCE_MS);
        let mut text = match select(socket.next(), silence).await {
            Either::Left((Some(Ok(Message::Text(text))), _)) => text,
            Either::Left((Some(Ok(Message::Bytes(_))), _)) => continue,
            _ => break,
        };
        // Each message is everything: of those that came while the page was busy only the last counts.
        while let Some(Some(Ok(Message::Text(newer)))) = socket.next().now_or_never() {
            text = newer;
        }
        match serde_json::from_str::<LiveSnapshot>(&text) {
            Ok(snapshot) => {
                anything = true;
                console.take(snapshot);
            }
            Err(error) => {
                leptos::logging::warn!("a live snapshot is not understood: {error}");
                break;
            }
        }
    }
    socket.close(None, None).ok();
    anything
}

/// From now on nothing on the page is shown as live.
fn mark_stale(console: Console) {
    if console.link.get_untracked() == Link::Live {
        console.link.set(Link::Stale(platform::now_ms()));
    }
}

/// A socket refused because the session has ended looks like a server that is away: ask which it is.
async fn recheck_session(console: Console) {
    if let Ok(session) = crate::client::session().await
        && session.user.is_none()
    {
        console.session.set(Some(session));
    }
}
