//! From what the builder collected to a bound system.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ringback_engine::api::{Config, InbandDtmf, Interest, Limits, Origin, forwardable};
use ringback_media_api::{Codec, OpusSend};
use ringback_net::{Listen, Servers, Settings, System, TlsSettings, TurnServer};
use ringback_ua::{GuardConfig, Transport};

use crate::authentication::{self, AuthenticatorTuple, CredentialTuple};
use crate::convert;
use crate::errors;

/// A bound system on its way into its coordinator.
#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct Binding(Mutex<Option<System>>);

impl Binding {
    pub(crate) fn take(&self) -> Option<System> {
        self.0.lock().take()
    }
}

#[pymethods]
impl Binding {
    /// The listening sockets: (transport, host, port), as really bound.
    fn addresses(&self) -> Vec<(String, String, u16)> {
        let system = self.0.lock();
        let addresses = system.iter().flat_map(System::addresses);
        addresses.map(|(transport, at)| (transport.as_str().to_lowercase(), at.ip().to_string(), at.port())).collect()
    }
}

/// A `ringback.Limits`, which has checked itself.
fn read_limits(limits: &Bound<'_, PyAny>, shut_out: f64) -> PyResult<Limits> {
    let number = |name: &str| limits.getattr(name)?.extract::<usize>();
    let optional = |name: &str| limits.getattr(name)?.extract::<Option<u32>>();
    Ok(Limits {
        half_open_invites: number("half_open_invites")?,
        connections: number("connections")?,
        connections_per_source: optional("connections_per_source")?.map(|count| count as usize),
        message_bytes: number("message_bytes")?,
        sources: GuardConfig {
            requests_per_second: optional("requests_per_second_per_source")?,
            faults_per_minute: optional("faults_per_minute_per_source")?,
            shut_out: convert::duration(shut_out),
            drop_scanners: limits.getattr("drop_scanners")?.is_truthy()?,
        },
    })
}

/// Names for `with_codecs`.
#[pyfunction]
fn available_codecs() -> Vec<&'static str> {
    Codec::ALL.iter().map(|codec| codec.label()).collect()
}

/// Those of them that are offered unless others are asked for, by preference.
#[pyfunction]
fn default_codecs() -> Vec<&'static str> {
    Codec::DEFAULT.iter().map(|codec| codec.label()).collect()
}

fn ip(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("not an IP address: {text:?}")))
}

/// Certificate, private key and CA, in PEM form, and whether to verify peers.
type TlsFiles = (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>, bool);

/// Binds the listening sockets; `BindError`. `listen`: (transport, host, port, TLS files). `origin`: "none", "ask" or "accept".
#[pyfunction]
#[pyo3(signature = (*, listen, media_ports, media_threads, cpu_latency, user, public_address, media_address, codecs, opus, max_sessions,
                    symmetric_rtp, rtcp_mux, inband_dtmf, forwarded_headers, credentials, authenticator, limits, shut_out, session_timeout, session_timer, answer_timeout, origin, interest, registrar=None, binding_store=None,
                    nameserver=None, stun=None, turn=None))]
#[expect(clippy::too_many_arguments, reason = "one for each setting, all by keyword")]
fn bind(
    py: Python<'_>,
    listen: Vec<(String, String, u16, TlsFiles)>,
    media_ports: (u16, u16),
    media_threads: Option<usize>,
    cpu_latency: Option<f64>,
    user: String,
    public_address: Option<String>,
    media_address: Option<String>,
    codecs: Vec<String>,
    opus: (u32, u8, bool, bool),
    max_sessions: usize,
    symmetric_rtp: bool,
    rtcp_mux: bool,
    inband_dtmf: Option<bool>,
    forwarded_headers: Option<Vec<String>>,
    credentials: Vec<CredentialTuple>,
    authenticator: Option<AuthenticatorTuple>,
    limits: &Bound<'_, PyAny>,
    shut_out: f64,
    session_timeout: Option<f64>,
    session_timer: (Option<f64>, f64),
    answer_timeout: Option<f64>,
    origin: &str,
    interest: Vec<String>,
    registrar: Option<crate::registrar::Wanted>,
    binding_store: Option<PathBuf>,
    nameserver: Option<(String, u16)>,
    stun: Option<(String, u16)>,
    turn: Option<(String, u16, String, String)>,
) -> PyResult<Binding> {
    let listen = listen
        .iter()
        .map(|(transport, host, port, tls)| {
            let transport = Transport::from_param(transport)
                .ok_or_else(|| PyValueError::new_err(format!("no transport {transport:?}")))?;
            let (certificate, private_key, ca, verify) = tls.clone();
            let tls = TlsSettings { certificate, private_key, ca, verify };
            Ok(Listen { transport, address: SocketAddr::new(ip(host)?, *port), tls })
        })
        .collect::<PyResult<Vec<_>>>()?;
    let wants = |name: &str| interest.iter().any(|wanted| wanted == name);
    let codec = |name: &String| {
        let codec = Codec::ALL.into_iter().find(|codec| codec.label() == name);
        codec.ok_or_else(|| PyValueError::new_err(format!("no codec {name:?}")))
    };
    let forwarded_headers = match forwarded_headers {
        Some(names) => names
            .iter()
            .map(|name| forwardable(name).map_err(|error| errors::engine(py, error)))
            .collect::<PyResult<_>>()?,
        None => Config::default().forwarded_headers,
    };
    let engine = Config {
        user,
        public_address,
        // All interfaces: each call's own, as without an address.
        media_address: media_address.as_deref().map(ip).transpose()?.filter(|ip| !ip.is_unspecified()),
        codecs: codecs.iter().map(codec).collect::<PyResult<_>>()?,
        opus: OpusSend { bitrate: opus.0, complexity: opus.1, fec: opus.2, dtx: opus.3, ..OpusSend::default() },
        max_sessions,
        symmetric_rtp,
        rtcp_mux,
        inband_dtmf: match inband_dtmf {
            None => InbandDtmf::WithoutEvents,
            Some(true) => InbandDtmf::Always,
            Some(false) => InbandDtmf::Never,
        },
        forwarded_headers,
        credentials: authentication::credentials(credentials),
        authenticator: authenticator.map(authentication::authenticator).transpose()?,
        limits: read_limits(limits, shut_out)?,
        session_timeout: session_timeout.map(convert::duration),
        session_expires: session_timer.0.map(convert::duration),
        min_session_expires: convert::duration(session_timer.1),
        answer_timeout: answer_timeout.map(convert::duration),
        origin: match origin {
            "ask" => Origin::Ask,
            "accept" => Origin::Accept,
            _ => Origin::NoHandler,
        },
        interest: Interest {
            progress: wants("on_call_progress"),
            established: wants("on_call_established"),
            ended: wants("on_call_ended"),
            state_changed: wants("on_call_state_changed"),
            dtmf: wants("on_dtmf"),
            media_quality: wants("on_media_quality"),
            media_timeout: wants("on_media_timeout"),
            voice_activity: wants("on_voice_activity"),
            message: wants("on_message"),
            transfer: wants("on_transfer_request"),
            subscribe: wants("on_subscribe"),
        },
        registrar: registrar.map(crate::registrar::config).transpose()?,
        ..Config::default()
    };
    let nameserver = nameserver.map(|(host, port)| Ok::<_, PyErr>(SocketAddr::new(ip(&host)?, port))).transpose()?;
    let turn = turn.map(|(host, port, username, password)| {
        Ok::<_, PyErr>(TurnServer { address: SocketAddr::new(ip(&host)?, port), username, password })
    });
    let stun = stun.map(|(host, port)| Ok::<_, PyErr>(SocketAddr::new(ip(&host)?, port)));
    let nat = Servers { stun: stun.transpose()?, turn: turn.transpose()? };
    let media_threads = media_threads.unwrap_or_else(ringback_net::usual_media_threads);
    let cpu_latency = cpu_latency.map(convert::duration);
    let settings = Settings { engine, listen, media_ports, media_threads, cpu_latency, binding_store, nat, nameserver };
    let system = py.detach(|| System::bind(settings)).map_err(|error| errors::net(py, &error))?;
    Ok(Binding(Mutex::new(Some(system))))
}

/// The name of a header that may pass to the targets of a forwarded call, as it is written there; `InvalidHeader`.
#[pyfunction]
fn forwardable_header(py: Python<'_>, name: &str) -> PyResult<String> {
    let name = forwardable(name).map_err(|error| errors::engine(py, error))?;
    Ok(name.as_str().to_owned())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Binding>()?;
    module.add_function(wrap_pyfunction!(available_codecs, module)?)?;
    module.add_function(wrap_pyfunction!(default_codecs, module)?)?;
    module.add_function(wrap_pyfunction!(forwardable_header, module)?)?;
    module.add_function(wrap_pyfunction!(bind, module)?)
}
