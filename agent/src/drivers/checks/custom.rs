//! `<custom>`: a program of the module that looks for ever and sets its resource itself (`safekit set -r …`).

use super::Setting;
use crate::drivers::left;
use crate::drivers::program::{self, Program};
use crate::drivers::watch::{Stopped, Teller};
use holdfast_api::resource::ResourceValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Wait before a program that ended is started again: doubled each time, up to the last.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Wait before the next start of a program that ran for `ran` after a wait of `last`.
fn back_off(last: Option<Duration>, ran: Duration) -> Duration {
    let [first, most] = BACK_OFF;
    match last {
        Some(last) if ran < most => (last * 2).min(most),
        _ => first,
    }
}

/// Keeps the program running until told to end; then ends it with everything it started, and only then is the resource
/// `init` again, so that no late word of the program counts.
pub(super) async fn run(setting: Arc<Setting>, exec: String, arg: String, mut teller: Teller, mut stopped: Stopped) {
    let Some(programs) = &setting.programs else {
        setting.warn(&format!("{} does not look: a module without <user> runs no program", teller.name()));
        teller.say(ResourceValue::Unknown, None).await;
        let _ = stopped.await;
        return teller.say(ResourceValue::Init, None).await;
    };
    let resource = teller.name().to_owned();
    let (of, module, name, file) =
        (programs.clone(), setting.module.clone(), resource.clone(), program::path(programs, &exec));
    let _ = tokio::task::spawn_blocking(move || left::end_of_resource(&of, &module, &name, &file)).await;
    let arguments: Vec<&str> = arg.split_whitespace().collect();
    let mut wait = None;
    loop {
        let began = Instant::now();
        let problem = match Program::start(programs, &setting.module, &resource, &exec, &arguments) {
            Ok(mut program) => tokio::select! {
                biased;
                _ = &mut stopped => {
                    program.end().await;
                    break;
                }
                status = program.wait() => {
                    // It may have left others of its group.
                    program.end().await;
                    status.map_or_else(|error| error.to_string(), |status| format!("ended by itself ({status})"))
                }
            },
            Err(error) => format!("cannot be started ({error})"),
        };
        let pause = back_off(wait, began.elapsed());
        wait = Some(pause);
        let exec = program::path(programs, &exec);
        setting.warn(&format!(
            "the checker of {resource} {problem}: a custom checker has to run for ever; see {} and the application log; it \
             is started again in {} s",
            exec.display(),
            pause.as_secs()
        ));
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    teller.say(ResourceValue::Init, None).await;
}

#[cfg(test)]
mod tests {
    use super::back_off;
    use std::time::Duration;

    #[test]
    fn a_program_that_ends_at_once_is_started_ever_more_rarely() {
        let seconds = Duration::from_secs;
        assert_eq!(back_off(None, seconds(0)), seconds(1));
        assert_eq!(back_off(Some(seconds(1)), seconds(0)), seconds(2));
        assert_eq!(back_off(Some(seconds(40)), seconds(0)), seconds(60));
        assert_eq!(back_off(Some(seconds(60)), seconds(3600)), seconds(1));
    }
}
