//! Serves the built book on this machine, and the sources that its pages link to.

use crate::error::{Error, Result};
use crate::workspace::Workspace;
use axum::Router;
use std::path::Path;
use tower_http::services::ServeDir;

/// Serves until it is interrupted.
///
/// # Errors
/// If the port is taken.
pub fn serve(workspace: &Workspace, book: &Path, port: u16) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().map_err(Error::new)?;
    let mut router = Router::new().fallback_service(ServeDir::new(book));
    for folder in ["stages", "capstone", "benches", "checklists"] {
        router = router.nest_service(
            &format!("/{folder}"),
            ServeDir::new(workspace.root.join(folder)),
        );
    }
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener
            .map_err(|error| Error(format!("port {port}: {error}; choose another with --port")))?;
        println!("http://{}", listener.local_addr().map_err(Error::new)?);
        axum::serve(listener, router).await.map_err(Error::new)
    })
}
