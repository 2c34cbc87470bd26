//! `<module>`: is another module Ready, here or at an address; and has it come back since?

use super::Setting;
use crate::drivers::watch::{INTERVAL_MIN, Stopped, Teller};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{ModuleState, Readiness};
use holdfast_core::input::{Command, Input, ModuleCommand};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

/// Who says so.
pub(super) const BY: &str = "modulecheck";

/// The module looked at.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its name.
    pub name: String,
    /// Where; `None`: this node.
    pub addr: Option<String>,
    /// Port of the health URL there.
    pub port: u16,
    /// Time between two looks.
    pub interval: Duration,
    /// Longest time for an answer.
    pub timeout: Duration,
}

/// What was seen of the other module while this checker looked: a module that depends on it has to start again after
/// the other was restarted or has failed over, since what it holds of the other (connections, mounts) is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    was_up: bool,
    fell: bool,
    came_back: bool,
}

impl Seen {
    fn look(&mut self, up: bool) {
        self.came_back |= up && self.fell;
        self.fell = !up && (self.was_up || self.fell);
        self.was_up = up;
    }

    /// Whether to order a `stopstart` of the module that depends on it. A module that is stopped or waits starts anew
    /// anyway; one that is under way to a role is told when it has got there.
    fn order(&mut self, own: Option<(ModuleState, Readiness)>) -> bool {
        match own {
            Some((ModuleState::Stop | ModuleState::Wait, _)) | None => {
                self.came_back = false;
                false
            }
            Some((_, Readiness::Ready)) => std::mem::take(&mut self.came_back),
            Some(_) => false,
        }
    }
}

/// Looks until told to end. A module of this node is seen the moment it changes, another one every interval.
pub(super) async fn run(
    setting: Arc<Setting>,
    inbox: crate::drivers::Inbox,
    target: Target,
    mut teller: Teller,
    mut stopped: Stopped,
) {
    let mut seen = Seen::default();
    let mut changes = setting.reports.changes();
    let mut ticks = tokio::time::interval(target.interval.max(INTERVAL_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looks = async {
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = changes.changed(), if target.addr.is_none() || seen.came_back => {}
            }
            let result = look(&setting, &target).await;
            seen.look(result.is_ok());
            teller.say_result(&result).await;
            let own = setting.reports.get(&setting.module).map(|own| (own.state, own.readiness));
            if seen.order(own) {
                let actor = format!("{BY} (module {} came back)", target.name);
                let order = Command { id: 0, kind: ModuleCommand::StopStart, actor, counted: true };
                let _ = inbox.send(Input::CommandReceived(order)).await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = &mut stopped => {}
        () = looks => {}
    }
    teller.say(ResourceValue::Init, None).await;
}

async fn look(setting: &Setting, target: &Target) -> Result<(), String> {
    let Some(addr) = &target.addr else {
        return if setting.reports.healthy(&target.name) {
            Ok(())
        } else {
            let state = setting.reports.status(&target.name).unwrap_or_else(|| "not configured".to_owned());
            Err(format!("module {} is {state} on this node", target.name))
        };
    };
    let asked = ask(addr, target.port, &target.name);
    match tokio::time::timeout(target.timeout, asked).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(status)) => Err(format!("module {} is not Ready at {addr}: HTTP {}", target.name, status.as_u16())),
        Ok(Err(error)) => Err(format!("{addr} port {}: {error}", target.port)),
        Err(_) => Err(format!("{addr} port {} does not answer within {} ms", target.port, target.timeout.as_millis())),
    }
}

/// Asks the health URL of a module.
async fn ask(addr: &str, port: u16, module: &str) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect((addr, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let host = if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") };
    let path = format!("/var/modules/{module}/ready.txt");
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request);
    tokio::select! {
        biased;
        answer = answer => Ok(answer?.status()),
        ended = connection => {
            ended?;
            Err("the connection was closed".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, ask};
    use crate::report::{Reports, blank};
    use holdfast_api::ids::ModuleId;
    use holdfast_api::state::{ModuleState, Readiness};
    use hyper::StatusCode;

    #[test]
    fn a_module_that_was_down_from_the_start_does_not_come_back() {
        let mut seen = Seen::default();
        let ready = Some((ModuleState::Prim, Readiness::Ready));
        for (up, order) in [(false, false), (true, false), (true, false), (false, false), (false, false), (true, true)]
        {
            seen.look(up);
            assert_eq!(seen.order(ready), order, "{seen:?}");
        }
        seen.look(true);
        assert!(!seen.order(ready), "once only");
    }

    #[test]
    fn a_stopstart_waits_for_readiness_and_is_dropped_by_a_wait() {
        let fell_and_came_back = || {
            let mut seen = Seen::default();
            [true, false, true].into_iter().for_each(|up| seen.look(up));
            seen
        };
        let mut seen = fell_and_came_back();
        assert!(!seen.order(Some((ModuleState::Prim, Readiness::Transient))));
        assert!(seen.order(Some((ModuleState::Prim, Readiness::Ready))));
        let mut seen = fell_and_came_back();
        assert!(!seen.order(Some((ModuleState::Wait, Readiness::NotReady))));
        assert!(!seen.order(Some((ModuleState::Alone, Readiness::Ready))));
    }

    #[tokio::test]
    async fn health_url_of_another_node_is_asked() {
        let reports = Reports::new("node2");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(crate::drivers::health::serve(listener, reports.clone(), Default::default()));
        assert_eq!(ask("127.0.0.1", port, "leader").await.unwrap(), StatusCode::NOT_FOUND);
        reports.set(blank("leader", ModuleId(1), "node2", 1, "ready"), true);
        assert_eq!(ask("127.0.0.1", port, "leader").await.unwrap(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_http_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        ask("127.0.0.1", port, "leader").await.unwrap_err();
        server.await.unwrap();
    }
}
