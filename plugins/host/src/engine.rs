//! The engine: how guests are compiled and where their instances live.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy,
    PoolingAllocationConfig,
};

use crate::{
    Error,
    limits::{CALLS, INSTANCES, MEMORIES, STACK, TABLE_ELEMENTS, TABLES},
};

/// An engine whose instances come from a pool, or one by one where the address space for the pool
/// can't be had; answers are the same. A cache that can't be used is only warned about.
pub(crate) fn engine(cache_dir: Option<&Path>) -> Result<Engine, Error> {
    let mut config = deterministic();
    if let Some(directory) = cache_dir {
        match cache(directory) {
            Ok(cache) => {
                config.cache(Some(cache));
            }
            Err(error) => tracing::warn!(
                directory = %directory.display(),
                %error,
                "compiled plugins are not cached"
            ),
        }
    }
    let mut pooled = config.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    Engine::new(&pooled).or_else(|error| {
        tracing::info!(error = %error.root_cause(), "plugins run without a pool of instances");
        // Where the pool has no place, neither has a reservation of 4 GiB a memory.
        config
            .memory_reservation(0)
            .memory_guard_size(64 * 1024)
            .memory_reservation_for_growth(1024 * 1024)
            .memory_may_move(true);
        Engine::new(&config).map_err(|error| Error::Engine(format!("{error:#}")))
    })
}

/// Everything that answers depend on.
fn deterministic() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(STACK)
        .wasm_memory64(false) // no contract needs it, and a pool would end it elsewhere than the limit
        .concurrency_support(false);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(CALLS)
        .total_core_instances(CALLS * INSTANCES)
        .total_memories(CALLS * MEMORIES)
        .total_tables(CALLS * TABLES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(8 * 1024 * 1024)
        .max_component_instance_size(32 * 1024 * 1024)
        // Of an instance only the pages that it wrote to are wiped, by hand, where the kernel can
        // tell which (Linux 6.7): the next has them without page faults, a third of the time of
        // a small plugin's call.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(256 * 1024)
        .table_keep_resident(16 * 1024);
    pool
}

/// Compiled code in `directory`, made for the user alone if it is not there. What lies in it is
/// run as it is, so it must be ours and nobody else may write there.
fn cache(directory: &Path) -> Result<Cache, String> {
    let text = |error: io::Error| error.to_string();
    let directory = std::path::absolute(directory).map_err(text)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(text)?;
    let ours =
        tempfile::tempfile_in(&directory).and_then(|probe| probe.metadata()).map_err(text)?;
    let there = directory.metadata().map_err(text)?;
    if there.uid() != ours.uid() || there.mode() & 0o022 != 0 {
        return Err("others can write to the directory".into());
    }
    let mut config = CacheConfig::new();
    config.with_directory(directory);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}
