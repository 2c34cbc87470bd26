//! A look that goes on in the background until it is told to end; its successor begins only when it has ended.

use super::Inbox;
use holdfast_api::resource::ResourceValue;
use holdfast_core::input::Input;
use std::future::Future;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Shortest time between two looks, whatever is configured: looking must not keep the machine busy.
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Resolves when a look is to end.
pub type Stopped = oneshot::Receiver<()>;

/// A look that goes on. Dropping it tells it to end, too.
#[derive(Debug)]
pub struct Watch {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts a look; `before` is told to end, and what it has to say last is said before this one says anything.
    pub fn start<F, L>(before: Option<Watch>, look: L) -> Self
    where
        L: FnOnce(Stopped) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Some(mut before) = before {
                before.stop();
                let _ = before.task.await;
            }
            look(stopped).await;
        });
        Self { stop: Some(stop), task }
    }

    /// Tells the look to end; does not wait for it.
    pub fn stop(&mut self) {
        self.stop = None;
    }
}

/// Says what a resource is, whenever that changes.
#[derive(Debug)]
pub struct Teller {
    inbox: Inbox,
    name: String,
    by: &'static str,
    last: Option<(ResourceValue, String)>,
}

impl Teller {
    /// Of the resource `name`, in the name of `by`.
    pub fn new(inbox: &Inbox, name: String, by: &'static str) -> Self {
        Self { inbox: inbox.clone(), name, by, last: None }
    }

    /// Name of the resource.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says the value if it, or its reason, is another one than the last (the first is always said); `why` goes into the
    /// log with it.
    pub async fn say(&mut self, value: ResourceValue, why: Option<&str>) {
        let by = why.map_or_else(|| self.by.to_owned(), |why| format!("{} ({why})", self.by));
        let said = Some((value.clone(), by.clone()));
        if self.last == said {
            return;
        }
        self.last = said;
        // A failure means that the engine has ended: nobody wants to know any more.
        let _ = self.inbox.send(Input::ResourceSet { name: self.name.clone(), value, by }).await;
    }

    /// Says up or down.
    pub async fn say_result(&mut self, result: &Result<(), String>) {
        match result {
            Ok(()) => self.say(ResourceValue::Up, None).await,
            Err(why) => self.say(ResourceValue::Down, Some(why)).await,
        }
    }
}

/// Looks at once and then every `interval` until told to end; then the resource is `init` again.
///
/// One look that fails makes the resource `down`: what filters a passing fault is the time for which a rule must hold
/// before its action is taken.
pub async fn periodically<F>(mut teller: Teller, interval: Duration, mut stopped: Stopped, mut look: impl FnMut() -> F)
where
    F: Future<Output = Result<(), String>>,
{
    let mut ticks = tokio::time::interval(interval.max(INTERVAL_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let looked = async {
            ticks.tick().await;
            look().await
        };
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            result = looked => teller.say_result(&result).await,
        }
    }
    teller.say(ResourceValue::Init, None).await;
}

#[cfg(test)]
mod tests {
    use super::{Teller, Watch, periodically};
    use holdfast_api::resource::ResourceValue;
    use holdfast_core::input::Input;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::sync::mpsc;

    async fn next(inputs: &mut mpsc::Receiver<Input>) -> (ResourceValue, String) {
        match tokio::time::timeout(Duration::from_secs(30), inputs.recv()).await.unwrap().unwrap() {
            Input::ResourceSet { value, by, .. } => (value, by),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_changes_are_said_and_the_end_puts_the_resource_back_to_init() {
        let (inbox, mut inputs) = mpsc::channel(10);
        let looks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&looks);
        let teller = Teller::new(&inbox, "tcp.x".to_owned(), "tcpcheck");
        let mut watch = Watch::start(None, move |stopped| {
            periodically(teller, Duration::ZERO, stopped, move || {
                let look = counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    match look {
                        ..3 => Ok(()),
                        3..6 => Err("gone".to_owned()),
                        _ => Err("gone for good".to_owned()),
                    }
                }
            })
        });
        assert_eq!(next(&mut inputs).await, (ResourceValue::Up, "tcpcheck".to_owned()));
        assert_eq!(next(&mut inputs).await, (ResourceValue::Down, "tcpcheck (gone)".to_owned()));
        assert_eq!(next(&mut inputs).await, (ResourceValue::Down, "tcpcheck (gone for good)".to_owned()));
        assert!(looks.load(Ordering::Relaxed) >= 7);
        watch.stop();
        assert_eq!(next(&mut inputs).await.0, ResourceValue::Init);
    }

    #[tokio::test]
    async fn a_successor_waits_for_the_last_word_of_its_predecessor() {
        let (inbox, mut inputs) = mpsc::channel(10);
        let look = |by| {
            let teller = Teller::new(&inbox, "tcp.x".to_owned(), by);
            move |stopped| periodically(teller, Duration::ZERO, stopped, || async { Ok(()) })
        };
        let first = Watch::start(None, look("first"));
        assert_eq!(next(&mut inputs).await.1, "first");
        let _second = Watch::start(Some(first), look("second"));
        assert_eq!(next(&mut inputs).await, (ResourceValue::Init, "first".to_owned()));
        assert_eq!(next(&mut inputs).await, (ResourceValue::Up, "second".to_owned()));
    }
}
