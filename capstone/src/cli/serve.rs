//! `fastserve serve`.

use super::CliError;
use super::start::{EngineArgs, Started, start};
use crate::model::ModelArgs;
use serving::{Drained, Limits};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Options of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Name to serve the model under. Default: the folder's name.
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,
    /// Seconds a request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    request_timeout: u64,
    /// Seconds that running requests get when the server is told to stop.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u64,
    /// Bytes of a request's body at most.
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    max_body: usize,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub(super) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let began = Instant::now();
    let limits = Limits {
        body_bytes: args.max_body,
        request_time: Duration::from_secs(args.request_timeout),
        drain_time: Duration::from_secs(args.drain_timeout),
        ..Limits::default()
    };
    // Taken before the model loads, so that a port in use is not found out late.
    let address = format!("{}:{}", args.host, args.port);
    let listener = TcpListener::bind(&address)
        .await
        .map_err(CliError::io(format!("listening on {address}")))?;
    let address = listener
        .local_addr()
        .map_err(CliError::io("reading the address listened on"))?;
    let Started { app, engine } = start(&args.model, &args.engine, limits, args.served_model_name)?;
    let blocks = app.engine.metrics().kv_blocks_total.get();
    tracing::info!(
        model = app.model.id,
        context = app.model.max_model_len,
        kv_blocks = blocks,
        ready_after_ms = began.elapsed().as_millis() as u64,
        "listening on http://{address}"
    );
    let stop = stop_signal()?;
    let drained = serving::run(listener, app, stop)
        .await
        .map_err(CliError::io("serving"))?;
    match drained {
        Drained::Clean => tracing::info!("every request was answered; stopping"),
        Drained::Cut(left) => tracing::warn!(left, "the time to drain is over; requests were cut"),
    }
    // The app, and with it the last handle of the engine, is gone: the engine ends by itself.
    tokio::task::spawn_blocking(|| engine.join())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| CliError::Other("the engine thread panicked".to_owned()))
}

/// Done when the process is told to stop; a second signal ends it at once.
fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(CliError::io("waiting for SIGTERM"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(CliError::io("waiting for SIGINT"))?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("draining; a second signal stops at once");
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(130);
        });
    })
}
