//! A program that we run, and the end of it with all that it has started.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// How long a program gets to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(4);
/// How often we look whether it has.
const POLL: Duration = Duration::from_millis(20);

/// A program that we have started, in the hands of all who may have to end it.
#[derive(Clone)]
pub(crate) struct Program(Arc<Mutex<State>>);

struct State {
    /// None once it was waited for: from then on its id may be another's.
    child: Option<Child>,
    /// When it was told to end.
    told: Option<Instant>,
    /// What was told with it: found again also when its parents are gone.
    family: Vec<Process>,
}

impl Program {
    /// Starts it in a process group of its own: whatever it starts, such as the parts of a shell's
    /// pipeline, is ended with it. Not where there is a terminal: a program that asks for a
    /// passphrase there is stopped unless it is in the group in front, which is ours or will be
    /// (`fg`). There the processes below it are looked up when they are to be ended.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let has_terminal = File::open("/dev/tty").is_ok();
        if !has_terminal {
            command.process_group(0);
        }
        let child = Some(command.spawn()?);
        Ok(Self(Arc::new(Mutex::new(State { child, told: None, family: Vec::new() }))))
    }

    pub(crate) fn stdin(&self) -> Option<ChildStdin> {
        self.lock().child.as_mut()?.stdin.take()
    }

    pub(crate) fn stdout(&self) -> Option<ChildStdout> {
        self.lock().child.as_mut()?.stdout.take()
    }

    /// Waits until it ends by itself. It can be ended meanwhile; that is an error here.
    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        let id = self.lock().id();
        if let Some(id) = id {
            // Not its status yet: whoever has it can't be signalled any more.
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(id), ended).is_err_and(|e| e == rustix::io::Errno::INTR) {}
        }
        let mut state = self.lock();
        let State { child, told, .. } = &mut *state;
        match child.take_if(|_| told.is_none()) {
            Some(mut child) => child.wait(),
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "it was told to end")),
        }
    }

    /// Tells it to end, and makes it when it does not within [`GRACE`]. Several may at a time.
    pub(crate) fn end(&self) {
        let told = {
            let mut state = self.lock();
            if state.told.is_none() {
                state.signal(Signal::TERM);
            }
            *state.told.get_or_insert_with(Instant::now)
        };
        while told.elapsed() < GRACE {
            if self.lock().is_over() {
                return;
            }
            thread::sleep(POLL);
        }
        self.kill();
    }

    /// Ends it here and now.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        state.signal(Signal::KILL);
        if let Some(mut child) = state.child.take() {
            // There is nothing more to be done.
            drop(child.wait());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn id(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    /// Signals it and its family. Who is gone already needs none.
    fn signal(&mut self, signal: Signal) {
        let Some(id) = self.id() else { return };
        self.family = self.family(id).unwrap_or_default();
        // Its id is no other's while it was not waited for, and so no other group's.
        let has_group = kill_process_group(id, signal).is_ok();
        if !has_group {
            let _ = kill_process(id, signal);
        }
        let group = id.as_raw_nonzero().get();
        let others = self.family.iter().filter(|it| it.id != group);
        for other in others.filter(|it| !(has_group && it.group == group)) {
            let other = Pid::from_raw(other.id);
            let _ = other.map(|other| kill_process(other, signal));
        }
    }

    /// Whether nobody of it lives any more. It is waited for then.
    fn is_over(&mut self) -> bool {
        let Some(id) = self.id() else { return true };
        let now = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let is_alive = matches!(waitid(WaitId::Pid(id), now), Ok(None));
        // Where nobody tells, they may live.
        let is_over = !is_alive && self.family(id).is_some_and(|family| family.is_empty());
        if is_over && let Some(mut child) = self.child.take() {
            drop(child.wait());
        }
        is_over
    }

    /// The living of its group, below it, and of those once told; the youngest first, which read
    /// what the others write. None where /proc does not tell.
    fn family(&self, id: Pid) -> Option<Vec<Process>> {
        let id = id.as_raw_nonzero().get();
        let (mut family, mut others): (Vec<_>, Vec<_>) =
            Process::all()?.into_iter().partition(|it| {
                it.id == id || it.group == id || self.family.iter().any(|told| told.is(it))
            });
        loop {
            let is_below = |it: &mut Process| family.iter().any(|ours| ours.id == it.parent);
            let below: Vec<_> = others.extract_if(.., is_below).collect();
            if below.is_empty() {
                break;
            }
            family.extend(below);
        }
        family.sort_unstable_by_key(|it| std::cmp::Reverse(it.started));
        Some(family)
    }
}

/// A process that lives.
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    /// Tells it from another that has its id later.
    started: u64,
}

impl Process {
    fn all() -> Option<Vec<Self>> {
        let entries = std::fs::read_dir("/proc").ok()?.flatten();
        let all: Vec<_> = entries
            .filter_map(|entry| Self::of(entry.file_name().to_str()?.parse().ok()?))
            .collect();
        // We are one ourselves.
        (!all.is_empty()).then_some(all)
    }

    fn of(id: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may hold anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_dead = matches!(*fields.first()?, "Z" | "X");
        let number = |at: usize| fields.get(at)?.parse().ok();
        let (parent, group) = (number(1)?, number(2)?);
        let started = fields.get(19)?.parse().ok()?;
        (!is_dead).then_some(Self { id, parent, group, started })
    }

    fn is(&self, other: &Self) -> bool {
        (self.id, self.started) == (other.id, other.started)
    }
}
