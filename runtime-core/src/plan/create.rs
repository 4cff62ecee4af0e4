//! The plan of a container: from nothing to the user's program waiting to be started.

use hoist_init::page::Sync;
use hoist_init::wire::{Reg, Step};
use oci_spec::runtime::{Hook, Spec};

use super::builder::Builder;
use super::context::{Context, Facts, Filter, Options};
use super::process::Start;
use super::{Passed, Plan, devices, mounts, namespaces, process, rootfs, security};
use crate::error::{Error, Result};
use crate::spec::Bundle;

/// What outer does before the rest of the plan is compiled: the plan's first part.
///
/// # Errors
/// None that could be met.
pub(crate) fn compile_head(spec: &Spec, privileged: bool, timings: bool) -> Result<Plan> {
    let mut plan = Builder::in_two_parts(timings);
    namespaces::begin(&mut plan, spec, privileged);
    plan.finish()
}

/// Compiles a bundle.
///
/// # Errors
/// The configuration asks for what can't be expressed, or not on this host.
pub(crate) fn compile(
    bundle: &Bundle,
    facts: &Facts<'_>,
    options: &Options<'_>,
    filter: Option<Filter<'_>>,
) -> Result<Plan> {
    compile_parts(&Context {
        bundle: bundle.path(),
        rootfs: bundle.rootfs(),
        spec: bundle.spec(),
        facts,
        options,
        filter,
    })
}

/// The order is what makes it work; each part says why it has its place.
pub(super) fn compile_parts(ctx: &Context<'_>) -> Result<Plan> {
    let mut plan = Builder::in_two_parts(ctx.options.timings);
    let early = namespaces::begin(&mut plan, ctx.spec, ctx.facts.privileged);
    let user = ctx.process().ok_or_else(|| Error::config("/process", "there is no process"))?;
    let mut mounts = mounts::resolve(ctx)?;
    let mut nodes = devices::resolve(ctx)?;
    let own_dev = !mounts::binds_dev(&mounts);
    if !own_dev {
        nodes.clear();
    }

    // Outer: among the host's namespaces, with the caller's privileges.
    let opened = namespaces::enter(&mut plan, ctx, early)?;
    process::raise_limits(&mut plan, user, ctx.spec);
    mounts::open(&mut plan, ctx, &mut mounts, opened.user)?;
    devices::open(&mut plan, ctx, &mut nodes)?;
    namespaces::clone(&mut plan, ctx, &opened)?;

    // Inner: in the container's namespaces, among the host's files.
    namespaces::complete(&mut plan, ctx, &opened)?;
    // Who is to be started later is announced as well: the library gets its record ready meanwhile.
    if is_announced(ctx) || (ctx.options.listener && ctx.facts.privileged) {
        plan.push("", &Step::Announce {});
    }
    plan.push("", &Step::NewSession {});
    keyring(&mut plan, ctx.facts.id, ctx.options.no_new_keyring)?;
    namespaces::configure(&mut plan, ctx, &opened)?;
    rootfs::open(&mut plan, ctx)?;
    mounts::mount(&mut plan, &mut mounts)?;
    if own_dev {
        devices::make(&mut plan, ctx, &nodes, mounts::covers_dev(&mounts))?;
    }
    let sysctl = ctx.linux().and_then(|linux| linux.sysctl().as_ref());
    let sysctl = sysctl.is_some_and(|sysctl| !sysctl.is_empty());
    security::open_proc(&mut plan, sysctl || security::is_labelled(user, ctx.spec));
    security::sysctl(&mut plan, ctx)?;
    if has_hooks(ctx) {
        plan.push("/hooks", &Step::Sync { point: Sync::Hooks as u32 });
    }
    rootfs::working_directory(&mut plan, ctx)?;
    rootfs::mask(&mut plan, ctx, &mounts)?;

    // In the container's root.
    rootfs::enter(&mut plan, ctx)?;
    if own_dev {
        plan.push("", &Step::ReopenNull {});
    }
    process::console(&mut plan, user, ctx.mount_namespace(), false)?;
    mounts::seal(&mut plan, &mounts);
    rootfs::seal(&mut plan, ctx)?;
    let start = start(&mut plan, ctx)?;
    process::compile(&mut plan, ctx, user, start)?;
    plan.finish()
}

/// A session keyring of its own.
pub(super) fn keyring(plan: &mut Builder, id: &str, no_new_keyring: bool) -> Result<()> {
    if !no_new_keyring {
        let name = super::builder::text(format!("_ses.{id}"), "")?;
        plan.push("", &Step::NewKeyring { name: &name });
    }
    Ok(())
}

/// Hooks that run while the container is being made.
fn has_hooks(ctx: &Context<'_>) -> bool {
    #[allow(deprecated, reason = "prestart hooks are deprecated, but engines still write them")]
    ctx.spec.hooks().as_ref().is_some_and(|hooks| {
        is_some(hooks.prestart())
            || is_some(hooks.create_runtime())
            || is_some(hooks.create_container())
    })
}

fn is_some(hooks: &Option<Vec<Hook>>) -> bool {
    hooks.as_ref().is_some_and(|hooks| !hooks.is_empty())
}

fn start(plan: &mut Builder, ctx: &Context<'_>) -> Result<Start<'static>> {
    let listener =
        if ctx.options.listener { plan.pass(Passed::StartListener, "")? } else { Reg::NONE };
    Ok(Start::Await { listener, hooks: has_start_hooks(ctx), announced: is_announced(ctx) })
}

fn has_start_hooks(ctx: &Context<'_>) -> bool {
    ctx.spec.hooks().as_ref().is_some_and(|hooks| is_some(hooks.start_container()))
}

/// Whether the library can say "start" before the container is built: it is to be started at once,
/// and nobody else has a say in between. Init doesn't have to wait then.
fn is_announced(ctx: &Context<'_>) -> bool {
    !ctx.options.listener
        && ctx.facts.privileged
        && !has_hooks(ctx)
        && !has_start_hooks(ctx)
        && !ctx.filter.is_some_and(|filter| filter.notify)
}
