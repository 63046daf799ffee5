//! The Python objects that Rust needs by name, looked up once. All of them live in `ringback`'s own modules, which the first call
//! from there has imported by then, or in the standard library.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

macro_rules! names {
    ($($field:ident = $module:literal . $($name:ident).+;)*) => {
        pub(crate) struct Names {
            $(pub(crate) $field: Py<PyAny>,)*
            /// Members of `CallState`, in the engine's order.
            pub(crate) states: [Py<PyAny>; 9],
        }

        impl Names {
            fn look_up(py: Python<'_>) -> PyResult<Names> {
                $(
                    let $field = py.import($module)?.into_any();
                    $(let $field = $field.getattr(stringify!($name))?;)+
                )*
                let state = py.import("ringback.states")?.getattr("CallState")?;
                let member = |name: &str| state.getattr(name).map(Bound::unbind);
                let states = [
                    member("INITIATING")?,
                    member("RINGING")?,
                    member("ACTIVE")?,
                    member("ON_HOLD")?,
                    member("TRANSFERRING")?,
                    member("TERMINATED")?,
                    member("CANCELLED")?,
                    member("REJECTED")?,
                    member("FAILED")?,
                ];
                Ok(Names { $($field: $field.unbind(),)* states })
            }
        }
    };
}

names! {
    incoming_direction = "ringback.states".CallDirection.INCOMING;
    outgoing_direction = "ringback.states".CallDirection.OUTGOING;
    transport_udp = "ringback.states".Transport.UDP;
    transport_tcp = "ringback.states".Transport.TCP;
    transport_tls = "ringback.states".Transport.TLS;
    transport_ws = "ringback.states".Transport.WS;
    transport_wss = "ringback.states".Transport.WSS;
    call_session = "ringback.session".CallSession;
    incoming_call = "ringback.incoming".IncomingCall;
    headers = "ringback.headers".Headers;
    media_info = "ringback.media".MediaInfo;
    media_statistics = "ringback.media".MediaStatistics;
    quality_metrics = "ringback.media".QualityMetrics;
    remote_metrics = "ringback.reports".RemoteMetrics;
    voip_metrics = "ringback.reports".VoipMetrics;
    bridge_info = "ringback.bridges".BridgeInfo;
    deliver_bridge_event = "ringback.bridges".deliver;
    session_stats = "ringback.control".SessionStats;
    options_reply = "ringback.options".OptionsReply;
    message = "ringback.messages".Message;
    binding = "ringback.registrar".Binding;
    registration_changed = "ringback._registrations".changed;
    begin_store = "ringback._stores".begin;
    transport = "ringback.states".Transport;
    notification = "ringback.subscriptions".Notification;
    new_subscription = "ringback.subscriptions".new;
    take_turns = "ringback._dispatch".take_turns;
    failed = "ringback._dispatch".failed;
    settle = "ringback._dispatch".settle;
    emit_log = "ringback._logs".emit;
    get_running_loop = "asyncio".get_running_loop;
    datetime_from_timestamp = "datetime".datetime.fromtimestamp;
    utc = "datetime".timezone.utc;
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

pub(crate) fn names(py: Python<'_>) -> PyResult<&'static Names> {
    NAMES.get_or_try_init(py, || Names::look_up(py))
}
