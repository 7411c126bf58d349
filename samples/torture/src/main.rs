// SPDX-License-Identifier: GPL-2.0

//! Tries to break rdax: see Documentation/testing.rst.

mod coverage;
mod device;
mod dice;
mod fuzz;
mod layout;
mod lifecycle;
mod op;
mod oracle;
mod shared;
mod shrink;
mod sys;
mod worker;

use device::Memory;
use oracle::{Part, Plan};
use shared::{Control, MAX_WORKERS};
use std::{path::PathBuf, process::ExitCode, sync::atomic::Ordering, time::Duration};

const USAGE: &str = "\
usage: rdax-torture oracle|lifecycle|fuzz [OPTION...]
  --calls N         of fuzz: how many, as root and then as nobody (default 5000)
  --guided DIR      of fuzz: for --time, guided by what KCOV shows of the module; DIR/corpus is
                    read, and written with what reached more; DIR/reached has the addresses,
                    DIR/inputs all that was tried
  --cycles N        of lifecycle: how often to bind and unbind (default 300)
  --time SECONDS    how long (default 60)
  --more SECONDS    how much longer at most, until all was seen that must be (default 120)
  --ops N           how many operations in all, instead of a time
  --seed N          replays a run (default: the time of day)
  --workers N       how many (default 8)
  --processes N     in how many processes (default 3)
  --check N         operations of a worker between checkpoints (default 20000)
  --device NAME     the namespace whose device is tortured, or of oracle a device of the
                    dax bus; its data is lost (default, in QEMU only, namespace0.0)
  --second NAME     another, that is bound and unbound meanwhile; its data is lost, too
                    (default, in QEMU only, namespace1.0); of lifecycle also a device of
                    the dax bus
  --memory MODE     of the device, if it is one of the dax bus: frames, pages or tracked
                    (default frames)
  --align BYTES     of the device, if it is one of the dax bus (default 4096); of pages,
                    2097152 makes folios of 2 MiB
  --patience S      nothing is done for so long: it hangs (default 120)
  --shrink S        after a failure, how long to look for a shorter way to it (default 120)
  --part            coverage need not be complete
  --whole           all that no operation is to touch is compared as well
  --replay W:LIST   only these operations of worker W (1,2,7-90); may be repeated
  --verbose         each operation as it is done";

pub struct Options {
    pub time: u64,
    pub more: Duration,
    pub ops: Option<u64>,
    pub seed: u64,
    pub workers: usize,
    pub processes: usize,
    pub check: u64,
    pub device: String,
    pub second: String,
    pub memory: Memory,
    pub align: u64,
    pub patience: Duration,
    pub shrink: Duration,
    pub part: bool,
    pub whole: bool,
    pub replay: Vec<(usize, Part)>,
    pub verbose: bool,
    pub progress: bool,
    pub cycles: u64,
    pub calls: u64,
    pub guided: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |d| d.as_millis() as u64);
        Self {
            time: 60,
            more: Duration::from_secs(120),
            ops: None,
            seed: now % 1_000_000_000,
            workers: 8,
            processes: 3,
            check: 20000,
            device: "namespace0.0".into(),
            second: "namespace1.0".into(),
            memory: Memory::Frames,
            align: layout::PAGE,
            patience: Duration::from_secs(120),
            shrink: Duration::from_secs(120),
            part: false,
            whole: false,
            replay: Vec::new(),
            verbose: false,
            progress: true,
            cycles: 300,
            calls: 5000,
            guided: None,
        }
    }
}

fn parse_replay(text: &str) -> Option<(usize, Part)> {
    let (worker, list) = text.split_once(':')?;
    let mut indices = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        indices.extend(first.parse::<u64>().ok()?..=last.parse().ok()?);
    }
    Some((worker.parse().ok()?, Part::Some(indices)))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let (mut device, mut second) = (None, None);
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text} is no number"))
        };
        match name.as_str() {
            "--time" => options.time = number(value()?)?,
            "--more" => options.more = Duration::from_secs(number(value()?)?),
            "--ops" => options.ops = Some(number(value()?)?),
            "--seed" => options.seed = number(value()?)?,
            "--workers" => {
                options.workers = number(value()?)?.clamp(1, MAX_WORKERS as u64) as usize
            }
            "--processes" => options.processes = number(value()?)?.max(1) as usize,
            "--check" => options.check = number(value()?)?.max(1),
            "--device" => device = Some(value()?),
            "--second" => second = Some(value()?),
            "--memory" => {
                let text = value()?;
                options.memory = Memory::parse(&text).ok_or(format!("--memory {text}"))?;
            }
            "--align" => options.align = number(value()?)?,
            "--patience" => options.patience = Duration::from_secs(number(value()?)?),
            "--shrink" => options.shrink = Duration::from_secs(number(value()?)?),
            "--cycles" => options.cycles = number(value()?)?,
            "--calls" => options.calls = number(value()?)?,
            "--guided" => options.guided = Some(value()?.into()),
            "--part" => options.part = true,
            "--whole" => options.whole = true,
            "--verbose" => options.verbose = true,
            "--replay" => {
                let text = value()?;
                let part = parse_replay(&text).ok_or(format!("--replay {text}"))?;
                options.replay.push(part);
            }
            _ => return Err(format!("{name}?\n{USAGE}")),
        }
    }
    if (device.is_none() || second.is_none()) && !in_qemu() {
        return Err("not in QEMU: name what to overwrite, by --device and --second".into());
    }
    options.device = device.unwrap_or(options.device);
    options.second = second.unwrap_or(options.second);
    options.processes = options.processes.min(options.workers);
    if !device::is_dax(&options.device)
        && (options.memory.has_pages() || options.align != layout::PAGE)
    {
        return Err("only a device of the dax bus has pages".into());
    }
    if ![layout::PAGE, layout::CHUNK].contains(&options.align) {
        return Err(format!("--align {}", options.align));
    }
    let is_dax = [&options.device, &options.second]
        .iter()
        .any(|name| device::is_dax(name));
    sys::WITHOUT_MAP_SYNC.store(is_dax, Ordering::SeqCst);
    Ok(options)
}

fn in_qemu() -> bool {
    std::fs::read_to_string("/sys/class/dmi/id/sys_vendor")
        .is_ok_and(|vendor| vendor.starts_with("QEMU"))
}

fn plan(options: &Options) -> Plan {
    let each = options
        .ops
        .map_or(u64::MAX >> 8, |ops| ops.div_ceil(options.workers as u64));
    let all = (0..options.workers)
        .map(|worker| (worker, Part::Span(0, each)))
        .collect();
    let parts = if options.replay.is_empty() {
        all
    } else {
        options.replay.clone()
    };
    let ends = options.ops.is_some() || !options.replay.is_empty();
    Plan {
        seed: options.seed,
        workers: options.workers,
        parts,
        time: (!ends).then_some(Duration::from_secs(options.time)),
        verbose: options.verbose,
    }
}

fn oracle(options: &Options) -> Result<bool, String> {
    device::load_module(&device::forced(&[&options.device, &options.second]))?;
    let control = Control::new();
    let plan = plan(options);
    println!(
        "# oracle: --seed {} --workers {} --processes {}",
        options.seed, options.workers, options.processes
    );
    let outcome = oracle::run(&plan, options, control)?;
    for line in oracle::summary(control, &outcome) {
        println!("# {line}");
    }
    if let Some(failure) = &outcome.failure {
        println!(
            "# FAILED: worker {} at its operation {}: {}",
            failure.worker, failure.index, failure.text
        );
        if !failure.stuck && options.replay.is_empty() {
            shrink::shrink(&plan, options, control, failure);
        }
        return Ok(false);
    }
    let missing = oracle::missing(&outcome.before, &outcome.after, control);
    for line in coverage::report(&outcome.before, &outcome.after, control).0 {
        println!("# {line}");
    }
    if !missing.is_empty() && options.replay.is_empty() {
        println!("# not seen: {}", missing.join(", "));
        return Ok(options.part && (!options.memory.has_pages() || oracle::has_pinned(control)));
    }
    Ok(true)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let result = match command.as_str() {
        "oracle" => parse(args).and_then(|options| oracle(&options)),
        "fuzz" => parse(args).and_then(|options| fuzz::fuzz(&options, options.calls)),
        "lifecycle" => {
            parse(args).and_then(|options| lifecycle::lifecycle(&options, options.cycles))
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("rdax-torture: {text}");
            ExitCode::from(2)
        }
    }
}
