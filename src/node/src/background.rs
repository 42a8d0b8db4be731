//! Long work beside the serving threads: a thread of its own, with a lower priority, that the kernel interrupts as soon as a request needs the processor.
//!
//! The threads that serve never carry it out. It reads logs and tables with blocking calls and computes for seconds, and a task that does so on the
//! node's runtime keeps every request waiting that was scheduled behind it.

use std::io;
use tokio::sync::oneshot;

/// By how much the niceness of these threads is raised: the most there is. A thread that serves has sixty times the weight (`sched(7)`). Too little:
/// an audit slows down orders. Too much: on a node under full load it takes long.
const NICENESS_RAISE: i32 = 19;
/// The same of what must keep up with the orders: a thread that serves has three times the weight. Too little: it slows down orders. Too much: on a
/// node under full load the lists fall behind.
const NICENESS_RAISE_KEEPS_UP: i32 = 5;

/// How much of the processor long work gets beside the threads that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// What they leave.
    Leftovers,
    /// Enough to keep up with what they do.
    KeepsUp,
}

/// Carries out the future that `make` gives on a thread of its own; the receiver gets its value, and an error if it panicked. When the value is there,
/// all that the future held is dropped. Without its receiver the work ends where it next waits or yields.
pub(super) fn spawn<Work, T>(
    name: &str,
    make: impl FnOnce() -> Work + Send + 'static,
) -> io::Result<oneshot::Receiver<T>>
where
    Work: Future<Output = T>,
    T: Send + 'static,
{
    spawn_at(Pace::Leftovers, name, make)
}

/// The same at another pace.
pub(super) fn spawn_at<Work, T>(
    pace: Pace,
    name: &str,
    make: impl FnOnce() -> Work + Send + 'static,
) -> io::Result<oneshot::Receiver<T>>
where
    Work: Future<Output = T>,
    T: Send + 'static,
{
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        lower_thread_priority(pace);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, "start a runtime for long work"),
        };
        let mut done = done;
        let value = runtime.block_on(async {
            tokio::select! {
                biased;
                () = done.closed() => None,
                value = make() => Some(value),
            }
        });
        drop(runtime);
        if let Some(value) = value {
            // The caller may have gone.
            done.send(value).ok();
        }
    })?;
    Ok(result)
}

/// Only on Linux, where each thread has a niceness of its own; threads that this one starts inherit it.
fn lower_thread_priority(pace: Pace) {
    let raise = match pace {
        Pace::Leftovers => NICENESS_RAISE,
        Pace::KeepsUp => NICENESS_RAISE_KEEPS_UP,
    };
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(raise)
    {
        tracing::debug!(%error, "lower the priority of long work");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_work_is_on_another_thread_and_serving_goes_on_meanwhile() {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        // It blocks its thread until this test, on the only thread of its runtime, has gone on.
        let work = spawn("blocking", move || async move {
            wait.recv().expect("the test goes on");
            std::thread::current().name().map(str::to_owned)
        });
        let work = work.expect("room for a thread");
        tokio::task::yield_now().await;
        go_on.send(()).expect("it waits");
        assert_eq!(work.await.expect("it ends"), Some("blocking".to_owned()));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn long_work_has_the_lowest_priority() {
        let niceness = spawn("nice", || async { rustix::process::nice(0) }).expect("room for a thread");
        assert_eq!(niceness.await.expect("it ends"), Ok(19));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_to_who_waits_for_it() {
        let work = spawn("panics", || async {
            assert!(std::hint::black_box(false), "as the test wants");
        });
        assert!(work.expect("room for a thread").await.is_err());
    }
}
