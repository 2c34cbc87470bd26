//! JSON of the server: with agents, with consoles, at enrolment; and of etcd.

use holdfast_agent::drivers::witness::gateway;
use holdfast_api::agent::{Answer, FromAgent, FromServer, Hello, ModuleCommand, NodeReport, PROTOCOL_VERSION, Request};
use holdfast_api::config::{ClusterConfig, ModuleConfig};
use holdfast_api::console;
use holdfast_api::enrol::{AgentLine, Enrolment, JoinRequest, JoinToken, ServerLine, normalize_code};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a value; what was read must be read again from how it is written, and be written the same.
pub fn reads<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let read = serde_json::from_slice::<T>(bytes);
    read.is_ok_and(|value| {
        same_again(&value);
        true
    })
}

/// What was read is read again from how it is written, and is written the same.
pub fn same_again<T: Serialize + DeserializeOwned>(value: &T) {
    let written = serde_json::to_string(value).expect("what was read can be written");
    let again = serde_json::from_str::<T>(&written).unwrap_or_else(|error| panic!("{written} is refused: {error}"));
    assert_eq!(serde_json::to_string(&again).expect("and once more"), written);
}

/// Messages between server and agent; configurations in them are checked as the agent does.
pub fn agent_server(bytes: &[u8]) -> bool {
    if let Ok(config) = serde_json::from_slice::<ClusterConfig>(bytes) {
        let _ = config.validate();
    }
    reads::<FromAgent>(bytes)
        | reads::<FromServer>(bytes)
        | reads::<ClusterConfig>(bytes)
        | reads::<ModuleConfig>(bytes)
}

/// Of each kind.
pub fn agent_server_samples() -> Vec<Vec<u8>> {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        version: "0.1.0".to_owned(),
        node: "node1".to_owned(),
        boot_id: "b".to_owned(),
        cluster_version: 3,
        modules: Vec::new(),
    };
    let command = Request::Command { module: ModuleId(1), kind: ModuleCommand::Swap, actor: "admin".to_owned() };
    let report = NodeReport { cpu_percent: 12.5, ..NodeReport::default() };
    let from_agent = [
        FromAgent::Hello(hello),
        FromAgent::Report(report),
        FromAgent::Answer { id: 4, answer: Answer::Done { text: "done".to_owned() } },
    ];
    let from_server = [
        FromServer::Refused { reason: "no".to_owned() },
        FromServer::Request { id: 5, request: command },
        FromServer::Request { id: 6, request: Request::PushCluster { config: ClusterConfig::default() } },
    ];
    from_agent.iter().map(json).chain(from_server.iter().map(json)).collect()
}

/// Bodies and snapshots of the console's interface, whatever they are sent to.
pub fn console(bytes: &[u8]) -> bool {
    if let Ok(form) = serde_json::from_slice::<console::ClusterForm>(bytes) {
        let _ = form.validate();
    }
    if let Ok(form) = serde_json::from_slice::<console::SettingsForm>(bytes) {
        let _ = form.settings.validate();
    }
    let forms = [
        reads::<console::Login>,
        reads::<console::Setup>,
        reads::<console::NewUser>,
        reads::<console::ClusterForm>,
        reads::<console::NewModule>,
        reads::<console::SettingsForm>,
        reads::<console::FilesForm>,
        reads::<console::ValidateForm>,
        reads::<console::ConfigureForm>,
        reads::<console::CommandForm>,
        reads::<console::RestoreForm>,
        reads::<console::ProbeForm>,
        reads::<console::EnrolForm>,
        reads::<console::TokenForm>,
        reads::<console::PathsForm>,
        reads::<console::LiveSnapshot>,
        reads::<Problem>,
    ];
    forms.into_iter().fold(false, |read, form| form(bytes) | read)
}

/// Some of the bodies.
pub fn console_samples() -> Vec<Vec<u8>> {
    let settings = holdfast_api::config::ModuleSettings::default();
    let snapshot = console::LiveSnapshot {
        sequence: 1,
        unix_ms: 1_700_000_000_000,
        server_version: "0.1.0".to_owned(),
        console_build: "ab".to_owned(),
        cluster: console::ClusterView {
            version: 1,
            name: "c".to_owned(),
            lans: vec!["default".to_owned()],
            nodes: Vec::new(),
            author: "admin".to_owned(),
            saved_unix_ms: 2,
        },
        nodes: Vec::new(),
        modules: Vec::new(),
        server_problems: vec!["expires soon".to_owned()],
        tasks: Vec::new(),
    };
    let node = console::ClusterNodeForm {
        id: NodeId(1),
        name: "node1".to_owned(),
        addresses: [("default".to_owned(), "10.0.0.1".to_owned())].into(),
    };
    let cluster = console::ClusterForm {
        expected_version: 1,
        name: "c".to_owned(),
        lans: vec!["default".to_owned()],
        nodes: vec![node],
    };
    vec![
        json(&console::Login { user: "admin".to_owned(), password: "secret".to_owned() }),
        json(&console::SettingsForm { expected_version: 1, settings }),
        json(&console::CommandForm { command: ModuleCommand::Start, nodes: vec![NodeId(1)] }),
        json(&cluster),
        json(&snapshot),
    ]
}

/// Lines of the enrolment port, and what is typed to join.
pub fn enrolment(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let code = normalize_code(&text);
    assert_eq!(normalize_code(&code), code);
    let token = JoinToken::parse(&text);
    if let Ok(token) = &token {
        assert_eq!(JoinToken::parse(&token.to_string()).as_ref(), Ok(token));
    }
    reads::<AgentLine>(bytes) | reads::<ServerLine>(bytes) | reads::<JoinRequest>(bytes) | token.is_ok()
}

/// Of each kind.
pub fn enrolment_samples() -> Vec<Vec<u8>> {
    let enrolment = Enrolment {
        certificate: "PEM".to_owned(),
        ca: "PEM".to_owned(),
        servers: vec!["[::1]:9453".to_owned()],
        node: NodeId(1),
        name: "node1".to_owned(),
    };
    vec![
        json(&ServerLine::Enrolled { enrolment, tag: "ab".repeat(32) }),
        json(&AgentLine::Refused { reason: "wrong code".to_owned(), attempts_left: 2 }),
        JoinToken { secret: "ab".repeat(16), ca_fingerprint: "0f".repeat(32) }.to_string().into_bytes(),
    ]
}

/// etcd's answers.
pub fn register(bytes: &[u8]) -> bool {
    let read = gateway::read_range(bytes).is_ok() | gateway::read_swap(bytes).is_ok();
    assert!(gateway::read_error(bytes).len() <= bytes.len().max(200) * 4);
    read
}

/// A key that is there, one that is not, and a comparison's end.
pub fn register_samples() -> Vec<Vec<u8>> {
    let record = "eyJudW1iZXIiOjMsIm93bmVyIjoxLCJub25jZSI6NX0=";
    let key = format!(r#"{{"key":"aw==","mod_revision":"7","value":"{record}"}}"#);
    vec![
        format!(r#"{{"header":{{}},"kvs":[{key}],"count":"1"}}"#).into_bytes(),
        br#"{"header":{"revision":"9"}}"#.to_vec(),
        br#"{"header":{},"succeeded":true,"responses":[{"response_put":{}}]}"#.to_vec(),
        format!(r#"{{"succeeded":false,"responses":[{{"response_range":{{"kvs":[{key}]}}}}]}}"#).into_bytes(),
    ]
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is JSON")
}
