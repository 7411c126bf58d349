// SPDX-License-Identifier: GPL-2.0

//! Bind and unbind, load and unload, create and destroy, while others fault, read, write and sync.
//!
//! A user knows what it stored last in each of its words: a store that raised no signal, and a write
//! that was not refused, is there after the next bind.

use crate::{
    device::{self, Device},
    dice::Dice,
    layout::PAGE,
    shareable,
    sys::{self, Ended, Map, MapHow, Signal},
    Options,
};
use std::{
    fs::File,
    io::Error,
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

const USERS: usize = 4;
const WORDS: usize = 48;
/// Behind what ndctl writes at the head of a namespace.
const START: u64 = 8 << 20;
const STEP: u64 = 3 * PAGE;
const TEXT: usize = 256;

shareable! {
    pub struct User {
        /// Rounds: an open, a map, some accesses.
        pub rounds: AtomicU64,
        pub accesses: AtomicU64,
        /// Accesses that found the device gone.
        pub gone: AtomicU64,
        pub paused: AtomicU64,
        pub failed: AtomicU64,
        pub text: [AtomicU32; TEXT],
    }
}

shareable! {
    pub struct Stage {
        pub stop: AtomicU64,
        pub pause: AtomicU64,
        pub users: [User; USERS],
    }
}

/// A word of a user: what it must be; 0 is allowed too after a punch that was refused half-way.
#[derive(Clone, Copy, Default)]
struct Word {
    value: u64,
    maybe_zero: bool,
}

fn errno(error: &Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn said(what: &str, errno: i32) -> String {
    format!("{what}: {}", Error::from_raw_os_error(errno))
}

struct Session<'a> {
    me: usize,
    file: File,
    map: Map,
    words: &'a mut [Word; WORDS],
    user: &'a User,
}

impl Session<'_> {
    fn place(&self, n: usize) -> u64 {
        (n * USERS + self.me) as u64 * STEP + 8 * self.me as u64
    }

    /// One access. Ok(false): the device has gone.
    fn step(&mut self, dice: &mut Dice) -> Result<bool, String> {
        let n = dice.below(WORDS as u64) as usize;
        let place = self.place(n);
        let value = dice.next() | 1;
        self.user.accesses.fetch_add(1, SeqCst);
        match dice.below(16) {
            0..6 => match self.map.store(place as usize, value) {
                Ok(()) => self.set(n, value),
                Err(Signal::Bus) => return Ok(false),
                Err(other) => return Err(format!("store: {other:?}")),
            },
            6..11 => match self.map.load(place as usize) {
                Ok(got) => self.check(n, got, "load")?,
                Err(Signal::Bus) => return Ok(false),
                Err(other) => return Err(format!("load: {other:?}")),
            },
            11 => {
                let mut word = [0; 8];
                match self.file.read_at(&mut word, START + place) {
                    Ok(8) => self.check(n, u64::from_le_bytes(word), "pread")?,
                    Err(e) if errno(&e) == libc::ENXIO => return Ok(false),
                    other => return Err(format!("pread: {other:?}")),
                }
            }
            12 => match self.file.write_at(&value.to_le_bytes(), START + place) {
                Ok(8) => self.set(n, value),
                Err(e) if errno(&e) == libc::ENXIO => return Ok(false),
                other => return Err(format!("pwrite: {other:?}")),
            },
            13 => match self.file.sync_all() {
                Ok(()) => {}
                Err(e) if errno(&e) == libc::ENXIO => return Ok(false),
                Err(e) => return Err(format!("fsync: {e}")),
            },
            14 => match self.map.sync(0, self.map.len(), true) {
                Ok(()) => {}
                Err(libc::ENXIO) => return Ok(false),
                Err(e) => return Err(said("msync", e)),
            },
            _ => {
                // The whole page: nobody else has anything in it.
                let page = (START + place) / PAGE * PAGE;
                match device::punch(&self.file, device::PUNCH, page, PAGE) {
                    Ok(()) => self.set(n, 0),
                    Err(libc::ENXIO) => {
                        self.words[n].maybe_zero = true;
                        return Ok(false);
                    }
                    Err(e) => return Err(said("punch", e)),
                }
            }
        }
        Ok(true)
    }

    fn set(&mut self, n: usize, value: u64) {
        self.words[n] = Word {
            value,
            maybe_zero: false,
        };
    }

    fn check(&mut self, n: usize, got: u64, how: &str) -> Result<(), String> {
        let word = self.words[n];
        if got == word.value || (got == 0 && word.maybe_zero) {
            self.set(n, got);
            return Ok(());
        }
        Err(format!(
            "{how} of word {n} at {:#x}: {got:#x}, must be {:#x}",
            START + self.place(n),
            word.value
        ))
    }

    /// Calls find it gone before the mappings are torn down; then it is gone for both, until it is
    /// opened again.
    fn is_gone(&self, patience: Duration) -> Result<(), String> {
        let begun = Instant::now();
        while self.map.load(0).is_ok() {
            if begun.elapsed() > patience {
                return Err("gone, and still mapped".into());
            }
            thread::sleep(Duration::from_micros(100));
        }
        match self.file.read_at(&mut [0], START) {
            Err(e) if errno(&e) == libc::ENXIO => Ok(()),
            other => Err(format!("gone, and pread gives {other:?}")),
        }
    }
}

fn session(
    me: usize,
    namespace: &str,
    words: &mut [Word; WORDS],
    stage: &'static Stage,
    dice: &mut Dice,
    patience: Duration,
) -> Result<(), String> {
    let user = &stage.users[me];
    let Some(device) = Device::of(namespace) else {
        return Ok(());
    };
    // Between the look and the open it may go, and its number be another's: there is none.
    let file = match device.open(true) {
        Ok(file) => file,
        Err(libc::ENOENT | libc::ENXIO | libc::ENODEV) => return Ok(()),
        Err(e) => return Err(said("open", e)),
    };
    // A device of the dax bus is mapped in whole units of its alignment, 2 MiB.
    let len = ((WORDS * USERS) as u64 * STEP).next_multiple_of(2 << 20);
    let how = MapHow {
        write: true,
        sync: dice.one_in(2),
        place: None,
    };
    let map = match Map::new(file.as_fd(), START, len as usize, how) {
        Ok(map) => map,
        Err(libc::ENXIO) => return Ok(()),
        Err(e) => return Err(said("mmap", e)),
    };
    if dice.one_in(2) {
        map.advise(libc::MADV_NOHUGEPAGE)
            .map_err(|e| said("madvise", e))?;
    }
    user.rounds.fetch_add(1, SeqCst);
    let mut session = Session {
        me,
        file,
        map,
        words,
        user,
    };
    while stage.stop.load(SeqCst) == 0 && stage.pause.load(SeqCst) == 0 {
        if !session.step(dice)? {
            user.gone.fetch_add(1, SeqCst);
            return session.is_gone(patience);
        }
    }
    Ok(())
}

fn use_it(me: usize, options: &Options, stage: &'static Stage) -> Result<(), String> {
    sys::handle_signals();
    let mut words = [Word::default(); WORDS];
    let mut dice = Dice::new(options.seed, me, 0);
    while stage.stop.load(SeqCst) == 0 {
        let pause = stage.pause.load(SeqCst);
        if pause != 0 {
            stage.users[me].paused.store(pause, SeqCst);
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        session(
            me,
            &options.second,
            &mut words,
            stage,
            &mut dice,
            options.patience,
        )?;
        thread::sleep(Duration::from_micros(dice.below(1000)));
    }
    Ok(())
}

/// All users have closed what they had open, until [`go_on`].
fn pause(stage: &Stage, turn: u64, patience: Duration) -> Result<(), String> {
    stage.pause.store(turn, SeqCst);
    let begun = Instant::now();
    while stage
        .users
        .iter()
        .any(|user| user.paused.load(SeqCst) != turn)
    {
        if begun.elapsed() > patience || failure(stage).is_some() {
            return Err(failure(stage).unwrap_or("a user does not come back".into()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn go_on(stage: &Stage) {
    stage.pause.store(0, SeqCst);
}

fn failure(stage: &Stage) -> Option<String> {
    stage
        .users
        .iter()
        .enumerate()
        .find(|(_, user)| user.failed.load(SeqCst) == 2)
        .map(|(n, user)| {
            let text: String = user
                .text
                .iter()
                .map_while(|c| char::from_u32(c.load(SeqCst)).filter(|c| *c != '\0'))
                .collect();
            format!("user {n}: {text}")
        })
}

fn ndctl(args: &[&str]) -> Result<(), String> {
    let out = Command::new("ndctl")
        .args(args)
        .output()
        .map_err(|e| format!("ndctl: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!(
        "ndctl {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&out.stderr)
    ))
}

/// Binds it, if it is not bound, wherever it is.
fn bind(namespace: &str) -> Result<(), String> {
    if device::is_bound(namespace) {
        return Ok(());
    }
    // Another driver may have it.
    let (bus, other) = if device::is_dax(namespace) {
        ("dax", "device_dax")
    } else {
        ("nd", "nd_pmem")
    };
    let _ = device::write_text(format!("/sys/bus/{bus}/drivers/{other}/unbind"), namespace);
    device::bind(namespace).map_err(|e| said("bind", e))
}

/// Given to another driver, with a file of ours open, and back. Users are paused: a file that is
/// opened meanwhile is the other driver's.
fn lend(dax: &str) -> Result<(), String> {
    let driver = "/sys/bus/dax/drivers/device_dax";
    bind(dax)?;
    let device = Device::of(dax).ok_or("bound, but there is no device")?;
    let _ours = device.open(true).map_err(|e| said("open", e))?;
    device::unbind(dax).map_err(|e| said("unbind", e))?;
    device::write_text("/sys/bus/dax/drivers/rdax/remove_id", dax)
        .and_then(|()| device::write_text(format!("{driver}/new_id"), dax))
        .map_err(|e| said("new_id of device_dax", e))?;
    if !Path::new(driver).join(dax).exists() {
        return Err("device_dax does not take it".into());
    }
    device::write_text(format!("{driver}/unbind"), dax)
        .and_then(|()| device::write_text(format!("{driver}/remove_id"), dax))
        .map_err(|e| said("unbind of device_dax", e))?;
    bind(dax)
}

/// A namespace of another mode in its place, and one for us again.
fn recreate(namespace: &str) -> Result<(), String> {
    ndctl(&[
        "create-namespace",
        "-f",
        "-e",
        namespace,
        "-m",
        "fsdax",
        "-M",
        "mem",
    ])?;
    if device::is_bound(namespace) {
        return Err("bound, though it is fsdax".into());
    }
    ndctl(&["destroy-namespace", "-f", namespace])?;
    ndctl(&["create-namespace", "-f", "-e", namespace, "-m", "raw"])?;
    bind(namespace)
}

pub fn lifecycle(options: &Options, cycles: u64) -> Result<bool, String> {
    let namespace = &options.second;
    let force = device::forced(&[&options.device, namespace]);
    device::load_module(&force)?;
    bind(namespace)?;
    let device = Device::of(namespace).ok_or("bound, but there is no device")?;
    let file = device.open(true).map_err(|e| said("open", e))?;
    device::punch(&file, device::ZERO, START, (WORDS * USERS) as u64 * STEP)
        .map_err(|e| said("zero", e))?;
    drop(file);
    println!("# lifecycle: --seed {} --cycles {cycles}", options.seed);
    let stage: &'static Stage = sys::share();
    let mut children = Vec::new();
    for me in 0..USERS {
        let pid = sys::fork().map_err(|e| said("fork", e))?;
        if pid == 0 {
            let user = &stage.users[me];
            let result = use_it(me, options, stage);
            if let Err(text) = &result {
                for (to, from) in user.text.iter().zip(text.chars()) {
                    to.store(from as u32, SeqCst);
                }
                user.failed.store(2, SeqCst);
            }
            sys::exit_now(i32::from(result.is_err()));
        }
        children.push(pid);
    }
    let begun = Instant::now();
    let result = cycle(options, cycles, stage, &force);
    stage.stop.store(1, SeqCst);
    let mut ends = Ok(());
    for pid in children {
        let waited = Instant::now();
        let ended = loop {
            match sys::wait(pid, false) {
                Some(ended) => break Some(ended),
                None if waited.elapsed() > options.patience => break None,
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        if ended != Some(Ended::Exit(0)) {
            ends = Err(format!("a user ended with {ended:?}"));
        }
    }
    let sum = |of: fn(&User) -> &AtomicU64| -> u64 {
        stage.users.iter().map(|u| of(u).load(SeqCst)).sum()
    };
    let (gone, accesses) = (sum(|u| &u.gone), sum(|u| &u.accesses));
    println!(
        "# {:.0} s; {} sessions of {USERS} users, {accesses} accesses, {gone} met the end of the device",
        begun.elapsed().as_secs_f64(),
        sum(|u| &u.rounds),
    );
    if let Some(text) = failure(stage) {
        println!("# FAILED: {text}");
        return Ok(false);
    }
    if let Err(text) = result.and(ends) {
        println!("# FAILED: {text}");
        return Ok(false);
    }
    if gone == 0 {
        println!("# FAILED: no user was in the middle of anything");
    }
    Ok(gone > 0)
}

fn cycle(options: &Options, cycles: u64, stage: &'static Stage, force: &str) -> Result<(), String> {
    let namespace = &options.second;
    let mut dice = Dice::new(options.seed, USERS, 0);
    let (mut loads, mut refused, mut recreated) = (0, 0, 0);
    let mut told = Instant::now();
    for n in 1..=cycles {
        if let Some(text) = failure(stage) {
            return Err(text);
        }
        if told.elapsed() > Duration::from_secs(10) {
            eprintln!("# {n} of {cycles} cycles");
            told = Instant::now();
        }
        device::unbind(namespace).map_err(|e| said("unbind", e))?;
        if n % 25 == 0 {
            // In use or not: it is refused, or it goes.
            match sys::unload("rdax") {
                Ok(()) => loads += 1,
                Err(libc::EAGAIN | libc::EBUSY) => refused += 1,
                Err(e) => return Err(said("rmmod", e)),
            }
            pause(stage, n, options.patience)?;
            if !device::is_loaded() {
                device::load_module(force)?;
            }
            for _ in 0..3 {
                sys::unload("rdax").map_err(|e| said("rmmod of what nobody uses", e))?;
                device::load_module(force)?;
                loads += 1;
            }
            if device::is_dax(namespace) {
                lend(namespace)?;
                recreated += 1;
                device::unbind(namespace).map_err(|e| said("unbind", e))?;
            }
            go_on(stage);
        }
        thread::sleep(Duration::from_micros(dice.below(2000)));
        bind(namespace)?;
        thread::sleep(Duration::from_micros(dice.below(8000)));
        if n % 100 == 0 && !device::is_dax(namespace) {
            recreate(namespace)?;
            recreated += 1;
        }
    }
    println!("# {cycles} cycles; {loads} unloads and loads, {refused} refused; made anew, or lent to another driver, {recreated} times");
    Ok(())
}
