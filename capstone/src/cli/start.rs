//! From arguments to a running engine and the state of a server in front of it.

use super::CliError;
use crate::engine::{Engine, EngineConfig};
use crate::model::{Loaded, ModelArgs};
use decoding::SamplingParams;
use indicatif::{ProgressBar, ProgressStyle};
use memory_hierarchy::Pool;
use scheduling::Policy;
use serving::engine::engine_channel;
use serving::metrics::Metrics;
use serving::{App, Limits, ServedModel};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// The page at `/`.
const PAGE: &str = include_str!("../../ui/index.html");

/// How the engine orders and keeps what it is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct EngineArgs {
    /// Requests that may wait to run; more are refused with 429.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_queue: usize,
    /// Let requests with a lower `priority` go first. Without it, first come, first served.
    #[arg(long)]
    pub priority: bool,
    /// Compute every prompt anew, even if its beginning is in the cache.
    #[arg(long)]
    pub no_prefix_caching: bool,
}

/// A running engine.
pub(super) struct Started {
    pub app: Arc<App>,
    pub engine: JoinHandle<()>,
}

/// Loads the model, with a progress bar on standard error, and starts its engine. `served_name` replaces the folder's name.
pub(super) fn start(
    model: &ModelArgs,
    engine: &EngineArgs,
    limits: Limits,
    served_name: Option<String>,
) -> Result<Started, CliError> {
    let Loaded {
        name,
        model: weights,
        pool,
        tokenizer,
        chat_template,
    } = model.load(progress_bar)?;
    let config = weights.config().clone();
    let positions = weights.limits().positions;
    let (handle, inbox) = engine_channel(engine.max_queue, Arc::new(Metrics::default()));
    let policy = if engine.priority {
        Policy::Priority
    } else {
        Policy::Fcfs
    };
    let engine_config = EngineConfig {
        max_sequences: model.max_sequences,
        policy,
        prefix_caching: !engine.no_prefix_caching,
    };
    let engine = Engine::new(weights, engine_config, inbox)?;
    let served = ServedModel {
        id: served_name.unwrap_or(name),
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        max_model_len: positions,
        vocab_size: config.vocab_size,
        eos_token_ids: config.eos_token_ids,
        tokenizer: Arc::new(tokenizer),
        chat_template: chat_template.map(Arc::new),
        default_params: SamplingParams::default(),
    };
    let app = App::new(served, limits, handle, PAGE, env!("CARGO_PKG_VERSION"));
    Ok(Started {
        app,
        engine: spawn(engine, pool)?,
    })
}

/// Runs the engine on a thread of its own, which is the first of the pool that computes, on the core that the workers leave to it.
fn spawn(engine: Engine, pool: Arc<Pool>) -> Result<JoinHandle<()>, CliError> {
    std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            pool.pin_caller();
            engine.run();
        })
        .map_err(CliError::io("starting the engine thread"))
}

/// A bar over the bytes of the weights, and what moves it.
fn progress_bar(bytes: u64) -> impl FnMut(u64) + Send + 'static {
    let bar = ProgressBar::new(bytes);
    let style = "loading weights {bar:32} {bytes}/{total_bytes} {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
    move |loaded| {
        bar.inc(loaded);
        if bar.position() >= bytes {
            bar.finish_and_clear();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use clap::Parser;
    use memory_hierarchy::pool::allowed_cores;
    use std::fs::read_to_string;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        engine: EngineArgs,
    }

    #[test]
    fn the_engine_has_a_core_that_no_worker_has() {
        let arguments = Arguments::parse_from(["fastserve", "--kv-memory", "64"]);
        let limits = Limits::default();
        let started = start(&arguments.model, &arguments.engine, limits, None).unwrap();
        let first = allowed_cores()[0].to_string();
        // The thread pins itself once it runs.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while cores_of("engine") != [first.as_str()] && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(cores_of("engine"), [first.as_str()]);
        for worker in 1..allowed_cores().len() {
            let core = allowed_cores()[worker].to_string();
            assert_eq!(cores_of(&format!("worker-{worker}")), [core]);
        }
        drop(started.app);
        started.engine.join().unwrap();
    }

    /// Where each thread of this name may run.
    fn cores_of(name: &str) -> Vec<String> {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let cores = threads.filter_map(|thread| {
            let path = thread.ok()?.path();
            let status = read_to_string(path.join("status")).ok()?;
            let line = |field| status.lines().find_map(|line| line.strip_prefix(field));
            let cores = line("Cpus_allowed_list:")?.trim().to_owned();
            (line("Name:")?.trim() == name).then_some(cores)
        });
        cores.collect()
    }
}
