//! The whole story by the REST interface alone, as its OpenAPI document says it, with curl on a third machine.

use crate::bench::{Bench, Scenario, TIMEOUT_MS};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::demo::server::{Server, USER, pairing_code};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "cluster_and_module_are_set_up_and_run_with_curl_alone", run: with_curl }];

/// curl on the console's host, and what the document says.
struct Curl<'a> {
    lab: &'a Lab,
    base: String,
    authority: String,
    /// `Authorization` of a script, once there is one.
    token: Option<String>,
    document: Value,
}

impl<'a> Curl<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let base = format!("https://{}:9453", lab.network().address(CONSOLE));
        let authority = lab.host(CONSOLE).folder().join("data/pki/ca.pem").display().to_string();
        let mut curl = Self { lab, base, authority, token: None, document: Value::Null };
        curl.document = curl.run("GET", "/api/v1/openapi.json", None)?.1;
        Ok(curl)
    }

    /// Runs curl; the status and the body.
    fn run(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let (url, body) = (format!("{}{path}", self.base), body.map(Value::to_string));
        let origin = format!("Origin: {}", self.base);
        let cookies = self.lab.folder().join("cookies").display().to_string();
        let mut arguments = vec!["-sS", "--max-time", "50", "--cacert", &self.authority, "-X", method, &url];
        arguments.extend(["-w", "\n%{http_code}"]);
        let bearer = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}"));
        match &bearer {
            Some(bearer) => arguments.extend(["-H", bearer]),
            None => arguments.extend(["-H", &origin, "-c", &cookies, "-b", &cookies]),
        }
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let output = self.lab.host(CONSOLE).output(60, "curl", &arguments)?;
        ensure!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr).trim());
        let text = String::from_utf8(output.stdout)?;
        let (body, status) = text.rsplit_once('\n').context("curl printed no status")?;
        let value = if body.is_empty() { Value::Null } else { serde_json::from_str(body)? };
        Ok((status.parse()?, value))
    }

    /// An operation of the document: `path` as it stands there, with these values put in. Fails unless the document knows
    /// it, the body it was given and the answer it gave, and that is a success.
    fn call(&self, method: &str, path: &str, values: &[&dyn std::fmt::Display], body: Option<&Value>) -> Result<Value> {
        let operation = &self.document["paths"][path][method.to_lowercase()];
        ensure!(operation.is_object(), "the document has no {method} {path}");
        if let Some(body) = body {
            self.suits(&operation["requestBody"], body).with_context(|| format!("the body of {method} {path}"))?;
        }
        let mut filled = path.to_owned();
        for value in values {
            let (start, end) = filled.find('{').zip(filled.find('}')).context("more values than places")?;
            filled.replace_range(start..=end, &value.to_string());
        }
        let (status, value) = self.run(method, &filled, body)?;
        ensure!((200..300).contains(&status), "{method} {filled} answered {status}: {value}");
        let response = &operation["responses"][status.to_string()];
        ensure!(response.is_object(), "{status} of {method} {path} is not in the document");
        self.suits(response, &value).with_context(|| format!("the answer {status} of {method} {path}"))?;
        Ok(value)
    }

    /// Demands that `value` is what the document says of a body.
    fn suits(&self, described: &Value, value: &Value) -> Result<()> {
        let schema = &described["content"]["application/json"]["schema"];
        ensure!(schema.is_object(), "the document has no schema of it");
        self.holds(schema, value, "").with_context(|| format!("in {value}"))
    }

    /// Demands all that a schema requires, each of its type, at whatever depth.
    fn holds(&self, schema: &Value, value: &Value, place: &str) -> Result<()> {
        if let Some(name) = schema["$ref"].as_str() {
            let schema = self.document.pointer(name.trim_start_matches('#'));
            return self.holds(schema.with_context(|| format!("{name} is not in the document"))?, value, place);
        }
        let all = schema["allOf"].as_array().into_iter().flatten();
        all.into_iter().try_for_each(|part| self.holds(part, value, place))?;
        for choice in ["oneOf", "anyOf"] {
            let Some(parts) = schema[choice].as_array() else { continue };
            let suits = parts.iter().any(|part| self.holds(part, value, place).is_ok());
            ensure!(suits, "{place}: none of {choice} fits");
        }
        let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
        let fits = types.iter().any(|wanted| wanted.as_str().is_none_or(|wanted| is_a(wanted, value)));
        ensure!(fits, "{place}: no {}", schema["type"]);
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            ensure!(value.get(name).is_some() || !value.is_object(), "{place}/{name} is missing");
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            value.get(name).map_or(Ok(()), |value| self.holds(inner, value, &format!("{place}/{name}")))?;
        }
        let items = value.as_array().filter(|_| schema["items"].is_object()).into_iter().flatten();
        items.enumerate().try_for_each(|(at, item)| self.holds(&schema["items"], item, &format!("{place}/{at}")))
    }

    fn get(&self, path: &str, values: &[&dyn std::fmt::Display]) -> Result<Value> {
        self.call("GET", path, values, None)
    }

    /// Waits for the end of a task that an answer names.
    fn done(&self, started: &Value) -> Result<()> {
        let id = started["task"].as_u64().with_context(|| format!("no task in {started}"))?;
        wait_until("the task's end", PATIENCE, || {
            let task = self.get("/api/v1/tasks/{id}", &[&id])?;
            match task["state"].as_str() {
                Some("done") => Ok(true),
                _ => bail!("{task}"),
            }
        })
    }

    fn command(&self, module: u64, command: &str, node: u64) -> Result<()> {
        let form = json!({ "command": command, "nodes": [node] });
        self.done(&self.call("POST", "/api/v1/modules/{id}/commands", &[&module], Some(&form))?)
    }

    /// Waits until both nodes report these states.
    fn wait_states(&self, wanted: [&str; 2]) -> Result<()> {
        wait_until(&format!("{wanted:?}"), PATIENCE, || {
            let snapshot = self.get("/api/v1/live/snapshot", &[])?;
            let state = |node: usize| {
                let report = &snapshot["modules"][0]["nodes"][node]["report"];
                report["state"].as_str().filter(|_| report["readiness"] == "Ready").unwrap_or_default().to_owned()
            };
            let states = [state(0), state(1)];
            if states == wanted { Ok(true) } else { bail!("{states:?} {}", snapshot["modules"]) }
        })
    }
}

/// Whether a value is of a type as JSON Schema names it.
fn is_a(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    }
}

fn with_curl(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("curl", &LabOptions { console: true, ..LabOptions::default() })?;
    let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let plan = ModulePlan::bank(TIMEOUT_MS);
    lab.make_directory(&plan)?;
    for number in lab.numbers() {
        lab.start_agent(number)?;
    }
    let mut curl = Curl::new(&lab)?;
    // A person logs in once and makes a token; from then on there is no cookie.
    curl.call("POST", "/api/v1/session", &[], Some(&json!({ "user": USER, "password": server.password() })))?;
    let made = curl.call("POST", "/api/v1/tokens", &[], Some(&json!({ "name": "script", "role": "admin" })))?;
    curl.token = Some(made["secret"].as_str().context("no secret")?.to_owned());
    let result = story(&lab, &curl, &plan).and_then(|()| plain_http(&lab, &mut curl, server.password()));
    result.with_context(|| lab.diagnosis(&plan.name))
}

fn story(lab: &Lab, curl: &Curl<'_>, plan: &ModulePlan) -> Result<()> {
    let nodes: Vec<u64> = lab.numbers().into_iter().map(|number| enrol(lab, curl, number)).collect::<Result<_>>()?;
    let member = |(id, number): (&u64, u8)| {
        let address = lab.network().address(number).to_string();
        json!({ "id": id, "name": lab.host(number).name(), "addresses": { "default": address } })
    };
    let members: Vec<Value> = nodes.iter().zip(lab.numbers()).map(member).collect();
    let form = json!({ "expected_version": 0, "name": "curl", "lans": ["default"], "nodes": members });
    curl.done(&curl.call("PUT", "/api/v1/cluster", &[], Some(&form))?)?;

    let form = json!({ "template": "mirror.safe", "name": plan.name });
    let module = curl.call("POST", "/api/v1/modules", &[], Some(&form))?;
    let id = module["id"].as_u64().context("no number")?;
    let change = |(path, text): (String, String)| json!({ "path": path, "text": text });
    let changes: Vec<Value> = plan.files()?.into_iter().map(change).collect();
    let form = json!({ "expected_version": module["version"], "changes": changes });
    curl.call("PUT", "/api/v1/modules/{id}/files", &[&id], Some(&form))?;
    curl.done(&curl.call("POST", "/api/v1/modules/{id}/configure", &[&id], Some(&json!({})))?)?;

    curl.command(id, "prim", nodes[0])?;
    // A stopped module is never Ready.
    curl.wait_states(["ALONE", ""])?;
    curl.command(id, "start", nodes[1])?;
    curl.wait_states(["PRIM", "SECOND"])?;
    curl.command(id, "swap", nodes[0])?;
    curl.wait_states(["SECOND", "PRIM"])?;
    // The one that was ordered, and the one that took over.
    for (node, told) in nodes.iter().zip(["swap by script", "take over"]) {
        let page = curl.get("/api/v1/modules/{id}/nodes/{node}/log", &[&id, node])?;
        ensure!(page["lines"].to_string().contains(told) && page["next"] == page["end"], "no {told:?} in {page}");
    }
    Ok(())
}

/// The console through a node's port 9010: there only while it is switched on, health URL and node's page always.
fn plain_http(lab: &Lab, curl: &mut Curl<'_>, password: &str) -> Result<()> {
    const SETTING: &str = "/api/v1/settings/plain-http";
    let node = format!("http://{}:9010", lab.network().address(1));
    let page = |path: &str| lab.host(CONSOLE).shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' {node}{path}"));
    let own = || -> Result<()> {
        for (path, status) in [("/var/modules/bank/ready.txt", "404"), ("/node", "200")] {
            ensure!(page(path)?.trim() == status, "{path} of node1 answers {}", page(path)?);
        }
        Ok(())
    };
    ensure!(page("/api/v1/session")?.trim() == "404", "the console is served over plain http though nobody wants it");
    let on = curl.call("PUT", SETTING, &[], Some(&json!({ "on": true })))?;
    ensure!(on["addresses"].to_string().contains(&node), "{on}");
    wait_until("node1 to carry the console", PATIENCE, || Ok(page("/api/v1/session")?.trim() == "200"))?;
    own()?;
    let (https, token) = (std::mem::replace(&mut curl.base, node.clone()), curl.token.take());
    let login = json!({ "user": USER, "password": password });
    let view = curl.call("POST", "/api/v1/session", &[], Some(&login))?;
    ensure!(view["plain_http"] == true, "{view}");
    let seen = curl.get("/api/v1/live/snapshot", &[])?;
    ensure!(seen["server_problems"].to_string().contains("plain http"), "{}", seen["server_problems"]);
    // The live socket is carried too: curl says what it was upgraded to, and waits for frames until its time is over.
    let socket = format!(
        "curl -s -i -N --http1.1 --max-time 2 -b {}/cookies -H 'Origin: {base}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
         -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' {base}/api/v1/live | tr -d '\\0' \
         | grep -a -c -e '101 Switching' -e server_problems || true",
        lab.folder().display(),
        base = curl.base
    );
    let lines = lab.host(CONSOLE).shell(&socket)?;
    ensure!(lines.trim() == "2", "the live socket over plain http gave {lines:?}");
    let secret = curl.run("POST", "/api/v1/tokens", Some(&json!({ "name": "plain", "role": "admin" })))?;
    ensure!(secret.0 == 403, "a token was shown over plain http: {secret:?}");
    curl.call("PUT", SETTING, &[], Some(&json!({ "on": false })))?;
    (curl.base, curl.token) = (https, token);
    wait_until("node1 to carry nothing any more", PATIENCE, || Ok(page("/api/v1/session")?.trim() == "404"))?;
    own()
}

/// Enrols a node with its pairing code: the one thing that is read on the node itself.
fn enrol(lab: &Lab, curl: &Curl<'_>, number: u8) -> Result<u64> {
    let code = pairing_code(lab, number)?;
    let address = lab.network().address(number).to_string();
    let seen = curl.call("POST", "/api/v1/nodes/probe", &[], Some(&json!({ "address": address })))?;
    let form = json!({
        "address": address, "fingerprint": seen["identity"]["fingerprint"], "code": code, "name": lab.host(number).name(),
    });
    let node = curl.call("POST", "/api/v1/nodes/enrol", &[], Some(&form))?;
    node["id"].as_u64().with_context(|| format!("no number in {node}"))
}
