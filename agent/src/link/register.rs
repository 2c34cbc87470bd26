//! The register at the management server, asked through the live session; without a session it says so at once.

use holdfast_api::agent::{FromAgent, RegisterAnswer, RegisterQuestion};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Questions that wait to be sent.
const QUESTIONS: usize = 64;

/// A question on its way to the server.
#[derive(Debug)]
struct Call {
    question: RegisterQuestion,
    reply: oneshot::Sender<RegisterAnswer>,
}

#[derive(Debug)]
struct Shared {
    /// Into the session; or why there is none.
    door: Mutex<Result<mpsc::Sender<Call>, String>>,
    lives: watch::Sender<Option<u64>>,
}

/// The server's register as this node reaches it; clones share it.
#[derive(Clone, Debug)]
pub struct ServerRegister(Arc<Shared>);

impl Default for ServerRegister {
    fn default() -> Self {
        let none = "it was not dialled yet, or this node is not enrolled".to_owned();
        Self(Arc::new(Shared { door: Mutex::new(Err(none)), lives: watch::Sender::new(None) }))
    }
}

impl ServerRegister {
    fn door(&self) -> MutexGuard<'_, Result<mpsc::Sender<Call>, String>> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; waits for as long as the session lasts.
    ///
    /// # Errors
    /// Why the register cannot be asked, and the cure.
    pub async fn ask(&self, question: RegisterQuestion) -> Result<RegisterAnswer, String> {
        let without = |reason: &str| {
            format!(
                "this node has no session with the management server, which keeps the register ({reason}); start the \
                 server, or mend the network to it"
            )
        };
        let door = self.door().clone().map_err(|reason| without(&reason))?;
        let (reply, answer) = oneshot::channel();
        door.send(Call { question, reply }).await.map_err(|_| without("it has just ended"))?;
        answer.await.map_err(|_| without("it ended before the answer came"))
    }

    /// The life of the register that this node last had a session with; wakes at each new session.
    pub fn lives(&self) -> watch::Receiver<Option<u64>> {
        self.0.lives.subscribe()
    }

    /// There is no session, and why.
    pub(crate) fn closed(&self, reason: &str) {
        *self.door() = Err(reason.to_owned());
    }

    /// A session with a register in this life begins; it takes the questions until the result is dropped.
    pub(crate) fn open(&self, life: u64) -> Questions {
        let (door, calls) = mpsc::channel(QUESTIONS);
        *self.door() = Ok(door);
        self.0.lives.send_replace(Some(life));
        Questions { register: self.clone(), calls, pending: HashMap::new(), next: 1 }
    }
}

/// The questions of one session.
#[derive(Debug)]
pub(crate) struct Questions {
    register: ServerRegister,
    calls: mpsc::Receiver<Call>,
    pending: HashMap<u64, oneshot::Sender<RegisterAnswer>>,
    next: u64,
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.register.closed("it has ended; the server is dialled again");
    }
}

impl Questions {
    /// The next question, as it is sent.
    pub(crate) async fn next(&mut self) -> Option<FromAgent> {
        let Call { question, reply } = self.calls.recv().await?;
        // Whoever gave up waiting drops its end.
        self.pending.retain(|_, reply| !reply.is_closed());
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, reply);
        Some(FromAgent::AskRegister { id, question })
    }

    /// The answer to a question has come.
    pub(crate) fn answered(&mut self, id: u64, answer: RegisterAnswer) {
        if let Some(reply) = self.pending.remove(&id) {
            let _ = reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::agent::RegisterMatter;
    use holdfast_api::ids::ModuleId;

    fn question(module: u16) -> RegisterQuestion {
        RegisterQuestion { module: ModuleId(module), name: "mirror".into(), matter: RegisterMatter::Look }
    }

    #[tokio::test]
    async fn without_a_session_the_cure_is_told_at_once() {
        let register = ServerRegister::default();
        register.closed("connection refused");
        let error = register.ask(question(0)).await.unwrap_err();
        assert!(error.contains("connection refused") && error.contains("start the server"), "{error}");
    }

    #[tokio::test]
    async fn answers_find_their_questions_and_the_end_of_the_session_ends_the_rest() {
        let register = ServerRegister::default();
        let lives = register.lives();
        let mut questions = register.open(7);
        assert_eq!((lives.has_changed().unwrap(), *lives.borrow()), (true, Some(7)));
        let ask = |module| {
            let register = register.clone();
            tokio::spawn(async move { register.ask(question(module)).await })
        };
        let mut ids = HashMap::new();
        let tasks: Vec<_> = (0..3).map(ask).collect();
        for _ in 0..3 {
            let Some(FromAgent::AskRegister { id, question }) = questions.next().await else { panic!("no question") };
            ids.insert(question.module.0, id);
        }
        let refused = |number| RegisterAnswer::Refused { number, reason: String::new() };
        questions.answered(ids[&1], refused(1));
        questions.answered(ids[&0], refused(0));
        questions.answered(99, refused(99));
        drop(questions);
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        assert_eq!((&answers[0], &answers[1]), (&Ok(refused(0)), &Ok(refused(1))));
        assert!(answers[2].as_ref().unwrap_err().contains("before the answer"), "{:?}", answers[2]);
        assert!(register.ask(question(0)).await.is_err());
    }
}
