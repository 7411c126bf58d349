// SPDX-License-Identifier: GPL-2.0

//! The comparison.

#![deny(unsafe_code)]

mod counter;
mod entry_bit;
mod hashed;
mod mapping_wide;
mod measure;
mod numa;
mod range;
mod request;
mod rounds;
pub(crate) mod scheme;
mod steps;
mod unlocked;

use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::Mutex,
    uaccess::UserSliceReader, //
};
use measure::SCHEMES;
use request::{
    Request,
    Step, //
};
use steps::Steps;

/// The module: three files in debugfs.
#[pin_data]
pub(crate) struct Module {
    dir: Dir,
    #[pin]
    run: File<Mutex<Option<CString>>>,
    #[pin]
    step: File<Mutex<Option<KBox<dyn Steps>>>>,
    #[pin]
    schemes: File<()>,
}

impl kernel::InPlaceModule for Module {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            dir: Dir::new(c"lock_comparison"),
            run <- dir.read_write_callback_file(
                c"run",
                new_mutex!(None),
                &show_result,
                &measure,
            ),
            step <- dir.write_callback_file(c"step", new_mutex!(None), &take_step),
            schemes <- dir.read_callback_file(c"schemes", (), &show_schemes),
        })
    }
}

/// Calls `f` with the line that is written. Errors: `E2BIG`, `EFAULT`; those of `f`.
fn with_line(reader: &mut UserSliceReader, f: impl FnOnce(&[u8]) -> Result) -> Result {
    let mut text = [0; request::MAX_LEN];
    let text = text.get_mut(..reader.len()).ok_or(E2BIG)?;
    reader.read_slice(text)?;
    f(text)
}

/// Measures what is asked for, one at a time. The result can be read when this has returned.
fn measure(result: &Mutex<Option<CString>>, reader: &mut UserSliceReader) -> Result {
    with_line(reader, |line| {
        let request = Request::parse(line)?;
        let mut result = result.lock();
        *result = None;
        *result = Some(measure::run(&request)?);
        Ok(())
    })
}

/// Locks and unlocks a page, in the task that asks for it, one at a time.
fn take_step(mapping: &Mutex<Option<KBox<dyn Steps>>>, reader: &mut UserSliceReader) -> Result {
    with_line(reader, |line| {
        let step = Step::parse(line)?;
        steps::run(&mut mapping.lock(), &step)
    })
}

fn show_result(result: &Mutex<Option<CString>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match result.lock().as_deref().map(CStr::to_str) {
        Some(Ok(text)) => writeln!(f, "{text}"),
        _ => Ok(()),
    }
}

/// A line for each scheme: its name, and against whom it is said to exclude.
fn show_schemes(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for scheme in &SCHEMES {
        let excludes = &scheme.excludes;
        writeln!(
            f,
            "scheme={} faults={} sizes={} nodes={}",
            scheme.name,
            u8::from(excludes.faults),
            u8::from(excludes.sizes),
            u8::from(excludes.nodes)
        )?;
    }
    Ok(())
}
