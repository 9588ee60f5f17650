//! What was measured, as rows of a Markdown table: what, median, p99, and what else there is to say.

use std::time::Duration;

use crate::options::Options;
use crate::sample::Sample;
use crate::transaction::Crowd;

/// One row.
pub(crate) fn row(cells: [&str; 4]) {
    let [what, median, p99, more] = cells;
    println!("| {what} | {median} | {p99} | {more} |");
}

/// Each stack beside the first.
pub(crate) fn compare(what: &str, options: &Options, samples: &[Sample]) {
    row([&format!("**{what}**"), "median", "p99", "added, median"]);
    let base = samples.first().map(Sample::median);
    for (at, (stack, sample)) in options.stacks.iter().zip(samples).enumerate() {
        let added = match base {
            Some(base) if at > 0 => {
                format!("{:+.0} µs", micros(sample.median()) - micros(base))
            }
            _ => String::new(),
        };
        row([
            &stack.name,
            &format!("{:.0} µs", micros(sample.median())),
            &format!("{:.0} µs", micros(sample.p99())),
            &added,
        ]);
    }
}

/// Many at once.
pub(crate) fn crowds(options: &Options, crowds: &[Crowd]) {
    row([
        &format!(
            "**{} new processes at once, one check each**",
            options.concurrent
        ),
        "median",
        "p99",
        "all answered after",
    ]);
    for (stack, crowd) in options.stacks.iter().zip(crowds) {
        let millis = |time| format!("{:.1} ms", micros(time) / 1000.0);
        row([
            &stack.name,
            &millis(crowd.sample.median()),
            &millis(crowd.sample.p99()),
            &millis(crowd.whole),
        ]);
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
