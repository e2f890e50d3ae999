//! The grid of a chart, and what a step may be.

use super::*;
use crate::params::{DAY, HOUR, SECOND};

const NOW: i64 = 1_795_443_360_000;

fn question(hours: i64, resolution: Resolution) -> Question {
    let range = Range { from: NOW - hours * HOUR, to: NOW };
    Question { server: "a".into(), metrics: Vec::new(), range, resolution, format: Format::Json }
}

#[test]
fn a_width_gives_way_to_many_series_and_a_step_does_not() {
    let steps = |hours, series| {
        grid(&question(hours, Resolution::Width(600)), series, 1_000_000).map(|g| g.step / SECOND).ok()
    };
    assert_eq!(steps(1, 400), Some(10));
    assert_eq!(steps(6, 400), Some(120));
    assert_eq!(steps(6, 30), Some(20));
    assert_eq!(steps(7 * 24, 20), Some(600));
    let asked = grid(&question(6, Resolution::Step(10_000)), 400, 1_000_000);
    assert!(matches!(asked, Err(Failure::Problem(problem)) if problem.code() == "bad_parameter"));
}

#[test]
fn a_step_is_made_of_whole_windows() {
    let read = |query: &str| {
        Params::parse(Some(query), &Question::KNOWN).and_then(|p| Question::read(&p, Format::Json, NOW))
    };
    assert_eq!(read("server=a&step=120000").expect("good").resolution, Resolution::Step(120_000));
    for bad in [
        "",
        "server=",
        "server=a&step=15000",
        "server=a&step=70000",
        "server=a&step=10000&width=9",
        "server=a&width=1",
    ] {
        assert_eq!(read(bad).expect_err(bad).status().as_u16(), 400, "{bad}");
    }
    assert!(read(&format!("server=a&step={DAY}")).is_ok());
}
