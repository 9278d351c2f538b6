//! Serving until told to stop, and stopping without breaking what runs.

use axum::serve;
use axum::serve::ListenerExt;
use std::future::{Future, IntoFuture};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app::App;
use crate::router::router;

/// Time for last bytes to leave once every generation has ended.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered to its end.
    Clean,
    /// The time to drain was over; so many generations were ended with an error.
    Cut(usize),
}

/// Serves until `shutdown` is done, then drains: `/ready` and new generations answer 503 at once, running ones get
/// [`crate::app::Limits::drain_time`] to finish.
///
/// # Errors
/// The listener fails.
pub async fn run(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<Drained> {
    let (stop, stopped) = oneshot::channel::<()>();
    // A token is a small packet, and it must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    let server = serve(listener, router(Arc::clone(&app))).with_graceful_shutdown(async {
        // An error means that the sender is gone, which says the same.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.map_err(io::Error::other)?.map(|()| Drained::Clean),
        () = shutdown => {}
    }
    app.engine.begin_drain();
    let drained = drain(&app).await;
    drop(stop);
    if timeout(LAST_BYTES, &mut server).await.is_err() {
        server.abort();
    }
    Ok(drained)
}

/// Waits for the generations under way, and ends those that are too slow.
async fn drain(app: &App) -> Drained {
    // ANCHOR: solve-drain
    if idle_within(app, app.limits.drain_time).await {
        return Drained::Clean;
    }
    let left = *app.in_flight.borrow();
    app.closing.send_replace(true);
    idle_within(app, LAST_BYTES).await;
    Drained::Cut(left)
    // ANCHOR_END: solve-drain
}

/// Whether no generation is under way within a time.
async fn idle_within(app: &App, time: Duration) -> bool {
    let mut in_flight = app.in_flight.subscribe();
    timeout(time, in_flight.wait_for(|count| *count == 0))
        .await
        .is_ok()
}
