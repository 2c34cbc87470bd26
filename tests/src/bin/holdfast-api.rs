//! `holdfast-api`: schemathesis against a server with two nodes and a module; what `cargo xtask test --only api` runs.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use holdfast_tests::demo::server::Server;
use holdfast_tests::lab::cluster::ModulePlan;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// What is demanded of every answer: no error of the server, and nothing that the document does not tell.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// The operation that can take the token away with which all others are tried; tried last, as a person logged in.
const WITHDRAW: &str = "delete_tokens_id";

/// How a zip that is no zip is sent: schemathesis knows no such type.
const HOOKS: &str = "import schemathesis

@schemathesis.serializer('application/zip')
def zip_of(context, value):
    value = getattr(value, 'data', value)
    return value if isinstance(value, bytes) else str(value).encode()
";

/// Requests made from the OpenAPI document, good and bad ones.
#[derive(Parser)]
struct Arguments {
    /// The program schemathesis.
    schemathesis: PathBuf,
    /// Requests for each operation and phase at most.
    #[arg(long, default_value_t = 10)]
    examples: u32,
    /// Same seed, same requests; drawn and told if not given.
    #[arg(long)]
    seed: Option<u32>,
    /// Only the operation of this name (`operationId`).
    #[arg(long)]
    operation: Option<String>,
}

fn main() -> ExitCode {
    println!("running 1 test");
    let result = run(&Arguments::parse());
    let (word, passed) = if result.is_ok() { ("ok", 1) } else { ("FAILED", 0) };
    println!("test no_request_made_from_the_document_ends_in_an_error_of_the_server ... {word}");
    if let Err(error) = &result {
        println!("{error:#}");
    }
    println!("\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out", 1 - passed);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Result<()> {
    let lab = Lab::with("api", &LabOptions { console: true, ..LabOptions::default() })?;
    let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let plan = ModulePlan::bank(2000);
    lab.make_directory(&plan)?;
    server.form_cluster(&lab)?;
    server.configure(&plan)?;
    let made = server.send("POST", "/tokens", &json!({ "name": "tried", "role": "admin" }))?;
    let secret = made["secret"].as_str().context("no secret")?;
    let bearer = [format!("Authorization: Bearer {secret}")];
    let person = [
        format!("Cookie: {}", server.cookie().context("nobody is logged in")?),
        format!("Origin: {}", server.url().trim_end_matches('/')),
    ];
    let (all, last) = match &arguments.operation {
        Some(one) => (vec!["--include-operation-id", one.as_str()], None),
        None => (vec!["--exclude-operation-id", WITHDRAW], Some(["--include-operation-id", WITHDRAW])),
    };
    try_all(&lab, &server, arguments, &bearer, &all)?;
    last.map_or(Ok(()), |last| try_all(&lab, &server, arguments, &person, &last))
}

/// Runs schemathesis over some of the operations.
fn try_all(lab: &Lab, server: &Server, arguments: &Arguments, headers: &[String], which: &[&str]) -> Result<()> {
    let authority = lab.host(CONSOLE).folder().join("data/pki/ca.pem");
    let mut program = Command::new(&arguments.schemathesis);
    program.arg("run").arg(format!("{}api/v1/openapi.json", server.url())).arg("--tls-verify").arg(authority);
    program.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--no-color", "--warnings", "off"]);
    program.args(["--request-timeout", "60", "--generation-database", "none", "--continue-on-failure"]);
    program.arg("--max-examples").arg(arguments.examples.to_string()).args(which);
    for header in headers {
        program.arg("--header").arg(header);
    }
    if let Some(seed) = arguments.seed {
        program.arg("--seed").arg(seed.to_string());
    }
    // What it keeps goes with the lab.
    std::fs::write(lab.folder().join("hooks.py"), HOOKS)?;
    program.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", lab.folder());
    let status = program.current_dir(lab.folder()).status();
    let status = status.with_context(|| format!("cannot run {}", arguments.schemathesis.display()))?;
    ensure!(status.success(), "schemathesis found the failures above ({status})");
    Ok(())
}
