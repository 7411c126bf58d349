// SPDX-License-Identifier: GPL-2.0

//! A run: prepare the device, start the workers in their processes, watch them, look at the end.

use crate::{
    coverage,
    device::{self, Device, Memory},
    layout::*,
    op::{Kind, ALL, KINDS, PINS},
    shared::Control,
    sys::{self, Ended},
    worker::{Process, Worker},
    Options,
};
use std::{
    collections::BTreeMap,
    fs,
    io::Error,
    os::unix::fs::FileExt,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::{Duration, Instant},
};

/// Which operations of a worker a run has.
#[derive(Clone, Debug)]
pub enum Part {
    /// From this one up to that, without it.
    Span(u64, u64),
    Some(Vec<u64>),
}

impl Part {
    pub fn indices(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Self::Span(from, to) => Box::new(*from..*to),
            Self::Some(list) => Box::new(list.iter().copied()),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::Span(from, to) => to - from,
            Self::Some(list) => list.len() as u64,
        }
    }
}

/// What is to run: the workers that take part, with their operations.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub workers: usize,
    pub parts: Vec<(usize, Part)>,
    pub time: Option<Duration>,
    pub verbose: bool,
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub worker: usize,
    pub index: u64,
    pub text: String,
    /// The kernel is in a state in which nothing can be tried again.
    pub stuck: bool,
}

pub struct Outcome {
    pub failure: Option<Failure>,
    pub before: BTreeMap<String, u64>,
    pub after: BTreeMap<String, u64>,
    pub seconds: f64,
}

fn said(what: &str, errno: i32) -> String {
    format!("{what}: {}", Error::from_raw_os_error(errno))
}

/// The device as a run finds it: of a known size, zero where the model has pages, without an index.
/// What is behind it belongs to another device.
fn prepare(options: &Options) -> Result<Device, String> {
    let namespace = &options.device;
    for (name, value) in [("upgrade", "Y"), ("align", "4K")] {
        device::set_parameter(name, value)?;
    }
    for name in [namespace, &options.second] {
        if device::is_bound(name) {
            device::unbind(name).map_err(|e| said(&format!("unbind {name}"), e))?;
        }
    }
    if device::is_dax(namespace) {
        // The bus divides it, only now: it keeps this size.
        device::divide_dax(namespace, TAIL_END, options.align)
            .map_err(|e| said(&format!("size and align of {namespace}"), e))?;
        let with_pages = if options.memory.has_pages() {
            namespace.as_str()
        } else {
            ""
        };
        device::set_parameter("pages", with_pages)?;
    }
    device::bind(namespace).map_err(|e| said(&format!("bind {namespace}"), e))?;
    let found = Device::of(namespace).ok_or("bound, but there is no device")?;
    let file = found.open(true).map_err(|e| said("open", e))?;
    for (from, to) in [(SHARED, ARENA_END), (TAIL, TAIL_END)] {
        device::punch(&file, device::ZERO, from, to - from).map_err(|e| said("zero", e))?;
    }
    for page in (0..PAGES).filter(|page| is_giant(*page)) {
        device::punch(&file, device::ZERO, offset_of(page), PAGE).map_err(|e| said("zero", e))?;
    }
    drop(file);
    device::unbind(namespace).map_err(|e| said("unbind", e))?;
    device::bind(namespace).map_err(|e| said(&format!("bind {namespace}"), e))?;
    let found = Device::of(namespace).ok_or("bound, but there is no device")?;
    if device::is_dax(namespace) {
        if options.memory == Memory::Tracked {
            found
                .set("rdax/memory", "tracked")
                .map_err(|e| said("rdax/memory", e))?;
        }
        if found.memory() != options.memory {
            return Err(format!("its memory is {:?}", found.memory()));
        }
        return Ok(found);
    }
    found
        .set("size", &TAIL_END.to_string())
        .map_err(|e| said("size", e))?;
    let region = format!("/sys/bus/nd/devices/{namespace}/rdax_region");
    device::write_text(format!("{region}/create"), "1").map_err(|e| said("create", e))?;
    let rest = fs::read_to_string(format!("{region}/create")).map_err(|e| e.to_string())?;
    let free = fs::read_to_string(format!("{region}/available_size")).map_err(|e| e.to_string())?;
    let rest = Device {
        name: rest.trim().into(),
    };
    rest.set("size", free.trim())
        .map_err(|e| said("size of the rest", e))?;
    Ok(found)
}

/// A sum over everything on the region that is no page of the model.
fn sum_of_the_rest(device: &Device) -> Result<u64, String> {
    let mut sum = 0u64;
    let mut buffer = vec![0u8; 1 << 20];
    let minor: u32 = device
        .name
        .trim_start_matches("rdax")
        .parse()
        .map_err(|_| "its name")?;
    let other = Device {
        name: format!("rdax{}", minor + 1),
    };
    for (device, own) in [(device, true), (&other, false)] {
        let file = device.open(false).map_err(|e| said("open", e))?;
        let mut at = 0;
        loop {
            let n = file.read_at(&mut buffer, at).map_err(|e| e.to_string())?;
            if n == 0 {
                break;
            }
            if own {
                let mut from = at.max(SHARED);
                while let Some(page) = page_at(from, at + n as u64) {
                    let first = (offset_of(page) - at) as usize;
                    buffer[first..first + PAGE as usize].fill(0);
                    from = offset_of(page) + PAGE;
                }
                if (SHARED..ARENA).contains(&at) {
                    buffer[..n].fill(0);
                }
            }
            for word in buffer[..n].chunks_exact(64) {
                let mut part = 0u64;
                for bytes in word.chunks_exact(8) {
                    part =
                        part.wrapping_add(u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8])));
                }
                sum = sum.rotate_left(1) ^ part;
            }
            at += n as u64;
        }
    }
    Ok(sum)
}

/// What the kernel has said of itself: warnings and worse.
fn taint() -> u64 {
    const WARN: u64 = 1 << 9;
    const DIE: u64 = 1 << 7;
    const BAD_PAGE: u64 = 1 << 5;
    let text = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    text.trim().parse::<u64>().unwrap_or(0) & (WARN | DIE | BAD_PAGE)
}

fn process_of(worker: usize, processes: usize) -> usize {
    worker % processes
}

/// The body of a process: its workers as threads.
fn work(
    plan: &Plan,
    options: &Options,
    device: Device,
    control: &'static Control,
    me: usize,
) -> i32 {
    sys::handle_signals();
    let mine: Vec<_> = plan
        .parts
        .iter()
        .filter(|(worker, _)| process_of(*worker, options.processes) == me)
        .collect();
    let tids = mine.iter().map(|(worker, _)| *worker).collect();
    let process = match Process::new(device, options.second.clone(), tids) {
        Ok(process) => process,
        Err(text) => {
            control.fail(mine[0].0, 0, &text);
            return 1;
        }
    };
    let clean = taint();
    thread::scope(|scope| {
        for (number, part) in mine {
            let process = &process;
            scope.spawn(move || {
                let cell = &control.cells[*number];
                cell.tid.store(sys::thread_id() as u32, SeqCst);
                cell.process.store(std::process::id(), SeqCst);
                let mut worker = Worker::new(process, control, plan.seed, *number, plan.workers);
                worker.verbose = plan.verbose;
                let result = operations(&mut worker, control, part, options.check, clean);
                if let Err(text) = result {
                    control.fail(*number, cell.index.load(SeqCst), &text);
                }
                // Nobody is to be interrupted who is not there.
                cell.tid.store(0, SeqCst);
                control.leave();
            });
        }
    });
    control.cells[me].ticks.store(sys::ticks(), SeqCst);
    i32::from(control.has_failed())
}

fn operations(
    worker: &mut Worker<'_>,
    control: &Control,
    part: &Part,
    check: u64,
    clean: u64,
) -> Result<(), String> {
    let mut last = None;
    for index in part.indices() {
        if control.stop.load(SeqCst) != 0 {
            break;
        }
        if last.is_some_and(|last| last / check != index / check) {
            checkpoint(worker, control, clean)?;
        }
        last = Some(index);
        worker.run(index)?;
    }
    checkpoint(worker, control, clean)
}

fn checkpoint(worker: &mut Worker<'_>, control: &Control, clean: u64) -> Result<(), String> {
    // While this one waits, others may wait for its pin.
    worker.release()?;
    match control.meet() {
        // Somebody has failed.
        None => return Ok(()),
        Some(false) => {}
        Some(true) => {
            let mut result = worker.inspect();
            if taint() & !clean != 0 {
                result = Err("the kernel has warned: see its console".into());
            }
            control.checkpoints.fetch_add(1, SeqCst);
            if result.is_err() {
                // Those who wait end when they see the failure.
                return result.map_err(|e| format!("at a checkpoint: {e}"));
            }
            control.release();
        }
    }
    worker
        .store_again()
        .and_then(|()| worker.verify())
        .map_err(|e| format!("at a checkpoint: {e}"))?;
    // Nobody syncs before all have looked.
    if control.meet() == Some(true) {
        control.release();
    }
    Ok(())
}

/// Runs a plan. An error is a failure to run it at all.
pub fn run(plan: &Plan, options: &Options, control: &'static Control) -> Result<Outcome, String> {
    let device = prepare(options)?;
    let rest = if options.whole && !device::is_dax(&device.name) {
        Some(sum_of_the_rest(&device)?)
    } else {
        None
    };
    control.reset(plan.parts.len(), TAIL_END);
    let before = device.counters();
    let begun = Instant::now();
    let mut children = Vec::new();
    for me in 0..options.processes {
        if !plan
            .parts
            .iter()
            .any(|(worker, _)| process_of(*worker, options.processes) == me)
        {
            continue;
        }
        let pid = sys::fork().map_err(|e| said("fork", e))?;
        if pid == 0 {
            sys::exit_now(work(plan, options, device.clone(), control, me));
        }
        children.push(pid);
    }
    let stuck = watch(plan, options, control, children, begun, &device, &before);
    let seconds = begun.elapsed().as_secs_f64();
    let mut failure = control.failure().map(|(worker, index, text)| Failure {
        worker,
        index,
        text,
        stuck,
    });
    let after = if stuck {
        BTreeMap::new()
    } else {
        device.counters()
    };
    if failure.is_none() {
        let result = last_look(&device, rest);
        failure = result.err().map(|text| Failure {
            worker: 0,
            index: 0,
            text,
            stuck: false,
        });
    }
    Ok(Outcome {
        failure,
        before,
        after,
        seconds,
    })
}

/// After all have ended: the device's size, and whatever no worker was to touch.
fn last_look(device: &Device, rest: Option<u64>) -> Result<(), String> {
    if !device::is_dax(&device.name) {
        device
            .set("size", &TAIL_END.to_string())
            .map_err(|e| said("size at the end", e))?;
    }
    match rest {
        Some(sum) if sum_of_the_rest(device)? != sum => {
            Err("bytes that nobody wrote have changed".into())
        }
        _ => Ok(()),
    }
}

/// Waits for the processes, prints progress. True if one of them can't be ended.
fn watch(
    plan: &Plan,
    options: &Options,
    control: &Control,
    mut children: Vec<i32>,
    begun: Instant,
    device: &Device,
    before: &BTreeMap<String, u64>,
) -> bool {
    let total: u64 = plan.parts.iter().map(|(_, part)| part.len()).sum();
    let mut moved = Instant::now();
    let mut last = 0;
    let mut told = Instant::now();
    let mut told_ops = 0;
    let mut failed_since = None;
    let mut looked = Instant::now();
    let mut is_covered = || {
        let look = looked.elapsed() > Duration::from_secs(1);
        if look {
            looked = Instant::now();
        }
        look && missing(before, &device.counters(), control).is_empty()
    };
    loop {
        children.retain(|pid| match sys::wait(*pid, false) {
            None => true,
            Some(Ended::Exit(0)) => false,
            Some(ended) => {
                control.fail(
                    0,
                    control.cells[0].index.load(SeqCst),
                    &format!("process {pid} ended with {ended:?}"),
                );
                false
            }
        });
        if children.is_empty() {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
        let ops: u64 = control.cells.iter().map(|cell| cell.ops.load(SeqCst)).sum();
        let checkpoints = control.checkpoints.load(SeqCst);
        let done = ops + checkpoints + control.compared.load(SeqCst);
        if done != last {
            last = done;
            moved = Instant::now();
        }
        let over = |time: Duration| begun.elapsed() > time;
        if plan
            .time
            .is_some_and(|time| over(time) && (over(time + options.more) || is_covered()))
        {
            control.stop.store(1, SeqCst);
        }
        if told.elapsed() > Duration::from_secs(10) && !plan.parts.is_empty() && options.progress {
            let rate = (ops - told_ops) as f64 / told.elapsed().as_secs_f64();
            let of = if plan.time.is_none() {
                format!(" of {total}")
            } else {
                String::new()
            };
            eprintln!(
                "# {:4.0} s: {ops}{of} operations, {rate:.0}/s, {checkpoints} checkpoints",
                begun.elapsed().as_secs_f64()
            );
            told = Instant::now();
            told_ops = ops;
        }
        if moved.elapsed() > options.patience && !control.has_failed() {
            let stacks = stacks(&children);
            eprintln!("# {stacks}");
            for run in device
                .entries()
                .unwrap_or_default()
                .iter()
                .filter(|run| run.locked)
            {
                eprintln!("# locked: {run:?}");
            }
            let (slow, cell) = plan
                .parts
                .iter()
                .map(|(worker, _)| (*worker, &control.cells[*worker]))
                .min_by_key(|(_, cell)| cell.ops.load(SeqCst))
                .unwrap_or((0, &control.cells[0]));
            control.fail(
                slow,
                cell.index.load(SeqCst),
                &format!("nothing was done for {} s", options.patience.as_secs()),
            );
        }
        if control.has_failed() {
            let since = *failed_since.get_or_insert_with(Instant::now);
            if since.elapsed() > Duration::from_secs(10) {
                for pid in &children {
                    sys::kill(*pid);
                }
            }
            if since.elapsed() > Duration::from_secs(30) {
                return true;
            }
        }
    }
}

/// What the threads of these processes do in the kernel.
fn stacks(pids: &[i32]) -> String {
    let mut text = String::new();
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let stack = fs::read_to_string(task.path().join("stack")).unwrap_or_default();
            let frames: Vec<_> = stack
                .lines()
                .take(10)
                .map(|l| l.trim_start_matches("[<0>] "))
                .collect();
            text += &format!(
                "{pid}/{}: {}\n# ",
                task.file_name().to_string_lossy(),
                frames.join(" < ")
            );
        }
    }
    text
}

/// The counters of faults that were served.
const FAULTS: [&str; 5] = [
    "pte_mapped",
    "pmd_mapped",
    "pud_mapped",
    "pte_sigbus",
    "raced",
];

/// How many operations of each kind, and how many faults.
pub fn summary(control: &Control, outcome: &Outcome) -> Vec<String> {
    let ops: u64 = control.cells.iter().map(|cell| cell.ops.load(SeqCst)).sum();
    let faults: u64 = FAULTS
        .iter()
        .map(|name| {
            let of = |counters: &BTreeMap<String, u64>| *counters.get(*name).unwrap_or(&0);
            of(&outcome.after).saturating_sub(of(&outcome.before))
        })
        .sum();
    let ticks: u64 = control
        .cells
        .iter()
        .map(|cell| cell.ticks.load(SeqCst))
        .sum();
    let mut lines = vec![format!(
        "{ops} operations in {:.0} s, {:.0}/s; {faults} faults served, {:.1} for 100 operations; {ticks} signals",
        outcome.seconds,
        ops as f64 / outcome.seconds,
        100.0 * faults as f64 / ops.max(1) as f64,
    )];
    let mut row = Vec::new();
    for kind in ALL {
        let sum = |of: fn(&crate::shared::Cell) -> &[std::sync::atomic::AtomicU64; KINDS]| -> u64 {
            control
                .cells
                .iter()
                .map(|cell| of(cell)[*kind as usize].load(SeqCst))
                .sum()
        };
        let (done, skipped) = (sum(|cell| &cell.kinds), sum(|cell| &cell.skipped));
        let not = if skipped > 0 {
            format!(" ({skipped} not)")
        } else {
            String::new()
        };
        row.push(format!("{} {done}{not}", kind.name()));
    }
    lines.push(format!("by kind: {}", row.join("; ")));
    lines
}

fn never(kind: Kind, control: &Control) -> bool {
    control
        .cells
        .iter()
        .all(|cell| cell.kinds[kind as usize].load(SeqCst) == 0)
}

/// Whether all was done that needs pages; without a disk, all but O_DIRECT.
pub fn has_pinned(control: &Control) -> bool {
    PINS.iter()
        .all(|kind| !never(*kind, control) || is_impossible(*kind))
}

fn is_impossible(kind: Kind) -> bool {
    [Kind::DirectOut, Kind::DirectIn].contains(&kind) && device::ram_disk().is_none()
}

/// What a complete run must have seen, and this one has not.
pub fn missing(
    before: &BTreeMap<String, u64>,
    now: &BTreeMap<String, u64>,
    control: &Control,
) -> Vec<String> {
    let mut missing = coverage::report(before, now, control).1;
    missing.extend(
        ALL.iter()
            .filter(|kind| never(**kind, control) && !is_impossible(**kind))
            .map(|kind| format!("an operation \"{}\"", kind.name())),
    );
    missing
}
