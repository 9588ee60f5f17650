//! From arguments to a running agent, and how it follows its configuration.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jit_agent::audit::{Audit, AuditSettings, Event, Format, Kind, Places};
use jit_agent::clock::{Clock, SystemTime};
use jit_agent::config::{AuditFormat, Config, ConfigError};
use jit_agent::gate::Gate;
use jit_agent::grants::Grants;
use jit_agent::listener::{Kept, Listener};
use jit_agent::logins::Logins;
use jit_agent::mfa::proof::Proofs;
use jit_agent::mfa::{Factors, SealKey, Setup};
use jit_agent::names::Names;
use jit_agent::state::{BootId, State};
use jit_agent::trusted_file::Fingerprint;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::Args;

/// How often the configuration's file is looked at, and the clock.
const LOOK: Duration = Duration::from_secs(1);

/// What a person at the console or in the supervisor's log reads when the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct StartError {
    what: &'static str,
    why: String,
}

fn start_error<E: Display>(what: &'static str) -> impl FnOnce(E) -> StartError {
    move |why| StartError {
        what,
        why: why.to_string(),
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> Result<(), StartError> {
    let kept = Kept::take();
    raise_descriptor_limit();
    // Secrets are in here: no core files, and no ptrace by whoever shares our uid but not our rights.
    let _ = nix::sys::prctl::set_dumpable(false);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(start_error("cannot start"))?;
    let audit = runtime.block_on(serve(args, kept))?;
    // Tasks first: what they still record must find a journal.
    runtime.shutdown_timeout(Duration::from_secs(1));
    audit.close();
    Ok(())
}

async fn serve(args: Args, kept: Kept) -> Result<Audit, StartError> {
    let mut seen = Fingerprint::at(&args.config);
    let loaded = Config::load(&args.config);
    let config = Arc::new(match &loaded {
        Ok(config) => config.clone(),
        Err(_) => Config::lockdown(),
    });
    let (gate, listener) = open(&args, Arc::clone(&config), kept)?;
    announce(&gate.audit, &loaded);

    let gate = Arc::new(gate);
    let serving = listener
        .serve(Arc::clone(&gate), Handle::current())
        .map_err(start_error("cannot listen"))?;
    tokio::spawn(gate.grants.clone().run());
    let _ = sd_notify::notify(&[NotifyState::Ready]);

    let mut hangup = signal(SignalKind::hangup()).map_err(start_error("signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(start_error("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(start_error("signals"))?;
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                seen = Fingerprint::at(&args.config);
                reload(&gate, &args.config).await;
            }
            () = tokio::time::sleep(LOOK) => {
                let now = Fingerprint::at(&args.config);
                if now != seen {
                    seen = now;
                    reload(&gate, &args.config).await;
                }
                look_at_clock(&gate).await;
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    drop(serving);
    gate.audit.note(Event::new(Kind::Agent, "stopped"));
    Ok(gate.audit.clone())
}

fn open(args: &Args, config: Arc<Config>, kept: Kept) -> Result<(Gate, Listener), StartError> {
    let state = Arc::new(State::open(&args.state).map_err(start_error("cannot open the state"))?);
    let audit = Audit::start(Places::under(&args.state), audit_settings(&config))
        .map_err(start_error("cannot start the audit"))?;
    let boot = BootId::current().map_err(start_error("cannot tell this boot"))?;
    let clock = Clock::start(Box::new(SystemTime), Arc::clone(&state))
        .map(Arc::new)
        .map_err(start_error("cannot start the clock"))?;
    let setup = Setup {
        issuer: config.mfa.issuer.clone(),
        host: config.agent.host.clone(),
        seal: seal_key()?,
        boot,
    };
    let (factors, faults) = Factors::open(Arc::clone(&state), setup)
        .map_err(start_error("cannot open people's factors"))?;
    for fault in faults {
        audit.note(Event::new(Kind::Mfa, "disabled").with("detail", fault));
    }
    let grants = Grants::open(
        Arc::clone(&config),
        args.grants.clone(),
        state,
        Arc::clone(&clock),
        audit.clone(),
    );
    let listener = Listener::bind(&args.run, kept).map_err(start_error("cannot listen"))?;
    let gate = Gate {
        config: ArcSwap::new(config),
        grants,
        clock,
        factors: Arc::new(factors),
        proofs: Proofs::new(),
        audit,
        names: Names::default(),
        boot,
        logins: Logins::default(),
    };
    Ok((gate, listener))
}

/// The key that seals factors, if the supervisor gives one (systemd.exec(5), `LoadCredential=`).
fn seal_key() -> Result<Option<SealKey>, StartError> {
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        None => Ok(None),
        Some(folder) => SealKey::load(&PathBuf::from(folder))
            .map_err(start_error("cannot use the credential pam_jit.key")),
    }
}

fn audit_settings(config: &Config) -> AuditSettings {
    AuditSettings {
        format: match config.audit.format {
            AuditFormat::Logfmt => Format::Logfmt,
            AuditFormat::Json => Format::Json,
        },
        durable: config.audit.durable,
        host: config.agent.host.clone(),
    }
}

fn announce(audit: &Audit, loaded: &Result<Config, ConfigError>) {
    audit.note(Event::new(Kind::Agent, "started").with("version", env!("CARGO_PKG_VERSION")));
    match loaded {
        Ok(_) => audit.note(Event::new(Kind::Config, "loaded")),
        Err(error) => {
            eprintln!(
                "jit-agentd: {error}; until it is mended everything is enforced and no grant holds"
            );
            audit.note(
                Event::new(Kind::Config, "rejected")
                    .with("detail", error)
                    .with("kept", "lockdown"),
            );
        }
    }
}

/// Takes the configuration anew. One that cannot be taken changes nothing.
async fn reload(gate: &Arc<Gate>, path: &Path) {
    let path = path.to_owned();
    let inner = Arc::clone(gate);
    let done = tokio::task::spawn_blocking(move || match Config::load(&path) {
        Ok(config) => {
            let config = Arc::new(config);
            inner.audit.reconfigure(audit_settings(&config));
            inner.grants.apply_config(Arc::clone(&config));
            inner.config.store(config);
            inner.audit.note(Event::new(Kind::Config, "loaded"));
        }
        Err(error) => {
            eprintln!("jit-agentd: {error}; the configuration before it stays in force");
            let event = Event::new(Kind::Config, "rejected").with("detail", error);
            inner.audit.note(event.with("kept", "previous"));
        }
    });
    let _ = done.await;
}

async fn look_at_clock(gate: &Arc<Gate>) {
    let inner = Arc::clone(gate);
    let done = tokio::task::spawn_blocking(move || {
        for event in inner.clock.tick() {
            inner.audit.note(event);
        }
    });
    let _ = done.await;
}

/// Every caller holds a descriptor; the default soft limit (1024) is less than the quota.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}
