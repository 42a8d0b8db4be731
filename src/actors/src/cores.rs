//! The cores of a node: threads that each drive a runtime of their own, and the work that one hands to another.
//!
//! ```text
//! connection, shard and its entities on one core ── at once ──► each other
//!                                        otherwise ──► the other core's queue ──► done there, in order
//! ```
//!
//! To wake a task of another thread's runtime is a system call for each task. So whatever crosses goes through the one queue of the core it is for:
//! of all that gathers there while the core is busy, only the first wakes it, and what it wakes in turn are tasks of its own thread.
//!
//! A node without cores (the simulation, a node with one shared runtime) uses [`Core::none`], which does everything where it is asked.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Pieces of work that a core does before its own tasks get a turn. Too few: it goes round its tasks for each. Too many: a batch from the log delays
/// them.
const WORK_PER_TURN: usize = 256;
/// Time for what blocks on a file when a core ends.
const END_BOUND: Duration = Duration::from_secs(1);

/// A piece of work for another core.
type Work = Box<dyn FnOnce() + Send>;

/// The numbers of the cores of all nodes of the process.
static CORES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The core that this thread drives.
    static CURRENT: RefCell<Core> = const { RefCell::new(Core::none()) };
}

/// One core; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Core(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    number: usize,
    runtime: Handle,
    /// Bounded by what may be under way: the requests let in, and the submissions of their entities.
    work: mpsc::UnboundedSender<Work>,
}

impl Core {
    /// No core: everything is done where it is asked.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The core that the calling thread drives, or none.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Its runtime; `None`: the caller's.
    #[must_use]
    pub fn runtime(&self) -> Option<&Handle> {
        self.0.as_ref().map(|inner| &inner.runtime)
    }

    /// Is the caller on it?
    pub(crate) fn is_here(&self) -> bool {
        match &self.0 {
            None => true,
            Some(inner) => CURRENT.with_borrow(|current| current.is(inner)),
        }
    }

    fn is(&self, other: &Inner) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.number == other.number)
    }

    /// Are both the same one?
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match &other.0 {
            None => self.0.is_none(),
            Some(other) => self.is(other),
        }
    }

    /// Does `work` on this core: at once for a caller on it, otherwise behind what was handed to it before. On a core that has ended it is dropped.
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(inner) if !self.is_here() => drop(inner.work.send(Box::new(work))),
            _ => work(),
        }
    }

    /// Carries out `work` on this core. `None`: it panicked, or the core has ended.
    pub(crate) async fn carry_out<Work>(&self, work: Work) -> Option<Work::Output>
    where
        Work: Future + Send + 'static,
        Work::Output: Send + 'static,
    {
        match &self.0 {
            Some(inner) if !self.is_here() => inner.runtime.spawn(work).await.ok(),
            _ => Some(work.await),
        }
    }

    /// Spawns a task on this core.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        match &self.0 {
            Some(inner) => inner.runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }
}

/// The running cores of a node; dropped, they end.
#[derive(Debug)]
pub struct Cores {
    cores: Vec<Core>,
    threads: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Cores {
    /// Starts so many; each is a thread.
    ///
    /// # Errors
    /// There is no thread or no file handle for one.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut cores = Self { cores: Vec::new(), threads: Vec::new() };
        for index in 0..count {
            let (core, running) = start(index)?;
            cores.cores.push(core);
            cores.threads.push(running);
        }
        Ok(cores)
    }

    /// Each of them.
    #[must_use]
    pub fn all(&self) -> &[Core] {
        &self.cores
    }

    /// Ends them with all their tasks, and waits for it.
    pub async fn end(self) {
        let mut ending = Vec::new();
        for Running { stop, ended } in self.threads {
            drop(stop);
            ending.push(ended);
        }
        for ended in ending {
            // It resolves with an error when the thread has dropped its end.
            drop(ended.await);
        }
    }
}

fn start(index: usize) -> io::Result<(Core, Running)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (work, incoming) = mpsc::unbounded_channel();
    let number = CORES.fetch_add(1, Ordering::Relaxed);
    let core = Core(Some(Arc::new(Inner { number, runtime: runtime.handle().clone(), work })));
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let own = core.clone();
    std::thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        CURRENT.set(own);
        runtime.block_on(async {
            tokio::select! {
                biased;
                _dropped = stopped => {}
                () = do_work(incoming) => {}
            }
        });
        runtime.shutdown_timeout(END_BOUND);
        CURRENT.set(Core::none());
        drop::<oneshot::Sender<()>>(end);
    })?;
    Ok((core, Running { stop, ended }))
}

/// Does what other threads hand over, in order.
async fn do_work(mut incoming: mpsc::UnboundedReceiver<Work>) {
    let mut turn = Vec::new();
    while incoming.recv_many(&mut turn, WORK_PER_TURN).await > 0 {
        for work in turn.drain(..) {
            work();
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn work_for_a_core_is_done_there_in_order() {
        let cores = Cores::start(2).expect("room for threads");
        let [first, second] = cores.all() else { panic!("two were wanted") };
        let (done, seen) = oneshot::channel();
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..1_000 {
            let order = Arc::clone(&order);
            second.run(move || order.lock().expect("no panic").push((name(), number)));
        }
        second.run(move || done.send(()).expect("the test waits"));
        seen.await.expect("the core runs");
        let expected: Vec<_> = (0..1_000).map(|number| ("core-1".to_owned(), number)).collect();
        assert_eq!(*order.lock().expect("no panic"), expected);
        assert!(!first.is_here() && !second.is_here() && !first.is_same(second));
        cores.end().await;
    }

    #[tokio::test]
    async fn on_its_own_core_work_is_done_at_once() {
        let cores = Cores::start(1).expect("room for a thread");
        let core = cores.all()[0].clone();
        let own = core.clone();
        let at_once = core.carry_out(async move {
            assert!(own.is_here() && Core::current().is_same(&own));
            let (set, mut is_set) = oneshot::channel();
            own.run(move || set.send(()).expect("it is looked at below"));
            is_set.try_recv().is_ok()
        });
        assert_eq!(at_once.await, Some(true));
        assert!(Core::current().is_same(&Core::none()), "this thread drives none");
        cores.end().await;
    }

    #[tokio::test]
    async fn a_core_that_has_ended_drops_what_it_is_handed() {
        let cores = Cores::start(1).expect("room for a thread");
        let core = cores.all()[0].clone();
        let (waits, never) = oneshot::channel::<()>();
        let task = core.spawn(async move {
            drop(never.await);
        });
        cores.end().await;
        assert!(waits.is_closed(), "its tasks are gone");
        assert!(task.await.is_err());
        let (done, seen) = oneshot::channel::<()>();
        core.run(move || done.send(()).expect("the test waits"));
        assert!(seen.await.is_err());
        assert_eq!(core.carry_out(async {}).await, None);
    }
}
