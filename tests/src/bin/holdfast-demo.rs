//! `holdfast-demo`: what `cargo demo` runs once everything is built.

use anyhow::Result;
use clap::Parser;
use holdfast_tests::demo::application::Application;
use holdfast_tests::demo::exercise::{Exercise, Figures};
use holdfast_tests::demo::interrupt::Interrupt;
use holdfast_tests::demo::server::Server;
use holdfast_tests::demo::show;
use holdfast_tests::lab::{Lab, LabOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

/// Where a browser on this machine finds the console.
const CONSOLE_PORT: u16 = 9453;

/// Two nodes and a management server on this machine, a protected application, a client at work.
#[derive(Parser)]
struct Arguments {
    /// Nothing enrolled or configured: do the wizard yourself.
    #[arg(long, conflicts_with = "exercise")]
    blank: bool,
    /// The application to protect.
    #[arg(long, value_enum, default_value_t = Application::Bank)]
    app: Application,
    /// Unattended, with figures as the last line.
    #[arg(long)]
    exercise: bool,
    /// Without the management server.
    #[arg(long)]
    serverless: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut figures = Figures::default();
    let result = run(&arguments, &mut figures);
    if let Err(error) = &result {
        eprintln!("error: {error:#}");
    }
    if arguments.exercise {
        println!("{}", serde_json::to_string(&figures).unwrap_or_default());
        return if result.is_ok() && figures.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments, figures: &mut Figures) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    if arguments.exercise {
        return exercise(arguments, &interrupt, figures);
    }
    let mut lab = Lab::with("demo", &LabOptions { console: true, ..LabOptions::default() })?;
    let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, CONSOLE_PORT)))?;
    if arguments.blank {
        return show::blank(&mut lab, &server, arguments.app, &interrupt);
    }
    let result = show::full(&mut lab, &server, arguments.app, &interrupt);
    // Interrupted while setting up is no failure.
    if interrupt.asked() { Ok(()) } else { result }
}

fn exercise(arguments: &Arguments, interrupt: &Interrupt, figures: &mut Figures) -> Result<()> {
    let plan = arguments.app.plan();
    println!("── two nodes, the module {} on both, first start from node1", plan.name);
    let mut lab = Lab::with("demo", &LabOptions { console: !arguments.serverless, ..LabOptions::default() })?;
    if arguments.serverless {
        lab.configure(&plan)?;
        arguments.app.prepare(&lab)?;
        for number in lab.numbers() {
            lab.cli(number, &["boot", "-m", &plan.name, "on"])?;
        }
        lab.start_pair(&plan.name)?;
    } else {
        // Nobody looks at the console: any free port will do.
        let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        show::deploy(&lab, &server, arguments.app, &plan, interrupt)?;
    }
    let mut exercise = Exercise::new(&mut lab, arguments.app, interrupt.clone());
    let result = exercise.run();
    *figures = exercise.figures.clone();
    result
}
