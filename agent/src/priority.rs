//! Who runs first on a busy machine: the threads that keep the heartbeats going, then the agent and its data planes, then
//! everything else, the protected applications among it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::process::Command;

/// Where a session says what share of the processors it wants beside other sessions.
const AUTOGROUP: &str = "/proc/self/autogroup";
/// Where a process says how readily it is ended when memory is short.
const OOM_SCORE: &std::ffi::CStr = c"/proc/self/oom_score_adj";
/// The lowest of the real-time priorities: before every ordinary program, behind everything that is real-time on purpose.
const REAL_TIME_PRIORITY: libc::c_int = 1;

/// The `Nice=` of the agent's unit holds within its own session only where the kernel groups programs by session
/// (autogroup): the session gets the same priority beside others.
pub fn lift_session() {
    // SAFETY: reads a number of this process.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    if nice < 0
        && Path::new(AUTOGROUP).exists()
        && let Err(error) = std::fs::write(AUTOGROUP, nice.to_string())
    {
        tracing::warn!("other sessions get as much processor time as this one ({AUTOGROUP}: {error})");
    }
}

/// For the threads of a runtime with `workers` workers, as each begins: the workers, which come first, run in real time
/// at the lowest priority. They wait nearly always, so they take little; the kernel leaves others 5 % whatever they do.
pub fn real_time_workers(workers: usize) -> impl Fn() + Send + Sync + 'static {
    let begun = AtomicUsize::new(0);
    move || {
        let nth = begun.fetch_add(1, Ordering::Relaxed);
        if nth < workers
            && let Err(error) = run_in_real_time()
            && nth == 0
        {
            tracing::info!("no real-time priority ({error}): on a saturated machine heartbeats may come late");
        }
    }
}

/// Threads and programs started from here are ordinary ones again.
fn run_in_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: REAL_TIME_PRIORITY };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: sets the policy of the calling thread; the parameters live for the call.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The program will run like any other whatever the agent's own priority is, in a session and process group of its own:
/// an application at the agent's priority would take the very processor time that keeps the heartbeats going.
pub fn as_usual(command: &mut Command) {
    // SAFETY: between fork and exec only calls that are safe in a signal handler are made, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            usual_priority();
            Ok(())
        });
    }
}

/// None of these calls fails in a new child: each only gives something up.
fn usual_priority() {
    // SAFETY: `setsid`, `setpriority`, `open`, `write` and `close` are safe in a signal handler; the path is a string with
    // its end and the buffer is as long as said.
    unsafe {
        libc::setsid();
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        let file = libc::open(OOM_SCORE.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, b"0".as_ptr().cast(), 1);
            libc::close(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{as_usual, real_time_workers};
    use tokio::process::Command;

    #[tokio::test]
    async fn a_program_of_a_module_leads_a_session_of_its_own_at_the_usual_priority() {
        let mut command = Command::new("sh");
        command.args(["-c", "ps -o nice=,pid=,sid=,pgid= -p $$; cat /proc/self/oom_score_adj"]);
        as_usual(&mut command);
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let [nice, pid, session, group, score] = words.as_slice() else { panic!("{text}") };
        assert_eq!((*nice, *session, *group, *score), ("0", *pid, *pid, "0"));
    }

    #[test]
    fn only_the_workers_of_a_runtime_run_in_real_time_and_what_they_start_does_not() {
        let policy =
            || std::fs::read_to_string("/proc/thread-self/stat").unwrap().split(' ').nth(40).unwrap().to_owned();
        let begin = real_time_workers(1);
        let first = std::thread::spawn(move || {
            begin();
            // Where real time is refused the thread is an ordinary one, and that is all there is to see.
            let own = policy();
            let child = std::thread::spawn(policy).join().unwrap();
            (own, child, std::thread::spawn(move || (begin(), policy()).1).join().unwrap())
        });
        let (own, child, second) = first.join().unwrap();
        assert!(["0", "2"].contains(&own.as_str()), "policy {own}");
        assert_eq!((child.as_str(), second.as_str()), ("0", "0"));
    }
}
