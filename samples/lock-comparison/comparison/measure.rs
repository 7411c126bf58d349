// SPDX-License-Identifier: GPL-2.0

//! The measurements.

use super::{
    entry_bit::EntryBit,
    hashed::{
        Hashed,
        HashedAll,
        HashedIndex,
        HashedPmd, //
    },
    mapping_wide::{
        MappingMutex,
        MappingRead,
        MappingWrite, //
    },
    numa::{
        NumaCpu,
        NumaMemory, //
    },
    range::Range,
    request::{
        Measure,
        Request, //
    },
    rounds,
    scheme::{
        Excludes,
        Scheme, //
    },
    steps::{
        self,
        Steps, //
    },
    unlocked::Unlocked, //
};
use crate::kernel_ext::{
    slab,
    units::PageOffset, //
};
use core::hint::black_box;
use kernel::{
    prelude::*,
    str::CString,
    time::{
        Instant,
        Monotonic, //
    },
};

/// A scheme, and how it is measured.
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) excludes: Excludes,
    run: fn(&Request) -> Result<CString>,
    begin: fn() -> Result<KBox<dyn Steps>>,
}

impl Candidate {
    /// Makes a mapping to lock pages of, one at a time. Errors: `ENOMEM`.
    pub(crate) fn begin(&self) -> Result<KBox<dyn Steps>> {
        (self.begin)()
    }
}

const fn candidate<S: Scheme + 'static>() -> Candidate {
    Candidate {
        name: S::NAME,
        excludes: S::EXCLUDES,
        run: run_scheme::<S>,
        begin: steps::begin::<S>,
    }
}

/// All schemes.
pub(crate) static SCHEMES: [Candidate; 12] = [
    candidate::<Unlocked>(),
    candidate::<MappingMutex>(),
    candidate::<MappingWrite>(),
    candidate::<MappingRead>(),
    candidate::<Range>(),
    candidate::<Hashed>(),
    candidate::<HashedPmd>(),
    candidate::<HashedAll>(),
    candidate::<HashedIndex>(),
    candidate::<NumaCpu>(),
    candidate::<NumaMemory>(),
    candidate::<EntryBit>(),
];

/// The scheme that is called `name`. Errors: `ENOENT`.
pub(crate) fn named(name: &[u8]) -> Result<&'static Candidate> {
    let mut schemes = SCHEMES.iter();
    schemes
        .find(|candidate| candidate.name.as_bytes() == name)
        .ok_or(ENOENT)
}

/// Measures what is asked for; returns a line of what was found.
///
/// Errors: `ENOENT` when there is no such scheme; those of the measurement.
pub(crate) fn run(request: &Request) -> Result<CString> {
    if request.measure == Measure::Work {
        return work(request);
    }
    (named(request.scheme())?.run)(request)
}

fn run_scheme<S: Scheme>(request: &Request) -> Result<CString> {
    match request.measure {
        Measure::Pairs => pairs::<S>(request),
        Measure::Memory => memory::<S>(request),
        Measure::Work => Err(EINVAL),
        Measure::Throughput => rounds::run::<S>(request),
    }
}

/// How long `f` takes, in nanoseconds. With QEMU's `-icount shift=0` that is in instructions.
fn time(f: impl FnOnce() -> Result) -> Result<i64> {
    let begun = Instant::<Monotonic>::now();
    f()?;
    Ok(begun.elapsed().as_nanos())
}

/// Locks and unlocks `count` ranges, one behind the other.
fn each_once<S: Scheme>(scheme: &S, request: &Request) -> Result {
    let pages = request.order.pages().get();
    for number in 0..request.count {
        let pgoff = PageOffset::new(black_box(number * pages));
        scheme.with(pgoff, request.order, |_| {
            black_box(());
        })?;
    }
    Ok(())
}

fn pairs<S: Scheme>(request: &Request) -> Result<CString> {
    let scheme = KBox::pin_init(S::new(), GFP_KERNEL)?;
    let first = time(|| each_once(&*scheme, request))?;
    let again = time(|| each_once(&*scheme, request))?;
    let empty = time(|| {
        let pages = request.order.pages().get();
        for number in 0..request.count {
            black_box(number * pages);
        }
        Ok(())
    })?;
    CString::try_from_fmt(fmt!(
        "scheme={} count={} first={first} again={again} empty={empty}",
        S::NAME,
        request.count
    ))
}

fn memory<S: Scheme>(request: &Request) -> Result<CString> {
    let scheme = KBox::pin_init(S::new(), GFP_KERNEL)?;
    let footprint = scheme.footprint();
    let before = slab::bytes();
    each_once(&*scheme, request)?;
    let left = slab::bytes().saturating_sub(before);
    CString::try_from_fmt(fmt!(
        "scheme={} count={} mapping={} shared={} left={left}",
        S::NAME,
        request.count,
        footprint.mapping,
        footprint.shared
    ))
}

/// `rounds` times next to nothing, a few instructions each.
pub(crate) fn work_for(rounds: u32) {
    for round in 0..rounds {
        black_box(round);
    }
}

fn work(request: &Request) -> Result<CString> {
    let begun = Instant::<Monotonic>::now();
    for _ in 0..request.count {
        work_for(black_box(request.inside));
    }
    let ns = begun.elapsed().as_nanos();
    CString::try_from_fmt(fmt!(
        "count={} inside={} ns={ns}",
        request.count,
        request.inside
    ))
}
