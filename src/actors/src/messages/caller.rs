//! A caller outside that waits for its answer, and the core it waits on.

use super::ask::Answer;
use crate::cores::Core;
use tokio::sync::oneshot;

/// A caller that waits. Dropped, it hears that there is no answer.
#[derive(Debug)]
pub(crate) struct Caller {
    answer: oneshot::Sender<Answer>,
    core: Core,
}

impl Caller {
    /// For who waits on the core of the calling thread.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (answer, waiting) = oneshot::channel();
        (Self { answer, core: Core::current() }, waiting)
    }

    /// Has it stopped waiting?
    pub(crate) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers it.
    pub(crate) fn answer(self, answer: Answer) {
        let Self { answer: caller, core } = self;
        // The caller may have gone.
        core.run(move || drop(caller.send(answer)));
    }
}

/// Answers for callers of one core.
type OfCore = (Core, Vec<(oneshot::Sender<Answer>, Answer)>);

/// Answers that leave together: each core gets its own as one piece of work, and wakes the callers itself.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<OfCore>);

impl Answers {
    /// One more.
    pub(crate) fn push(&mut self, caller: Caller, answer: Answer) {
        let Caller { answer: sender, core } = caller;
        match self.0.iter_mut().find(|(other, _)| other.is_same(&core)) {
            Some((_, answers)) => answers.push((sender, answer)),
            None => self.0.push((core, vec![(sender, answer)])),
        }
    }

    /// How many pieces of work they are.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> usize {
        self.0.len()
    }

    /// Sends them, each core's in order.
    pub(crate) fn send(self) {
        for (core, answers) in self.0 {
            core.run(move || {
                for (caller, answer) in answers {
                    // The caller may have gone.
                    drop(caller.send(answer));
                }
            });
        }
    }
}
