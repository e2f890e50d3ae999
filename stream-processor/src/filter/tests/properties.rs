//! What holds of any rules: the plan equals the second opinion, servers of one class have one plan, and no text panics.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    naive::{Edit, Pattern, Step, Test, Tree, When, interpret},
    *,
};

const METRICS: [&str; 6] = ["cpu_a", "cpu_b", "mem_a", "mem_b", "net_total", "cpu_total"];
const LABELS: [&str; 3] = ["dev", "mode", "zone"];
const VALUES: [&str; 4] = ["x", "y", "xy", ""];

fn test(
    texts: &'static [&'static str],
    starts: &'static [&'static str],
    ends: &'static [&'static str],
) -> impl Strategy<Value = Test> {
    let pattern = prop_oneof![
        3 => select(texts).prop_map(Pattern::Is),
        2 => select(starts).prop_map(Pattern::Starts),
        1 => select(ends).prop_map(Pattern::Ends),
        1 => [select(texts), select(texts)].prop_map(Pattern::OneOf),
    ];
    (prop::bool::weighted(0.2), pattern).prop_map(|(not, pattern)| Test { not, pattern })
}

fn metric() -> impl Strategy<Value = Test> {
    test(&METRICS, &["cpu_", "mem_", "c"], &["_a", "_total"])
}

fn server() -> impl Strategy<Value = Option<Test>> {
    option::weighted(0.2, test(&["web-1", "db-1"], &["web-"], &["-1", "-2"]))
}

fn labels() -> impl Strategy<Value = Vec<(&'static str, Test)>> {
    vec((select(&LABELS[..]), test(&VALUES, &["x", "y"], &["y", "x"])), 0..2)
}

fn when(metric: impl Strategy<Value = Option<Test>>) -> impl Strategy<Value = When> {
    (metric, labels(), server()).prop_map(|(metric, labels, server)| When {
        metric,
        labels: labels.into_iter().collect(),
        server,
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        select(&[0.5, 1.0, 2.0, 100.0][..]).prop_map(Tree::Number),
        (0..2_usize).prop_map(Tree::Operand),
    ];
    let tree =
        leaf.prop_recursive(3, 8, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|tree| Tree::Negative(tree.into())),
                (select(&['+', '-', '*', '/'][..]), inner.clone(), inner)
                    .prop_map(|(sign, a, b)| Tree::Both(sign, a.into(), b.into())),
            ]
        });
    // every operand has to be used
    (tree, select(&['+', '-', '*', '/'][..])).prop_map(|(tree, sign)| {
        let both = Tree::Both(sign, Tree::Operand(0).into(), Tree::Operand(1).into());
        Tree::Both('-', tree.into(), both.into())
    })
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        Just(Edit::Swap("dev", "mode")),
        select(&LABELS[..]).prop_map(Edit::Remove),
        Just(Edit::Set("zone", "z")),
        Just(Edit::Set("dev", "x")),
        Just(Edit::CopyMetric("mode")),
    ];
    prop::collection::btree_set(edit, 1..4).prop_map(|edits| edits.into_iter().collect())
}

fn step() -> impl Strategy<Value = Step> {
    let some = || when(metric().prop_map(Some));
    let any = || when(option::weighted(0.7, metric()));
    let names = select(&["cpu_", "mem_x", "cpu_a", "new"][..]);
    let derived = select(&["cpu_a", "ratio", "mem_r"][..]);
    prop_oneof![
        2 => some().prop_map(Step::Drop),
        1 => some().prop_map(Step::Keep),
        3 => (some(), names).prop_map(|(when, to)| Step::Rename(when, to)),
        3 => (any(), edits()).prop_map(|(when, edits)| Step::Relabel(when, edits)),
        2 => (some(), select(&[2.0, 0.5, -4.0][..]), select(&[0.0, 0.0, 1.0, -2.0][..]))
            .prop_map(|(when, factor, offset)| Step::Scale(when, factor, offset)),
        3 => (derived, option::of(prop::sample::subsequence(&LABELS[..], 0..3)), [some(), some()], tree())
            .prop_map(|(name, by, operands, tree)| Step::Derive { name, by, operands, tree }),
    ]
}

fn frame() -> impl Strategy<Value = Vec<(Series, f64)>> {
    let value = prop_oneof![
        8 => (-16..16_i32).prop_map(|halves| f64::from(halves) / 2.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
    ];
    let labels = vec((select(&LABELS[..]), select(&VALUES[..3])), 0..3);
    let one = (select(&METRICS[..]), labels, value).prop_map(|(metric, labels, value)| {
        let series =
            labels.into_iter().fold(series(metric), |series, (name, value)| series.with(name, value));
        (series, value)
    });
    vec(one, 0..12)
}

fn servers() -> impl Strategy<Value = &'static str> {
    select(&["web-1", "web-2", "db-1", "db-2", "other"][..])
}

fn rules(steps: &[Step]) -> String {
    format!("rules:\n{}", steps.iter().map(Step::yaml).collect::<String>())
}

fn layout(frame: &[(Series, f64)]) -> (Vec<Series>, Vec<f64>) {
    frame.iter().cloned().unzip()
}

/// Applies it as well, as whoever gets a plan does.
fn use_it(filter: &Filter) {
    let layout = ["cpu_a{dev=x}", "mem_a", "node_memory_MemTotal_bytes", "app_x_ms{pod=a-b-c}"].map(series);
    let plan = filter.plan("web-1", &layout);
    let mut out = Vec::new();
    plan.apply(&[1.0, 2.0, 3.0], &mut out);
    assert_eq!(out.len(), plan.series.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_does_what_the_rules_say_to_each_sample(
        steps in vec(step(), 1..8), frame in frame(), server in servers(),
    ) {
        let text = rules(&steps);
        let filter = filter(&text);
        let (layout, values) = layout(&frame);
        let plan = filter.plan(server, &layout);
        prop_assume!(!plan.refused.iter().any(|refused| refused.message.contains("too long")));
        let mut out = Vec::new();
        plan.apply(&values, &mut out);
        let wanted = interpret(&steps, server, &frame);
        let (series, values) = super::properties::layout(&wanted.samples);
        prop_assert_eq!(&plan.series, &series, "{}", text);
        for ((got, wanted), series) in out.iter().zip(&values).zip(&series) {
            prop_assert!(got == wanted || (got.is_nan() && wanted.is_nan()), "{text}{series:?} {got} {wanted}");
        }
        prop_assert_eq!((plan.dropped, plan.refused_total), (wanted.dropped, wanted.refused), "{}", text);
    }

    #[test]
    fn servers_of_one_class_have_one_plan(
        steps in vec(step(), 1..8), frame in frame(), a in servers(), b in servers(),
    ) {
        let filter = filter(&rules(&steps));
        let (layout, _) = layout(&frame);
        if filter.class(a) == filter.class(b) {
            prop_assert_eq!(filter.plan(a, &layout), filter.plan(b, &layout));
        }
    }

    #[test]
    fn a_filter_read_again_from_its_text_is_the_same(steps in vec(step(), 1..4), frame in frame()) {
        let one = filter(&rules(&steps));
        let again = filter(one.text());
        let (layout, _) = layout(&frame);
        prop_assert_eq!(one.fingerprint(), again.fingerprint());
        prop_assert_eq!(one.plan("web-1", &layout), again.plan("web-1", &layout));
    }

    #[test]
    fn the_identity_is_the_identity(frame in frame(), server in servers()) {
        let (layout, values) = layout(&frame);
        let plan = Filter::none().plan(server, &layout);
        let mut out = Vec::new();
        plan.apply(&values, &mut out);
        prop_assert!(plan.is_identity(&layout));
        prop_assert!(out.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()) && out.len() == values.len());
    }

    #[test]
    fn a_glob_and_its_regex_agree(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
        let matcher = |pattern: &str| Matcher::parse(pattern).unwrap();
        let regex = matcher(&format!("/{}/", glob.replace('*', ".*")));
        prop_assert_eq!(matcher(&glob).is_match(&text), regex.is_match(&text), "{} {}", glob, text);
        prop_assert_eq!(matcher(&format!("!{glob}")).is_match(&text), !regex.is_match(&text));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), body in "[-a-z:{}\\[\\]'\"*!&/$() \n#0-9.]{0,200}") {
        for text in [text, body.clone(), format!("rules:\n  - {body}")] {
            match Filter::parse(&text) {
                Ok(filter) => use_it(&filter),
                Err(error) => prop_assert!(error.line >= 1 && !error.to_string().contains('\n'), "{}", error),
            }
        }
    }

    #[test]
    fn no_change_of_a_good_file_panics(
        changes in vec((any::<prop::sample::Index>(), 0..20_usize, "[-a-z:{}*!&/$() \n'0-9]{0,3}"), 1..4),
    ) {
        let mut text = EXAMPLE.to_owned();
        for (at, cut, fresh) in changes {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.replace_range(at..end, &fresh);
        }
        match Filter::parse(&text) {
            Ok(filter) => use_it(&filter),
            Err(error) => {
                let lines = text.lines().count() as u64 + 1;
                prop_assert!((1..=lines).contains(&error.line) && !error.to_string().contains('\n'), "{}", error);
            }
        }
    }

    #[test]
    fn no_formula_panics(text in "[-+*/()ab0-9.e ]{0,60}", a in any::<f64>(), b in any::<f64>()) {
        if let Ok(expr) = formula::parse(&text, &["a".to_owned(), "b".to_owned()]) {
            let value = expr.value(&[a, b]);
            prop_assert!(value.is_finite() || value.is_nan());
        }
    }
}
