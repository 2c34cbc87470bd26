//! Requests between nodes: passed on to another node, or carried out for one; each on a stream of its own.

use super::frame;
use crate::agent::Agent;
use crate::control::server::{carry_out, parse};
use crate::control::{Answer, Ask, LINE_MAX, PROTOCOL, Request};
use anyhow::{Context, Result, bail};
use quinn::{Connection, RecvStream, SendStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than a module takes for its answer, shorter than the command line waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A request arrives within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const ANSWERS: usize = 2;
const ACTOR_MAX: usize = 64;

/// Has the node of this name carry out a request; gives all answers but the last, which is returned.
///
/// # Errors
/// There is no such node.
pub async fn forward(agent: &Agent, node: &str, ask: &Ask, answers: &mpsc::Sender<Answer>) -> Result<Answer> {
    let cluster = agent.cluster().await.context("this node is in no cluster: `holdfast cluster config FILE.json`")?;
    let Some(member) = cluster.nodes.iter().find(|member| member.name == node) else {
        let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("{node} is no node of this cluster; it has {}", names.join(", "));
    };
    let connection = match agent.members.connection(member.id) {
        Ok(connection) => connection,
        Err(why) => {
            let reason = format!("{node} is not reachable over the cluster link: {why}");
            return Ok(Answer::Unreachable { reason });
        }
    };
    let ask = Ask { on: None, ..ask.clone() };
    Ok(exchange(&connection, &ask, answers).await.unwrap_or_else(|error| Answer::Unreachable {
        reason: format!("{node} gave no answer ({error:#}): look there whether it was done"),
    }))
}

/// Asks the node at the other end for something that has one answer.
pub(super) async fn ask(connection: &Connection, actor: &str, request: Request) -> Result<Answer> {
    let (nobody, _) = mpsc::channel(1);
    exchange(connection, &Ask { protocol: PROTOCOL, actor: actor.to_owned(), on: None, request }, &nobody).await
}

async fn exchange(connection: &Connection, ask: &Ask, answers: &mpsc::Sender<Answer>) -> Result<Answer> {
    let opened = tokio::time::timeout(ANSWER_TIMEOUT, connection.open_bi()).await;
    let (mut to, mut from) = opened.context("it takes no requests")??;
    let sent = tokio::time::timeout(ANSWER_TIMEOUT, frame::write(&mut to, ask, LINE_MAX)).await;
    sent.context("it does not take the request")??;
    to.finish()?;
    let mut last = None;
    loop {
        let next = tokio::time::timeout(ANSWER_TIMEOUT, frame::read(&mut from, LINE_MAX)).await;
        match next.with_context(|| format!("nothing for {} s", ANSWER_TIMEOUT.as_secs()))?? {
            Some(answer) => {
                if let Some(earlier) = last.replace(answer) {
                    // An error means that nobody waits for it.
                    let _ = answers.send(earlier).await;
                }
            }
            None => return last.context("the stream ended without an answer"),
        }
    }
}

/// Carries out a request of the node `from`.
pub(super) async fn serve(agent: &Arc<Agent>, from: &str, mut to: SendStream, mut stream: RecvStream) -> Result<()> {
    let read = tokio::time::timeout(REQUEST_TIMEOUT, frame::read_bytes(&mut stream, LINE_MAX)).await;
    let bytes = match read.context("the request does not arrive")? {
        Ok(bytes) => bytes.context("an empty request")?,
        Err(error) => {
            refuse(&mut to, &error.to_string()).await?;
            bail!("a request of {from} is refused: {error}");
        }
    };
    let mut ask = match parse(&bytes) {
        Ok(ask) => ask,
        Err(answer) => return finish(&mut to, &answer).await,
    };
    if ask.on.is_some() {
        return refuse(&mut to, "a request is passed on once only").await;
    }
    if let Some(reason) = ask.request.only_here() {
        return refuse(&mut to, reason).await;
    }
    let actor: String = ask.actor.chars().filter(|c| !c.is_control()).take(ACTOR_MAX).collect();
    // Who is at the other end is known by its key; who works there, only by what it says.
    ask.actor = format!("{actor}@{from}");
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    let work = async move { carry_out(agent, ask, &answers).await };
    let writing = async move {
        while let Some(answer) = answered.recv().await {
            frame::write(&mut to, &answer, LINE_MAX).await?;
        }
        to.finish()?;
        anyhow::Ok(())
    };
    let ((), written) = tokio::join!(work, writing);
    written
}

async fn refuse(to: &mut SendStream, reason: &str) -> Result<()> {
    finish(to, &Answer::Refused { reason: reason.to_owned() }).await
}

async fn finish(to: &mut SendStream, answer: &Answer) -> Result<()> {
    frame::write(to, answer, LINE_MAX).await?;
    to.finish()?;
    Ok(())
}
