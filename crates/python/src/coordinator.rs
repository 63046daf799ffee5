//! The native half of `SessionCoordinator`: owns the system, the event queue's other end, and all that waits on either.
//!
//! Invariant: no lock is held while Python code runs. The handlers, futures and tasks in the tables are the coordinator's for the
//! garbage collector too; the loop knows it only weakly (`Drain`), so that a coordinator that was dropped goes away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};
use ringback_engine::api::{self, Command, Directory, Session};
use ringback_media_api::Token;
use ringback_net::{EventQueue, Files, Notice, System};
use ringback_time::Mono;

use crate::convert;
use crate::dispatch;
use crate::errors;
use crate::pending::{Pending, Undo, Waiter, Waiting};
use crate::settings::Binding;

/// One handler method that the program overrode.
pub(crate) struct Method {
    pub(crate) call: Py<PyAny>,
    /// `async def`: calling it runs nothing yet.
    pub(crate) is_async: bool,
}

/// The overridden methods of the handler, bound.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) incoming: Option<Method>,
    pub(crate) progress: Option<Method>,
    pub(crate) established: Option<Method>,
    pub(crate) ended: Option<Method>,
    pub(crate) state_changed: Option<Method>,
    pub(crate) dtmf: Option<Method>,
    pub(crate) media_quality: Option<Method>,
    pub(crate) media_timeout: Option<Method>,
    pub(crate) voice_activity: Option<Method>,
    pub(crate) message: Option<Method>,
    /// `Authenticator._answer`.
    pub(crate) password: Option<Method>,
    pub(crate) registration: Option<Method>,
    pub(crate) transfer_request: Option<Method>,
    pub(crate) subscribe: Option<Method>,
    pub(crate) error: Option<Py<PyAny>>,
}

impl Handlers {
    /// From method name to (bound method, is it `async def`).
    fn new(methods: &Bound<'_, PyDict>) -> PyResult<Handlers> {
        let mut handlers = Handlers::default();
        for (name, value) in methods {
            let (call, is_async): (Py<PyAny>, bool) = value.extract()?;
            let name: String = name.extract()?;
            let slot = match name.as_str() {
                "on_incoming_call" => &mut handlers.incoming,
                "on_call_progress" => &mut handlers.progress,
                "on_call_established" => &mut handlers.established,
                "on_call_ended" => &mut handlers.ended,
                "on_call_state_changed" => &mut handlers.state_changed,
                "on_dtmf" => &mut handlers.dtmf,
                "on_media_quality" => &mut handlers.media_quality,
                "on_media_timeout" => &mut handlers.media_timeout,
                "on_voice_activity" => &mut handlers.voice_activity,
                "on_message" => &mut handlers.message,
                "password" => &mut handlers.password,
                "on_registration" => &mut handlers.registration,
                "on_transfer_request" => &mut handlers.transfer_request,
                "on_subscribe" => &mut handlers.subscribe,
                "on_error" => {
                    handlers.error = Some(call);
                    continue;
                }
                _ => return Err(PyValueError::new_err(format!("no handler method {name:?}"))),
            };
            *slot = Some(Method { call, is_async });
        }
        Ok(handlers)
    }

    fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let methods = [
            &self.incoming,
            &self.progress,
            &self.established,
            &self.ended,
            &self.state_changed,
            &self.dtmf,
            &self.media_quality,
            &self.media_timeout,
            &self.voice_activity,
            &self.message,
            &self.password,
            &self.registration,
            &self.transfer_request,
            &self.subscribe,
        ];
        for method in methods.into_iter().flatten() {
            visit.call(&method.call)?;
        }
        visit.call(&self.error)
    }
}

/// The loop that drains, and how tasks are made on it.
pub(crate) struct Attached {
    pub(crate) event_loop: Py<PyAny>,
    /// Takes a coroutine.
    pub(crate) create_task: Py<PyAny>,
    pub(crate) call_soon: Py<PyAny>,
    /// Tasks run up to their first wait while they are made (3.12+).
    pub(crate) eager: bool,
    /// Brings the levels of loggers to the system.
    pub(crate) sync_logs: Py<PyAny>,
    /// Tasks that have not had their first step yet (`!eager`): plain handlers queue up behind them, so that handlers start in order.
    pub(crate) unstarted: Arc<AtomicUsize>,
    /// Handlers in that queue. While there are any, `async def` ones get in line too, or their tasks would come between.
    pub(crate) queued: AtomicUsize,
}

/// What belongs to one batch of events; cloned once a drain.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) attached: Arc<Attached>,
    pub(crate) handlers: Arc<Handlers>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    last: u64,
    /// Strong references: the loop's own are weak.
    pub(crate) live: HashMap<u64, Py<PyAny>, foldhash::fast::RandomState>,
    /// Tasks of `on_incoming_call`, to cancel when the INVITE is.
    pub(crate) incoming: HashMap<api::SessionId, (u64, Py<PyAny>), foldhash::fast::RandomState>,
}

const STOPPED: u8 = 0;
const RUNNING: u8 = 1;
/// In a forked child the system is its parent's.
const FORKED: u8 = 2;

#[pyclass(name = "CoordinatorBase", frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct Coordinator {
    system: Arc<System>,
    directory: Arc<Directory>,
    queue: Arc<EventQueue>,
    state: AtomicU8,
    /// Start and, once stopped, end of the present or last run.
    run: Mutex<(Option<Mono>, Option<Mono>)>,
    handlers: Mutex<Arc<Handlers>>,
    attached: Mutex<Option<Arc<Attached>>>,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) tasks: Mutex<Tasks>,
    /// Open audio streams, weakly, by the address of their port.
    pub(crate) audio: Mutex<HashMap<usize, Py<PyWeakrefReference>, foldhash::fast::RandomState>>,
    /// Those of them that somebody waits for: the loop knows a task that waits by nothing else.
    pub(crate) awaited: Mutex<HashMap<usize, Py<PyAny>, foldhash::fast::RandomState>>,
    /// Inboxes of subscriptions, by number.
    pub(crate) subscriptions: Mutex<HashMap<u64, Py<PyAny>, foldhash::fast::RandomState>>,
    /// Taken from the queue, not yet dispatched.
    pub(crate) backlog: Mutex<VecDeque<Notice>>,
}

impl Coordinator {
    pub(crate) fn totals(&self) -> ringback_net::Totals {
        self.system.totals()
    }

    pub(crate) fn queue(&self) -> &EventQueue {
        &self.queue
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn running(&self) -> Option<Running> {
        let attached = self.attached.lock().clone()?;
        Some(Running { attached, handlers: Arc::clone(&self.handlers.lock()) })
    }

    pub(crate) fn check_running(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_up() {
            return Err(errors::not_running(py));
        }
        let attached = self.attached.lock().clone();
        if let Some(attached) = attached
            && attached.event_loop.bind(py).call_method0(intern!(py, "is_closed"))?.is_truthy()?
        {
            // Nobody drains: what is asked would never be answered.
            let why = "the event loop that the coordinator was started on is closed: start it again, on this one";
            return Err(errors::plain(py, "NotRunningError", why));
        }
        Ok(())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.state.load(Ordering::Acquire) == FORKED
    }

    /// A command that nobody waits for.
    pub(crate) fn tell(&self, command: Command) {
        if self.is_up() {
            // Not running any more: then there is nothing left to tell.
            let _ = self.system.command(command);
        }
    }

    /// A command and the future of its answer.
    pub(crate) fn ask<'py>(
        &self,
        py: Python<'py>,
        undo: Undo,
        make: impl FnOnce(Token) -> Command,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check_running(py)?;
        let attached = self.attached.lock().clone();
        if let Some(attached) = attached {
            attached.sync_logs.bind(py).call0()?;
        }
        let waiter = Waiter::new(py)?;
        let future = waiter.future(py);
        self.submit(py, Waiting::Future(waiter, undo), make)?;
        Ok(future)
    }

    /// A command that the thread for files gives to the engine once it has opened what the command needs, and the future of its answer.
    pub(crate) fn ask_files<'py>(
        &self,
        py: Python<'py>,
        give: impl FnOnce(&Files, Token),
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check_running(py)?;
        let waiter = Waiter::new(py)?;
        let future = waiter.future(py);
        let token = self.pending.lock().insert(Waiting::Future(waiter, Undo::Nothing));
        give(self.system.files(), token);
        Ok(future)
    }

    pub(crate) fn files(&self) -> &Files {
        self.system.files()
    }

    /// A command whose answer goes to `waiting`.
    pub(crate) fn submit(&self, py: Python<'_>, waiting: Waiting, make: impl FnOnce(Token) -> Command) -> PyResult<()> {
        let token = self.pending.lock().insert(waiting);
        self.system.command(make(token)).map_err(|error| {
            let _ = self.pending.lock().remove(token);
            errors::net(py, &error)
        })
    }

    pub(crate) fn watch<'py>(
        &self,
        py: Python<'py>,
        session: &Session,
        for_answer: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let waiter = Waiter::new(py)?;
        let future = waiter.future(py);
        self.pending.lock().watch(session.id, for_answer, waiter);
        session.watch();
        Ok(future)
    }

    pub(crate) fn unwatch(&self, session: api::SessionId, future: &Bound<'_, PyAny>) {
        self.pending.lock().unwatch(session, future);
    }

    /// A handler's task has ended; `incoming`: that of `on_incoming_call`.
    pub(crate) fn task_done(&self, key: u64, incoming: Option<&Bound<'_, crate::incoming::IncomingCallBase>>) {
        let mut tasks = self.tasks.lock();
        let task = tasks.live.remove(&key);
        let mut pending = None;
        if let Some((network, _)) = incoming.and_then(|call| call.get().network()) {
            let id = network.session.id;
            if tasks.incoming.get(&id).is_some_and(|(of, _)| *of == key) {
                pending = tasks.incoming.remove(&id);
            }
        }
        // Outside of the lock: what goes may call back.
        drop(tasks);
        drop((task, pending));
    }

    /// Since the start, until the stop.
    pub(crate) fn up_seconds(&self) -> f64 {
        match *self.run.lock() {
            (Some(start), Some(end)) => end.since(start).as_secs_f64(),
            (Some(start), None) => ringback_net::clock::mono().since(start).as_secs_f64(),
            (None, _) => 0.0,
        }
    }

    pub(crate) fn new_task_key(&self) -> u64 {
        let mut tasks = self.tasks.lock();
        tasks.last += 1;
        tasks.last
    }
}

#[pymethods]
impl Coordinator {
    #[new]
    fn new(binding: &Bound<'_, PyAny>, methods: &Bound<'_, PyDict>) -> PyResult<Self> {
        let system = binding.cast::<Binding>().ok().and_then(|binding| binding.get().take());
        let Some(system) = system else {
            return Err(PyTypeError::new_err("a SessionCoordinator is made by SessionManagerBuilder.build()"));
        };
        Ok(Coordinator {
            directory: system.directory(),
            queue: Arc::clone(system.queue()),
            system: Arc::new(system),
            state: AtomicU8::new(STOPPED),
            run: Mutex::default(),
            handlers: Mutex::new(Arc::new(Handlers::new(methods)?)),
            attached: Mutex::default(),
            pending: Mutex::default(),
            tasks: Mutex::default(),
            audio: Mutex::default(),
            awaited: Mutex::default(),
            subscriptions: Mutex::default(),
            backlog: Mutex::default(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What is locked is in use, so it is alive, and will be found the next time.
        if let Some(handlers) = self.handlers.try_lock() {
            handlers.visit(visit)?;
        }
        if let Some(attached) = self.attached.try_lock().as_deref().and_then(Option::as_ref) {
            visit.call(&attached.event_loop)?;
            visit.call(&attached.create_task)?;
            visit.call(&attached.call_soon)?;
            visit.call(&attached.sync_logs)?;
        }
        if let Some(pending) = self.pending.try_lock() {
            pending.visit(visit)?;
        }
        if let Some(tasks) = self.tasks.try_lock() {
            for task in tasks.live.values() {
                visit.call(task)?;
            }
            for (_, task) in tasks.incoming.values() {
                visit.call(task)?;
            }
        }
        if let Some(awaited) = self.awaited.try_lock() {
            for stream in awaited.values() {
                visit.call(stream)?;
            }
        }
        if let Some(subscriptions) = self.subscriptions.try_lock() {
            for inbox in subscriptions.values() {
                visit.call(inbox)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        // Dropped outside of the locks: what goes may call back.
        let handlers = std::mem::take(&mut *self.handlers.lock());
        let attached = self.attached.lock().take();
        let pending = std::mem::take(&mut *self.pending.lock());
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let audio = std::mem::take(&mut *self.audio.lock());
        let awaited = std::mem::take(&mut *self.awaited.lock());
        let subscriptions = std::mem::take(&mut *self.subscriptions.lock());
        drop((handlers, attached, pending, tasks, audio, awaited, subscriptions));
    }

    /// Descriptor that becomes readable when there is something to drain.
    fn _fd(&self) -> i32 {
        self.queue.fd()
    }

    /// Whether it was started and not stopped since.
    fn is_running(&self) -> bool {
        self.is_up()
    }

    /// Seconds from the start to now, or to the stop; 0.0 before the first start.
    fn uptime(&self) -> f64 {
        self.up_seconds()
    }

    /// Lets `event_loop` drain from now on.
    fn _attach(
        &self,
        event_loop: Py<PyAny>,
        create_task: Py<PyAny>,
        call_soon: Py<PyAny>,
        eager: bool,
        sync_logs: Py<PyAny>,
    ) {
        let unstarted = Arc::new(AtomicUsize::new(0));
        let attached =
            Attached { event_loop, create_task, call_soon, eager, sync_logs, unstarted, queued: AtomicUsize::new(0) };
        let before = self.attached.lock().replace(Arc::new(attached));
        drop(before);
    }

    fn _detach(&self) {
        let before = self.attached.lock().take();
        drop(before);
    }

    /// Starts the threads; `BindError` where a port is taken by now.
    fn _start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.system.start()).map_err(|error| errors::net(py, &error))?;
        *self.run.lock() = (Some(ringback_net::clock::mono()), None);
        self.state.store(RUNNING, Ordering::Release);
        Ok(())
    }

    /// Ends every call; the future is done when all are final.
    fn _stop<'py>(&self, py: Python<'py>, drain: f64) -> PyResult<Bound<'py, PyAny>> {
        let drain = convert::duration(drain);
        self.ask(py, Undo::Nothing, |token| Command::Stop { token, drain })
    }

    /// Operations are refused from here on.
    fn _close(&self) {
        if self.state.compare_exchange(RUNNING, STOPPED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.run.lock().1 = Some(ringback_net::clock::mono());
        }
    }

    /// Ends the threads and closes the sockets: under a second, from any thread, without the GIL.
    fn _shutdown(&self, py: Python<'_>) {
        py.detach(|| self.system.shutdown());
    }

    /// Ends every call and leaves the threads to end by themselves: for a coordinator that nobody stopped.
    fn _abandon(&self) {
        self.tell(Command::Stop { token: Token::default(), drain: Duration::ZERO });
        self._close();
    }

    /// In a forked child: the system is the parent's.
    fn _forked(&self) {
        self.state.store(FORKED, Ordering::Release);
    }

    /// Dispatches what has come; also the loop's callback, through `Drain`.
    fn _drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        dispatch::drain(slf)
    }

    /// True while events wait.
    fn _has_backlog(&self) -> bool {
        !self.backlog.lock().is_empty()
    }

    /// How late the media threads' turns were since it was asked last: their number, median, 99th percentile and maximum, seconds.
    fn _tick_lateness(&self) -> (u64, f64, f64, f64) {
        let late = self.system.take_tick_lateness();
        (late.ticks, late.median.as_secs_f64(), late.p99.as_secs_f64(), late.longest.as_secs_f64())
    }

    /// Everything that still waits gets its end. After the last drain of a stopped system.
    fn _resolve_all(slf: &Bound<'_, Self>) {
        dispatch::resolve_all(slf);
    }

    /// Tasks of handlers that have not ended.
    fn _tasks(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.tasks.lock().live.values().map(|task| task.clone_ref(py)).collect()
    }

    /// The handler has failed this call: 500, unless it was decided already.
    pub(crate) fn _undecided(&self, call: &Bound<'_, crate::incoming::IncomingCallBase>) {
        if let Some((network, _)) = call.get().network() {
            let (status, reason) = (500, "Server Internal Error".to_owned());
            let decision = api::Decision::Reject { status, reason, headers: Vec::new() };
            self.tell(Command::Decide { token: Token::default(), session: network.session.id, decision });
        }
    }

    #[getter]
    fn _on_error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let handlers = Arc::clone(&self.handlers.lock());
        handlers.error.as_ref().map(|error| error.clone_ref(py))
    }

    fn _set_log_level(&self, target: &str, level: Option<u8>) {
        crate::logs::set(&self.queue, target, level);
    }
}

impl Drop for Coordinator {
    /// Joining threads takes up to a second, and whoever drops the last reference holds the interpreter: a thread of its own does it.
    fn drop(&mut self) {
        if self.is_forked() {
            return;
        }
        self._abandon();
        let system = Arc::clone(&self.system);
        let reaper = std::thread::Builder::new().name("ringback-reaper".into());
        // Refused only where no thread can be made any more; then `System`'s own drop does it here.
        let _ = reaper.spawn(move || system.shutdown());
    }
}

/// The loop's reader callback. Knows the coordinator weakly, keeps the descriptor that it is registered for open.
#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct Drain {
    coordinator: Py<PyWeakrefReference>,
    _queue: Arc<EventQueue>,
}

#[pymethods]
impl Drain {
    #[new]
    fn new(coordinator: &Bound<'_, Coordinator>) -> PyResult<Self> {
        let weak = PyWeakrefReference::new(coordinator)?;
        Ok(Drain { coordinator: weak.unbind(), _queue: Arc::clone(&coordinator.get().queue) })
    }

    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        match self.coordinator.bind(py).upgrade_as::<Coordinator>()? {
            Some(coordinator) => dispatch::drain(&coordinator),
            None => Ok(()),
        }
    }
}

/// Ends several systems at once, within the time of one: for the end of the interpreter.
#[pyfunction]
fn shutdown_all(py: Python<'_>, coordinators: Vec<Bound<'_, Coordinator>>) {
    for coordinator in &coordinators {
        coordinator.get()._abandon();
    }
    let systems: Vec<Arc<System>> = coordinators.iter().map(|each| Arc::clone(&each.get().system)).collect();
    py.detach(|| {
        std::thread::scope(|scope| {
            for system in &systems {
                scope.spawn(|| system.shutdown());
            }
        });
    });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Coordinator>()?;
    module.add_class::<Drain>()?;
    module.add_function(wrap_pyfunction!(shutdown_all, module)?)
}
